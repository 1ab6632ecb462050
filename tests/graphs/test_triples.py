import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from slifmr_pl.graphs.relational import RelationalGraph
from slifmr_pl.graphs.sparse.edges import Edges
from slifmr_pl.graphs.sparse.spmm import SparseBackend, SparseGraph
from slifmr_pl.graphs.triples import DirectedTriples, relation_attention
from tests.graphs.backends import every_backend
from tests.graphs.oracles import close, correlation_of, dense, generator, gradients

N_ITEMS, N_ENTITIES, N_RELATIONS, DIM = 5, 11, 3, 4


def raw_triples(seed: int = 0, n: int = 25) -> tuple[Tensor, Tensor, Tensor]:
    """Distinct triples in any order; entity 9 is in none of them."""
    rng = generator(seed)
    names = torch.tensor([e for e in range(N_ENTITIES) if e != 9])
    triples = torch.stack(
        [
            names[torch.randint(len(names), (n,), generator=rng)],
            torch.randint(N_RELATIONS, (n,), generator=rng),
            names[torch.randint(len(names), (n,), generator=rng)],
        ],
        dim=1,
    ).unique(dim=0)
    triples = triples[torch.randperm(len(triples), generator=rng)]
    return triples[:, 0], triples[:, 1], triples[:, 2]


def directed(seed: int = 0) -> DirectedTriples:
    return DirectedTriples.bidirectional(*raw_triples(seed), N_ENTITIES, N_RELATIONS)


def rows_of(triples: DirectedTriples) -> list[tuple[int, int, int]]:
    """(head, relation, tail) of every directed triple."""
    return list(
        zip(triples.heads.tolist(), triples.relations.tolist(), triples.tails.tolist(), strict=True)
    )


def relation_matrices(
    triples: DirectedTriples, attention: Tensor, correlation: Edges | None = None
) -> Tensor:
    """A_r for every relation, float64 [R, n, n]; the correlation is the last one."""
    matrices = torch.zeros(triples.n_relations, N_ENTITIES, N_ENTITIES, dtype=torch.float64)
    for (head, relation, tail), weight in zip(rows_of(triples), attention.tolist(), strict=True):
        matrices[relation, head, tail] += weight
    if correlation is None:
        return matrices
    extra = torch.zeros(1, N_ENTITIES, N_ENTITIES, dtype=torch.float64)
    extra[0, :N_ITEMS, :N_ITEMS] = dense(correlation)
    return torch.cat([matrices, extra])


def test_every_triple_comes_in_both_directions_sorted_by_head_relation_and_tail() -> None:
    heads, relations, tails = (part.tolist() for part in raw_triples())
    expected = list(zip(heads, relations, tails, strict=True))
    expected += [(t, r + N_RELATIONS, h) for h, r, t in expected]
    triples = directed()
    assert rows_of(triples) == sorted(expected)
    assert triples.n_relations == 2 * N_RELATIONS
    assert triples.n_entities == N_ENTITIES
    assert len(triples) == 2 * len(heads)


def test_uniform_attention_shares_a_head_equally_among_its_triples() -> None:
    triples = directed()
    heads = triples.heads.tolist()
    assert triples.uniform_attention().tolist() == pytest.approx(
        [1 / heads.count(head) for head in heads]
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), chunk=st.integers(1, 60), scale=st.sampled_from([1.0, 200.0]))
def test_attention_equals_a_softmax_per_head_for_any_chunk(
    seed: int, chunk: int, scale: float
) -> None:
    triples = directed(seed)
    # Large scores overflow a softmax that does not take the maximum out first.
    embeddings = torch.randn(N_ENTITIES, DIM, generator=generator(seed)) * math.sqrt(scale)
    weights = torch.randn(2 * N_RELATIONS + 1, DIM, generator=generator(seed + 1))
    attention = relation_attention(triples, embeddings, weights)
    assert torch.equal(relation_attention(triples, embeddings, weights, chunk), attention)

    e, w = embeddings.double(), weights.double()
    rows = rows_of(triples)
    scores = [float((e[h] * w[r] * e[t]).sum()) / math.sqrt(DIM) for h, r, t in rows]
    for head in range(N_ENTITIES):
        own = [index for index, (h, _, _) in enumerate(rows) if h == head]
        if own:
            expected = torch.tensor([scores[index] for index in own]).double().softmax(0)
            torch.testing.assert_close(
                attention[own].double(), expected, rtol=1e-3 if scale > 1 else 1e-5, atol=1e-6
            )
            assert float(attention[own].sum()) == pytest.approx(1, abs=1e-5)


