import pytest
import torch

from slifmr_pl.graphs.item_graphs import edge_overlap, item_edges
from slifmr_pl.graphs.neighbours import Neighbours, cosine_neighbours
from slifmr_pl.graphs.sparse.edges import Edges
from tests.graphs.oracles import close, correlation_of, dense, generator, normalised

N_ITEMS = 12


def neighbours() -> Neighbours:
    """Items 3 and 8 have no features, so they have no neighbours."""
    features = torch.randn(N_ITEMS, 4, generator=generator(5))
    present = torch.ones(N_ITEMS, dtype=torch.bool)
    present[[3, 8]] = False
    return cosine_neighbours(features, 3, present=present)


@pytest.mark.parametrize("weighted", [False, True])
def test_item_graph_equals_the_dense_formula(weighted: bool) -> None:
    lists = neighbours()
    matrix = torch.zeros(N_ITEMS, N_ITEMS)
    for item in range(N_ITEMS):
        for index, weight in zip(
            lists.indices[item].tolist(), lists.weights[item].tolist(), strict=True
        ):
            if index >= 0:
                matrix[item, index] = weight if weighted else 1.0
    graph = dense(item_edges(lists, weighted=weighted))
    close(graph.double(), normalised(torch.maximum(matrix, matrix.T)))
    assert torch.equal(graph, graph.T)
    assert not graph[[3, 8]].any()


def test_unweighted_graph_forgets_similarities_and_a_weighted_one_does_not() -> None:
    lists = neighbours()
    factors = torch.rand(N_ITEMS, 1, generator=generator(6)) + 0.1
    doubtful = Neighbours(lists.indices, lists.weights * factors)
    assert torch.equal(dense(item_edges(lists)), dense(item_edges(doubtful)))
    assert not torch.equal(
        dense(item_edges(lists, weighted=True)), dense(item_edges(doubtful, weighted=True))
    )


def test_items_without_any_neighbour_give_a_graph_without_edges() -> None:
    edges = item_edges(Neighbours(torch.full((4, 2), -1), torch.zeros(4, 2)))
    assert len(edges) == 0
    assert edges.shape == (4, 4)


def test_overlap_is_common_edges_over_all_edges() -> None:
    a, b = correlation_of(9, seed=7), correlation_of(9, seed=8)
    first = set(zip(a.rows.tolist(), a.columns.tolist(), strict=True))
    second = set(zip(b.rows.tolist(), b.columns.tolist(), strict=True))
    assert 0 < len(first & second) < len(first)
    assert edge_overlap(a, b) == pytest.approx(len(first & second) / len(first | second))
    assert edge_overlap(a, a) == 1
    assert edge_overlap(a, Edges.empty(a.shape)) == 0
    assert edge_overlap(Edges.empty(a.shape), Edges.empty(a.shape)) == 1
