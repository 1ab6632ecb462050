import pytest
import torch
from torch import Tensor

from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.pruning import drawn_by_degree
from slifmr_pl.models.freedom import Freedom, modality_weights
from tests.models.references import (
    ITEMS,
    MATRIX,
    USERS,
    assert_loss_and_gradients,
    assert_scores,
    bpr,
    light_gcn,
    neighbour_graph,
    small_batch,
    small_features,
    small_inputs,
    spread,
    symmetric,
)
from tests.models.tiny import inputs_of_matrix


def new_model(**settings: object) -> Freedom:
    torch.manual_seed(0)
    options = {"neighbours": 3, "image_weight": 0.3, "pruned": 0.0, "modality_weight": 0.5}
    model = Freedom(4, item_layers=2, **{**options, **settings})  # type: ignore[arg-type]
    model.connect(small_inputs())
    return model


def item_graph() -> Tensor:
    """Section 3.1, densely."""
    features = small_features()
    return sum(
        share * symmetric(neighbour_graph(*features[name], 3, weighted=False))
        for name, share in (("image", 0.3), ("text", 0.7))
    )  # type: ignore[return-value]


def vectors(model: Freedom) -> tuple[Tensor, Tensor]:
    users, items = light_gcn(model, 2)
    return users, items + item_graph() @ item_graph() @ model.items


def test_item_graph_is_that_of_the_paper() -> None:
    graph = new_model().item_graph.graph
    torch.testing.assert_close(graph.forward @ torch.eye(ITEMS), item_graph())


def test_scores_are_those_of_the_paper() -> None:
    model = new_model(pruned=0.5)  # which does not matter to scores
    users, items = vectors(model)
    assert_scores(model, users, items)


@pytest.mark.parametrize("follows", ["paper", "code"])
def test_loss_and_gradients_are_those_of_the_paper(follows: str) -> None:
    """The code's features are parameters, whose gradients are compared, too."""
    model = new_model(follows=follows)
    spread(model)
    batch = small_batch()

    def reference() -> Tensor:
        users, items = vectors(model)
        total = bpr(users, items, batch)
        for projected in model.features().values():
            total = total + 0.5 * bpr(users, projected, batch)
        return total

    assert ("features.table_0" in dict(model.named_parameters())) == (follows == "code")
    assert_loss_and_gradients(model, batch, reference)


def test_an_epoch_trains_on_a_part_of_the_interactions_normalised_anew() -> None:
    model = new_model(pruned=0.5)
    graph = model.training_graph()
    kept = (graph.user_items.forward @ torch.eye(ITEMS)) > 0
    assert int(kept.sum()) == int(MATRIX.sum()) // 2
    assert not (kept & (MATRIX == 0)).any()
    whole = torch.zeros(USERS + ITEMS, USERS + ITEMS)
    whole[:USERS, USERS:] = kept
    normalised = symmetric(whole + whole.T)[:USERS, USERS:]
    torch.testing.assert_close(graph.user_items.forward @ torch.eye(ITEMS), normalised)
    assert model.training_graph() is graph


def test_interactions_of_the_busy_are_drawn_less_often() -> None:
    users, items = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 2, 0])
    draw, counts = torch.Generator().manual_seed(0), torch.zeros(4)
    for _ in range(4000):
        kept_users, kept_items = drawn_by_degree(users, items, 0.25, draw)
        assert len(kept_users) == 1
        counts[3 * kept_users + kept_items * (1 - kept_users)] += 1
    odds = torch.tensor([1 / 6**0.5, 1 / 3**0.5, 1 / 3**0.5, 1 / 2**0.5])
    torch.testing.assert_close(counts / 4000, odds / odds.sum(), atol=0.03, rtol=0)


@pytest.mark.parametrize(
    ("names", "weights"),
    [
        (["image", "text"], {"image": 0.1, "text": 0.9}),
        (["a", "image", "b"], {"image": 0.1, "a": 0.45, "b": 0.45}),
        (["image"], {"image": 1.0}),
        (["a", "b"], {"a": 0.5, "b": 0.5}),
    ],
)
def test_modalities_share_the_graph(names: list[str], weights: dict[str, float]) -> None:
    assert modality_weights(names, 0.1) == pytest.approx(weights)


@pytest.mark.parametrize(
    "settings", [{"pruned": 1.0}, {"image_weight": 1.1}, {"neighbours": 1}, {"follows": "me"}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        new_model(**settings)


def test_data_without_features_are_refused() -> None:
    with pytest.raises(ConfigError, match="Freedom without item features"):
        Freedom().build(inputs_of_matrix(MATRIX.double().numpy()))
