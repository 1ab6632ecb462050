from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from slifmr_pl.callbacks.recommendations import FILE
from slifmr_pl.checkpoints.format import read_checkpoint
from slifmr_pl.errors import CheckpointError, ConfigError, DataError
from slifmr_pl.models.base import catalogue_of
from slifmr_pl.module import SlifMrModule
from slifmr_pl.nn.network_config import InteractionConfig, NetworkConfig, RegressionConfig
from slifmr_pl.regression.item_regression import append_regression
from slifmr_pl.serving.recommender import Recommender
from tests.serving.grown_catalogue import facts_of, store_of
from tests.tiny_runs import demo_data, full_model


@pytest.fixture(scope="module")
def recommender(checkpoint: Path) -> Recommender:
    return Recommender.from_checkpoint(checkpoint)


@pytest.mark.parametrize("at_once", [1, 90], ids=["one by one", "all at once"])
def test_lists_are_those_of_predict(
    recommender: Recommender, checkpoint: Path, at_once: int
) -> None:
    written = pq.read_table(checkpoint.parent / FILE).to_pylist()
    users = recommender.catalogue.users.ids.to_pylist()
    lists = [
        recommendations
        for first in range(0, len(users), at_once)
        for recommendations in recommender.recommend(users[first : first + at_once], 7)
    ]
    rows = [(user, *place) for user, places in zip(users, lists, strict=True) for place in places]
    assert [row[:2] for row in rows] == [(row["user_id"], row["item_id"]) for row in written]
    assert [row[2] for row in rows] == pytest.approx([row["score"] for row in written], abs=1e-5)


def test_lists_come_in_the_order_asked_for(recommender: Recommender) -> None:
    a, b = recommender.catalogue.users.ids.to_pylist()[:2]
    first, second = recommender.recommend([a, b], 3)
    assert recommender.recommend([b, a, b], 3) == [second, first, second]


@pytest.mark.parametrize("n_users", [2, 40], ids=["few", "many"])
def test_candidates_blocked_and_seen_items_are_kept_to(
    recommender: Recommender, n_users: int
) -> None:
    items = recommender.catalogue.items.ids.to_pylist()
    users = recommender.catalogue.users.ids.to_pylist()[:n_users]
    everything = recommender.recommend(users, 1000, exclude_seen=False)
    assert {len(places) for places in everything} == {len(items)}
    unseen = recommender.recommend(users, 1000)
    some = recommender.recommend(users, 4, candidates=items[5:30], blocked=items[:9])
    for full, places, chosen in zip(everything, unseen, some, strict=True):
        assert len(places) < len(full)
        assert places == [place for place in full if place in places]
        assert chosen == [p for p in places if p.item_id in items[9:30]][:4]


def test_score_is_that_of_the_list(recommender: Recommender) -> None:
    user = recommender.catalogue.users.ids.to_pylist()[5]
    (places,) = recommender.recommend([user], 5)
    scores = recommender.score(user, [place.item_id for place in places])
    assert scores == pytest.approx([place.score for place in places], abs=1e-5)


def test_similar_items_are_those_of_the_highest_cosine(recommender: Recommender) -> None:
    items = recommender.catalogue.items.ids.to_pylist()
    table = recommender.item_embeddings[:, :16].double()  # without the regression
    cosines = torch.nn.functional.cosine_similarity(table[3:4], table)
    cosines[3] = -2
    (places,) = recommender.similar_items([items[3]], 4)
    expected = cosines.topk(4)
    assert [place.item_id for place in places] == [items[row] for row in expected.indices]
    assert [place.score for place in places] == pytest.approx(expected.values.tolist(), abs=1e-5)


def test_unknown_ids_and_wrong_arguments_are_refused(recommender: Recommender) -> None:
    user = recommender.catalogue.users.ids[0].as_py()
    with pytest.raises(DataError, match="unknown, the first is 'nobody'"):
        recommender.recommend([user, "nobody"])
    with pytest.raises(DataError, match="one string"):
        recommender.recommend(user)
    with pytest.raises(DataError, match="'nothing'"):
        recommender.similar_items(["nothing"])
    with pytest.raises(ConfigError, match="k is 0"):
        recommender.recommend([user], 0)


def test_checkpoint_holds_the_ids_of_the_data(catalogue: Path, checkpoint: Path) -> None:
    data, module = demo_data(catalogue), SlifMrModule.load_from_checkpoint(checkpoint)
    assert module.inputs is not None
    held = module.inputs.catalogue
    assert held is not None
    for name in ("users", "items", "entities", "relations"):
        assert getattr(held, name) == getattr(data.data, name)


def damaged(checkpoint: Path, target: Path, part: str, change: torch.Tensor | None) -> Path:
    content = read_checkpoint(checkpoint)
    if change is None:
        content["slifmr"][part] = None
    else:
        content["slifmr"]["catalogue"][part]["characters"] = change
    torch.save(content, target)
    return target


def test_checkpoint_without_raw_ids_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    path = damaged(checkpoint, tmp_path / "other.ckpt", "catalogue", None)
    with pytest.raises(CheckpointError, match="no raw ids"):
        Recommender.from_checkpoint(path)


