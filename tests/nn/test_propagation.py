import pytest
import torch
from torch import Tensor

from slifmr_pl.graphs.interaction import InteractionGraph
from slifmr_pl.graphs.relational import RelationalGraph
from slifmr_pl.graphs.sparse.spmm import SparseBackend, SparseGraph
from slifmr_pl.graphs.triples import DirectedTriples
from slifmr_pl.nn.propagation import propagate_last, propagate_mean, propagate_relations
from tests.graphs.backends import every_backend
from tests.graphs.oracles import (
    close,
    correlation_of,
    dense_blocks,
    edges_of,
    generator,
    gradients,
    sparse_matrix,
)

N, DIM = 7, 4
ROWS = [None, torch.tensor([4, 0, 4, 6]), torch.tensor([], dtype=torch.int64)]
every_rows = pytest.mark.parametrize("rows", ROWS, ids=["all", "some", "none"])


def symmetric_graph() -> tuple[SparseGraph, Tensor]:
    matrix = sparse_matrix(N, N, seed=1, symmetric=True).float()
    return SparseGraph.build(edges_of(matrix), symmetric=True), matrix


def picked(table: Tensor, rows: Tensor | None) -> Tensor:
    return table if rows is None else table[rows]


N_USERS = 5
PAIRS = torch.tensor([[0, 0, 1, 2, 3, 3, 3], [0, 4, 1, 1, 0, 2, 3]])
USER_ROWS = [None, torch.tensor([3, 0, 3]), torch.tensor([], dtype=torch.int64)]


@every_backend
@pytest.mark.parametrize("with_correlation", [False, True])
@pytest.mark.parametrize(("user_rows", "item_rows"), list(zip(USER_ROWS, ROWS, strict=True)))
@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_mean_of_layers_equals_matrix_powers(
    layers: int,
    user_rows: Tensor | None,
    item_rows: Tensor | None,
    with_correlation: bool,
    backend: SparseBackend,
) -> None:
    correlation = correlation_of(N, seed=1) if with_correlation else None
    corner = None if correlation is None else correlation.scaled(0.5)
    graph = InteractionGraph.build(*PAIRS, N_USERS, N, corner, backend=backend)
    matrix = dense_blocks(graph)
    users, items = (torch.randn(n, DIM, generator=generator(2)) for n in (N_USERS, N))

    def reference(users: Tensor, items: Tensor) -> Tensor:
        e = torch.cat([users, items])
        powers = [torch.linalg.matrix_power(matrix, power) @ e for power in range(layers + 1)]
        mean = torch.stack(powers).mean(0)
        rows = [user_rows, item_rows] * 2
        tables = [mean[:N_USERS], mean[N_USERS:], users, items]
        return torch.cat([picked(table, r) for table, r in zip(tables, rows, strict=True)])

    def found(users: Tensor, items: Tensor) -> Tensor:
        return torch.cat(propagate_mean(graph, users, items, layers, user_rows, item_rows))

    inputs = users, items
    close(found(*inputs), reference(*inputs), rtol=1e-4, atol=1e-5)
    close(gradients(found, *inputs), gradients(reference, *inputs), rtol=1e-4, atol=1e-5)


@every_rows
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_last_layer_equals_a_matrix_power(layers: int, rows: Tensor | None) -> None:
    graph, matrix = symmetric_graph()
    embeddings = torch.randn(N, DIM, generator=generator(3))

    def reference(e: Tensor) -> Tensor:
        return picked(torch.linalg.matrix_power(matrix, layers) @ e, rows)

    def found(e: Tensor) -> Tensor:
        return propagate_last(graph, e, layers, rows)

    close(found(embeddings), reference(embeddings), rtol=1e-4, atol=1e-5)
    close(gradients(found, embeddings), gradients(reference, embeddings), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_relational_layers_equal_dense_relations_averaged_for_the_items(layers: int) -> None:
    n_items, n_relations = 3, 2
    triples = DirectedTriples.bidirectional(
        torch.tensor([0, 0, 1, 2, 4]),
        torch.tensor([0, 1, 0, 1, 0]),
        torch.tensor([3, 4, 3, 5, 6]),
        N,
        n_relations,
    )
    attention = torch.rand(len(triples), generator=generator(4))
    matrices = torch.zeros(triples.n_relations, N, N)
    matrices[triples.relations, triples.heads, triples.tails] = attention
    inner = RelationalGraph.build(triples, attention) if layers > 1 else None
    last = RelationalGraph.build(triples, attention, n_heads=n_items)
    embeddings = torch.randn(N, DIM, generator=generator(5))
    weights = torch.randn(layers, triples.n_relations, DIM, generator=generator(6))

    def reference(e: Tensor, w: Tensor) -> Tensor:
        outputs = []
        for layer in range(layers):
            e = torch.stack([(matrices[r] @ e) * w[layer, r] for r in range(len(matrices))]).sum(0)
            outputs.append(e[:n_items])
        return torch.stack(outputs).mean(0)

    def found(e: Tensor, w: Tensor) -> Tensor:
        return propagate_relations(inner, last, e, w)

    assert found(embeddings, weights).shape == (n_items, DIM)
    close(found(embeddings, weights), reference(embeddings, weights))
    close(gradients(found, embeddings, weights), gradients(reference, embeddings, weights))
    rows = torch.tensor([2, 0])

    def rows_of_reference(e: Tensor, w: Tensor) -> Tensor:
        return reference(e, w)[rows]

    def rows_found(e: Tensor, w: Tensor) -> Tensor:
        return propagate_relations(inner, last, e, w, rows)

    close(rows_found(embeddings, weights), rows_of_reference(embeddings, weights))
    close(
        gradients(rows_found, embeddings, weights),
        gradients(rows_of_reference, embeddings, weights),
    )
