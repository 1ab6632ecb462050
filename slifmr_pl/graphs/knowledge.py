"""The knowledge view: triples in both directions with relation-aware attention.

n = entities (items are the first rows), T = directed triples, R = directed relations,
P = distinct (relation, head) pairs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from slifmr_pl.graphs.edges import Edges
from slifmr_pl.graphs.spmm import SparseBackend, SparseGraph, spmm


@dataclass(frozen=True)
class DirectedTriples:
    """Directed triples sorted by (relation, head, tail); a head receives from its tails.

    Attributes:
        heads: int64 [T].
        relations: int64 [T]; inverse directions are relations of their own.
        tails: int64 [T].
        n_entities: Number of entities, items included.
        n_relations: Number R of directed relations.
    """

    heads: Tensor
    relations: Tensor
    tails: Tensor
    n_entities: int
    n_relations: int

    @classmethod
    def bidirectional(
        cls, heads: Tensor, relations: Tensor, tails: Tensor, n_entities: int, n_relations: int
    ) -> "DirectedTriples":
        """Adds to every triple (h, r, t) its inverse (t, r + n_relations, h), and sorts."""
        head = torch.cat([heads, tails])
        relation = torch.cat([relations, relations + n_relations])
        tail = torch.cat([tails, heads])
        order = torch.argsort(tail, stable=True)
        order = order[torch.argsort(relation[order] * n_entities + head[order], stable=True)]
        return cls(head[order], relation[order], tail[order], n_entities, 2 * n_relations)

    def __len__(self) -> int:
        return len(self.heads)

    def to(self, device: torch.device | str) -> "DirectedTriples":
        """The same triples on another device."""
        return DirectedTriples(
            self.heads.to(device),
            self.relations.to(device),
            self.tails.to(device),
            self.n_entities,
            self.n_relations,
        )

    def uniform_attention(self) -> Tensor:
        """1 ÷ (number of the head's triples), float32 [T]: attention that knows nothing yet."""
        degrees = torch.bincount(self.heads, minlength=self.n_entities)
        return degrees[self.heads].float().reciprocal()


@torch.no_grad()
def relation_attention(
    triples: DirectedTriples, embeddings: Tensor, relation_weights: Tensor, chunk: int = 1 << 18
) -> Tensor:
    """Softmax over each head's triples of ⟨e_h ⊙ w_r, e_t⟩ / sqrt(d).

    Args:
        triples: T directed triples.
        embeddings: float32 [n, d], entities.
        relation_weights: float32 [≥ R, d].
        chunk: Triples scored at a time; bounds memory to chunk × d floats.

    Returns:
        float32 [T]; sums to 1 over the triples of each head.
    """
    scale = embeddings.shape[1] ** -0.5
    scores = torch.cat(
        [
            (embeddings[heads] * relation_weights[relations] * embeddings[tails]).sum(1) * scale
            for heads, relations, tails in zip(
                triples.heads.split(chunk),
                triples.relations.split(chunk),
                triples.tails.split(chunk),
                strict=True,
            )
        ]
    )
    # Triples are sorted by relation first, and a sum over a head must have one order.
    order = torch.argsort(triples.heads, stable=True)
    lengths = torch.bincount(triples.heads, minlength=triples.n_entities)
    peaks = torch.segment_reduce(scores[order], "max", lengths=lengths, initial=-torch.inf)
    weights = torch.exp(scores - peaks[triples.heads])
    sums = torch.segment_reduce(weights[order], "sum", lengths=lengths, initial=0.0)
    return weights / sums[triples.heads]


@dataclass(frozen=True)
class RelationalGraph:
    """Constant operands of Σ_r (A_r E) ⊙ w_r as three sparse products.

    Attributes:
        gather: [P, n]; row p sums the weighted tails of one (relation, head) pair.
        select: [P, R]; one 1 a row: the relation of the pair.
        pool: [h, P]; sums the pairs of each head.
    """

    gather: SparseGraph
    select: SparseGraph
    pool: SparseGraph

    @classmethod
    def build(
        cls,
        triples: DirectedTriples,
        attention: Tensor,
        correlation: Edges | None = None,
        *,
        n_heads: int | None = None,
        backend: SparseBackend = "auto",
    ) -> "RelationalGraph":
        """Makes the operands of one epoch.

        Args:
            triples: T directed triples.
            attention: float32 [T].
            correlation: Weighted item–item edges that come in as one more relation, number R.
            n_heads: Keep only heads below this row (the items, for a last layer); default all.
            backend: Of the sparse products.
        """
        n_relations = triples.n_relations
        heads, relations, tails, values = (
            triples.heads,
            triples.relations,
            triples.tails,
            attention,
        )
        if correlation is not None:
            heads = torch.cat([heads, correlation.rows])
            relations = torch.cat([relations, torch.full_like(correlation.rows, n_relations)])
            tails = torch.cat([tails, correlation.columns])
            values = torch.cat([values, correlation.values])
            n_relations += 1
        if n_heads is None:
            n_heads = triples.n_entities
        elif n_heads < triples.n_entities:
            kept = heads < n_heads
            heads, relations, tails, values = (x[kept] for x in (heads, relations, tails, values))
        # Sorted by (relation, head) already: pairs are runs.
        pairs, lengths = torch.unique_consecutive(relations * n_heads + heads, return_counts=True)
        numbers = torch.arange(len(pairs), device=heads.device)
        rows = torch.repeat_interleave(numbers, lengths)
        ones = torch.ones(len(pairs), device=heads.device)
        pair_relations = torch.div(pairs, n_heads, rounding_mode="floor")

        def graph(edges: Edges) -> SparseGraph:
            return SparseGraph.build(edges, symmetric=False, backend=backend)

        return cls(
            gather=graph(Edges(rows, tails, values, (len(pairs), triples.n_entities))),
            select=graph(Edges(numbers, pair_relations, ones, (len(pairs), n_relations))),
            pool=graph(Edges.build(pairs % n_heads, numbers, ones, (n_heads, len(pairs)))),
        )

    def propagate(self, embeddings: Tensor, relation_weights: Tensor) -> Tensor:
        """Σ_r (A_r E) ⊙ w_r.

        Args:
            embeddings: float32 [n, d].
            relation_weights: float32 [R, d].

        Returns:
            float32 [h, d].
        """
        messages = spmm(self.gather, embeddings) * spmm(self.select, relation_weights)
        return spmm(self.pool, messages)
