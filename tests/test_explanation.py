import pytest
import torch

from slifmr_pl.explanation import explain
from slifmr_pl.nn.network_config import NetworkConfig
from tests.graphs.oracles import interaction_matrix
from tests.nn.catalogue import CONFIGS, N_ITEMS, N_USERS, catalogue, world

every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


@every_config
@pytest.mark.parametrize("correlation", [True, False])
def test_parts_of_either_side_add_up_to_the_score(config: NetworkConfig, correlation: bool) -> None:
    built = world(config, correlation=correlation, learned=("image",))
    with torch.no_grad():
        views = built.network(built.graphs)
    # Also a user and an item without interactions, and an item without any modality.
    for user, item in ((3, 5), (N_USERS - 1, 5), (3, N_ITEMS - 1), (0, 0)):
        explanation = explain(built.network, built.graphs, user, item)
        score = float(views.users[user] @ views.items[item])
        assert explanation.score == pytest.approx(score, rel=1e-5)
        for parts in (explanation.user_parts, explanation.item_parts):
            size = sum(abs(part.score) for part in parts)
            assert sum(part.score for part in parts) == pytest.approx(score, abs=1e-5 * size)
            assert len({part[:4] for part in parts}) == len(parts)


def test_parts_name_the_edges_of_every_graph() -> None:
    built = world(CONFIGS["all"])
    graph, item, user = catalogue(), 5, 3
    explanation = explain(built.network, built.graphs, user, item)
    rows = {
        (kind, view): {part.row for part in explanation.item_parts if part[:2] == (kind, view)}
        for kind, view, *_ in explanation.item_parts
    }
    assert rows["user", "interaction"] == set(graph.users[graph.items == item].tolist())
    assert built.correlation is not None
    correlated = set(built.correlation.columns[built.correlation.rows == item].tolist())
    for view in ("interaction", "image", "text", "knowledge"):
        assert rows["correlation", view] == correlated
    for name, lists in graph.modalities.items():
        linked = set(lists.indices[item].tolist()) | set(
            (lists.indices == item).any(1).nonzero().flatten().tolist()
        )
        assert rows["modality", name] == linked - {-1}
    assert graph.triples is not None
    mine = graph.triples.heads == item
    facts = {(part.relation, part.row) for part in explanation.item_parts if part.kind == "fact"}
    tails = graph.triples.tails[mine].tolist()
    assert {(r, t) for r, t in facts if r is not None} >= set(
        zip(graph.triples.relations[mine].tolist(), tails, strict=True)
    )
    own = {part.row for part in explanation.user_parts if part.kind == "item"}
    assert own == set(graph.items[graph.users == user].tolist())


def test_share_of_an_item_is_what_reaches_the_user_over_its_edge() -> None:
    """From powers of A, written out."""
    built = world(CONFIGS["interaction"], correlation=False)
    network, graph = built.network, built.graphs.interaction
    user, item, layers = 3, 5, network.config.interaction.layers
    with torch.no_grad():
        views = network(built.graphs)
        tables = network.user_embedding, network.item_embedding
        leaving = torch.zeros_like(tables[1])
        for _ in range(layers):
            leaving += tables[1] / (layers + 1)
            tables = graph.propagate(*tables)
    a = interaction_matrix(catalogue().users, catalogue().items, N_USERS, N_ITEMS)
    parts = explain(network, built.graphs, user, item).user_parts
    for part in parts:
        if part.row is not None:
            expected = a[user, N_USERS + part.row] * (leaving[part.row] @ views.items[item])
            assert part.score == pytest.approx(float(expected), rel=1e-4, abs=1e-6)
    assert len(parts) > 3