@pytest.mark.parametrize("change", ["other ids", "not UTF-8", "too few"])
def test_checkpoint_whose_ids_were_changed_is_refused(
    checkpoint: Path, tmp_path: Path, change: str
) -> None:
    held = read_checkpoint(checkpoint)["slifmr"]["catalogue"]["items"]["characters"]
    changed = {
        "other ids": held.flip(0),
        "not UTF-8": held + 128,
        "too few": held[:-1],
    }[change]
    path = damaged(checkpoint, tmp_path / "changed.ckpt", "items", changed)
    with pytest.raises(CheckpointError, match="raw ids"):
        Recommender.from_checkpoint(path)


@pytest.fixture(scope="module")
def grown(
    catalogue: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Recommender:
    """With two items more: one that looks like the first item, one that nobody can tell."""
    recommender = Recommender.from_checkpoint(checkpoint)
    store = store_of(catalogue, tmp_path_factory.mktemp("store"))
    first = recommender.items.ids[0].as_py()
    facts = facts_of(recommender, first, "like the first")
    addition = recommender.add_items(
        ["like the first", "unknown"], stores={"text": store}, facts=[*facts, ("unknown", "r", "e")]
    )
    assert addition.unknown_facts == 1
    assert addition.explained < 1
    return recommender


def test_new_items_are_recommended_scored_and_found_similar(grown: Recommender) -> None:
    user = grown.catalogue.users.ids[0].as_py()
    (places,) = grown.recommend([user], 1000)
    assert {"like the first", "unknown"} <= {place.item_id for place in places}
    scores = {place.item_id: place.score for place in places}
    assert grown.score(user, ["unknown"]) == pytest.approx([scores["unknown"]], abs=1e-5)
    (places,) = grown.recommend([user], 3, candidates=["unknown", "like the first"])
    assert {place.item_id for place in places} == {"like the first", "unknown"}
    assert len(grown.similar_items(["like the first"], 5)[0]) == 5


def test_known_items_keep_their_scores(grown: Recommender, recommender: Recommender) -> None:
    user = recommender.catalogue.users.ids[0].as_py()
    items = recommender.items.ids.to_pylist()
    assert grown.score(user, items) == recommender.score(user, items)


@pytest.mark.parametrize(
    ("ids", "facts", "expected"),
    [
        (["new"], [], "without features and facts"),
        (["new", "new"], [("new", "r", "e")], "occurs more than once"),
        (["new"], [("a", "r", "b")], "of no new item"),
    ],
)
def test_unusable_new_items_are_refused_and_nothing_changes(
    checkpoint: Path, ids: list[str], facts: list[tuple[str, str, str]], expected: str
) -> None:
    recommender = Recommender.from_checkpoint(checkpoint)
    with pytest.raises(DataError, match=expected):
        recommender.add_items(ids, facts=facts)
    known = recommender.items.ids[0].as_py()
    with pytest.raises(DataError, match="occurs more than once"):
        recommender.add_items([known], facts=[(known, "r", "e")])
    assert len(recommender.items) == len(recommender.item_embeddings) == 60


@pytest.mark.parametrize(
    "network",
    [
        NetworkConfig(embedding_dim=16),
        NetworkConfig(embedding_dim=16, fusion="early", user_fusion=0.4),
    ],
    ids=["late", "early, fused users"],
)
def test_history_encoder_sums_the_messages_of_the_items(
    catalogue: Path, network: NetworkConfig
) -> None:
    """A known user without the share of the own embedding."""
    module, data = full_model(network=network), demo_data(catalogue)
    module.build(data.model_inputs)
    with torch.no_grad():
        module.self_loop.build_next(0, module.network(module.propagation).items, None)
    module.on_train_epoch_start()  # swaps the correlation graph in
    views, graph = module.network(module.propagation), data.model_inputs.graph
    regression = module.regression()
    assert regression is not None
    recommender = Recommender(module, catalogue_of(module))
    items = recommender.items.ids.to_pylist()
    for user in (0, 17, 89):
        history = [items[row] for row in graph.items[graph.users == user].tolist()]
        places = recommender.recommend_for_history([*history, history[0]], 1000)
        own = module.network.user_embedding[user].detach() / (network.interaction.layers + 1)
        mine = regression._replace(users=regression.users[user : user + 1])
        query, table = append_regression(views.users[user : user + 1] - own, views.items, mine)
        expected = dict(zip(items, (table @ query[0]).tolist(), strict=True))
        assert {place.item_id for place in places} == set(items) - set(history)
        for place in places:
            assert place.score == pytest.approx(expected[place.item_id], abs=1e-5)


def test_without_layers_a_new_user_is_where_the_items_are(catalogue: Path) -> None:
    network = NetworkConfig(
        embedding_dim=16,
        interaction=InteractionConfig(layers=0),
        regression=RegressionConfig(enabled=False),
    )
    module, data = full_model(network=network), demo_data(catalogue)
    module.build(data.model_inputs)
    recommender = Recommender(module, catalogue_of(module))
    items, table = recommender.items.ids.to_pylist(), recommender.item_embeddings
    (best,) = recommender.recommend_for_history(items[4:6], 1)
    scores = (table @ table[4:6].sum(0) / 2**0.5).tolist()
    assert best.score == pytest.approx(scores[items.index(best.item_id)], abs=1e-5)


def test_history_of_new_items_alone_is_refused(grown: Recommender) -> None:
    with pytest.raises(DataError, match="none of which training has seen"):
        grown.recommend_for_history(["unknown"])
    known = grown.items.ids[3].as_py()
    assert grown.recommend_for_history(["unknown", known], 5)