@every_backend
@pytest.mark.parametrize("with_correlation", [False, True])
@pytest.mark.parametrize("n_heads", [None, N_ITEMS])
def test_propagation_equals_the_sum_over_dense_relations(
    backend: SparseBackend, with_correlation: bool, n_heads: int | None
) -> None:
    triples = directed()
    attention = torch.rand(len(triples), generator=generator(1)) + 0.1
    correlation = correlation_of(N_ITEMS, seed=2).scaled(0.3) if with_correlation else None
    extra = correlation and SparseGraph.build(correlation, symmetric=True, backend=backend)
    graph = RelationalGraph.build(triples, attention, extra, n_heads=n_heads, backend=backend)
    matrices = relation_matrices(triples, attention, correlation).float()
    embeddings = torch.randn(N_ENTITIES, DIM, generator=generator(3))
    weights = torch.randn(len(matrices), DIM, generator=generator(4))

    def reference(e: Tensor, w: Tensor) -> Tensor:
        layers = [(matrix @ e) * weight for matrix, weight in zip(matrices, w, strict=True)]
        return torch.stack(layers).sum(0)[:n_heads]

    close(graph.propagate(embeddings, weights), reference(embeddings, weights))
    close(
        gradients(graph.propagate, embeddings, weights), gradients(reference, embeddings, weights)
    )
    for rows in (torch.tensor([3, 0, 3]), torch.tensor([], dtype=torch.int64)):

        def some(e: Tensor, w: Tensor, rows: Tensor = rows) -> Tensor:
            return graph.propagate(e, w, rows)

        def reference_rows(e: Tensor, w: Tensor, rows: Tensor = rows) -> Tensor:
            return reference(e, w)[rows]

        close(some(embeddings, weights), reference_rows(embeddings, weights))
        close(gradients(some, embeddings, weights), gradients(reference_rows, embeddings, weights))


def test_correlation_without_edges_keeps_a_weight_of_its_own_with_zero_gradient() -> None:
    triples = directed()
    attention = triples.uniform_attention()
    nothing = SparseGraph.build(Edges.empty((N_ITEMS, N_ITEMS)), symmetric=True)
    graph = RelationalGraph.build(triples, attention, nothing)
    plain = RelationalGraph.build(triples, attention)
    embeddings = torch.randn(N_ENTITIES, DIM, generator=generator(3))
    weights = torch.randn(2 * N_RELATIONS + 1, DIM, generator=generator(4))
    assert torch.equal(
        graph.propagate(embeddings, weights), plain.propagate(embeddings, weights[:-1])
    )
    _, gradient = gradients(graph.propagate, embeddings, weights)
    assert not gradient[-1].any()
    assert gradient[:-1].any()


def test_items_without_triples_get_zero() -> None:
    entity = torch.tensor([N_ITEMS, N_ITEMS + 1])
    triples = DirectedTriples.bidirectional(
        entity, torch.zeros(2, dtype=torch.int64), entity + 2, N_ENTITIES, 1
    )
    graph = RelationalGraph.build(triples, triples.uniform_attention(), n_heads=N_ITEMS)
    embeddings, weights = torch.ones(N_ENTITIES, DIM), torch.ones(2, DIM)
    assert torch.equal(graph.propagate(embeddings, weights), torch.zeros(N_ITEMS, DIM))
    for gradient in gradients(graph.propagate, embeddings, weights):
        assert not gradient.any()
