import io
from typing import Any

import pytest
import torch
from torch import Tensor

from slifmr_pl.graphs.heterogeneous import GraphAssembler, HeterogeneousGraph
from slifmr_pl.graphs.item_graphs import item_edges
from slifmr_pl.graphs.neighbours import Neighbours
from slifmr_pl.graphs.sparse.edges import Edges
from slifmr_pl.graphs.sparse.spmm import SparseGraph
from slifmr_pl.graphs.triples import DirectedTriples
from tests.graphs.oracles import (
    close,
    correlation_of,
    dense,
    dense_blocks,
    generator,
    interaction_matrix,
)
from tests.nn.catalogue import N_ENTITIES, N_ITEMS, N_USERS, catalogue, entries

ENTRIES = entries(interaction=0.3, modality=0.2, knowledge=0.4)


def matrix_of(graph: SparseGraph) -> Tensor:
    return graph.forward @ torch.eye(graph.shape[1])


def tensors_of(graph: HeterogeneousGraph) -> dict[str, Tensor]:
    named = {"users": graph.users, "items": graph.items}
    for name, lists in graph.modalities.items():
        named |= {f"{name} indices": lists.indices, f"{name} weights": lists.weights}
        named |= {f"{name} present": graph.present[name]}
    if graph.triples is not None:
        triples = graph.triples
        named |= {"heads": triples.heads, "relations": triples.relations, "tails": triples.tails}
    return named


def assert_plain(value: Any) -> None:
    if isinstance(value, dict):
        for key, entry in value.items():
            assert type(key) is str
            assert_plain(entry)
    else:
        assert value is None or type(value) in (bool, int, Tensor)


NOTHING = torch.empty(0, dtype=torch.int64)
GRAPHS = {
    "all": catalogue(),
    "interactions": catalogue(modalities=False, knowledge=False),
    "knowledge without triples": HeterogeneousGraph(
        2,
        2,
        torch.tensor([0, 1]),
        torch.tensor([1, 0]),
        triples=DirectedTriples.bidirectional(NOTHING, NOTHING, NOTHING, 2, 1),
    ),
}


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_state_is_plain_and_gives_the_graph_back_through_a_file(graph: HeterogeneousGraph) -> None:
    state = graph.state()
    assert_plain(state)
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    again = HeterogeneousGraph.from_state(torch.load(file, weights_only=True))
    expected, actual = tensors_of(graph), tensors_of(again)
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        assert actual[name].dtype == tensor.dtype
        assert torch.equal(actual[name], tensor), name
    assert (again.n_users, again.n_items) == (graph.n_users, graph.n_items)
    assert again.n_entities == graph.n_entities
    if graph.triples is None:
        assert again.triples is None
    else:
        assert again.triples is not None
        assert again.triples.n_relations == graph.triples.n_relations


def test_entities_are_the_items_where_there_is_no_knowledge_graph() -> None:
    assert GRAPHS["interactions"].n_entities == N_ITEMS
    assert GRAPHS["all"].n_entities == N_ENTITIES


@pytest.mark.parametrize("correlation", [None, Edges.empty((N_ITEMS, N_ITEMS))])
def test_before_the_first_feedback_every_view_is_the_data_alone(correlation: Edges | None) -> None:
    graph = catalogue()
    epoch = GraphAssembler(graph, entries=ENTRIES).assemble(correlation, None)
    close(
        dense_blocks(epoch.interaction).double(),
        interaction_matrix(graph.users, graph.items, N_USERS, N_ITEMS),
    )
    for name, lists in graph.modalities.items():
        assert torch.equal(matrix_of(epoch.modalities[name]), dense(item_edges(lists)))


def test_correlation_enters_each_view_with_its_own_weight() -> None:
    graph, correlation = catalogue(), correlation_of(N_ITEMS, seed=11)
    c = dense(correlation)
    assert graph.triples is not None
    attention = torch.rand(len(graph.triples), generator=generator(12))
    assembler = GraphAssembler(graph, entries=ENTRIES, knowledge_layers=2)
    epoch = assembler.assemble(correlation, attention)
    close(
        dense_blocks(epoch.interaction).double(),
        interaction_matrix(graph.users, graph.items, N_USERS, N_ITEMS, 0.3 * c),
    )
    for name, lists in graph.modalities.items():
        close(matrix_of(epoch.modalities[name]), 0.8 * dense(item_edges(lists)) + 0.2 * c)
    # With e = 1 a layer gives the row sums of each relation's matrix, picked by one-hot weights.
    n_relations = graph.triples.n_relations
    ones, pick = torch.ones(N_ENTITIES, n_relations + 1), torch.eye(n_relations + 1)
    sums = torch.zeros(N_ENTITIES, n_relations + 1)
    for head, relation, weight in zip(
        graph.triples.heads, graph.triples.relations, attention, strict=True
    ):
        sums[head, relation] += weight
    sums[:N_ITEMS, n_relations] = 0.4 * c.sum(1)
    assert epoch.knowledge is not None
    assert epoch.knowledge_items is not None
    close(epoch.knowledge.propagate(ones, pick), sums)
    close(epoch.knowledge_items.propagate(ones, pick), sums[:N_ITEMS])


def test_correlation_is_a_relation_exactly_where_it_has_a_weight() -> None:
    for weight in (0.0, 0.4):
        assembler = GraphAssembler(catalogue(), entries=entries(knowledge=weight))
        for correlation in (None, correlation_of(N_ITEMS, seed=11)):
            last = assembler.assemble(correlation, None).knowledge_items
            assert last is not None
            assert (last.correlation is not None) == (weight > 0)


def test_views_that_are_not_wanted_are_not_built() -> None:
    graph = catalogue()
    off = GraphAssembler(graph, use_modalities=False, knowledge_layers=0).assemble(None, None)
    assert not off.modalities
    assert off.knowledge is off.knowledge_items is off.user_items is None
    one = GraphAssembler(graph, knowledge_layers=1).assemble(None, None)
    assert one.knowledge is None
    assert one.knowledge_items is not None
    assert one.knowledge_items.n_heads == N_ITEMS
    none = GraphAssembler(GRAPHS["interactions"], knowledge_layers=2).assemble(None, None)
    assert none.knowledge is none.knowledge_items is None


def test_weighted_modality_edges_keep_their_similarity() -> None:
    graph = catalogue()
    weighted = GraphAssembler(graph, weighted_edges=True).assemble(None, None)
    for name, lists in graph.modalities.items():
        assert torch.equal(
            matrix_of(weighted.modalities[name]),
            dense(item_edges(Neighbours(*lists), weighted=True)),
        )


def test_user_items_are_the_mean_over_the_users_items() -> None:
    graph = catalogue()
    epoch = GraphAssembler(graph, use_user_items=True).assemble(None, None)
    assert epoch.user_items is not None
    y = torch.zeros(N_USERS, N_ITEMS)
    y[graph.users, graph.items] = 1
    assert not y.sum(1).all()  # the catalogue has a user without interactions
    close(matrix_of(epoch.user_items), y / y.sum(1, keepdim=True).clamp_min(1))
    assert epoch.user_items.backward is not epoch.user_items.forward
