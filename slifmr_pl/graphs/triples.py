"""The knowledge graph: triples in both directions, and their relation-aware attention.

n = entities (items are the first rows), T = directed triples, R = directed relations.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from slifmr_pl.graphs.sparse.column_parallel import EmbeddingColumns


@dataclass(frozen=True)
class DirectedTriples:
    """Directed triples sorted by (head, relation, tail); a head receives from its tails.

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
        order = order[torch.argsort(head[order] * (2 * n_relations) + relation[order], stable=True)]
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

    @cached_property
    def by_tail(self) -> Tensor:
        """The order of the triples by (tail, relation, head), int64 [T]; sorted once, then kept."""
        return torch.argsort(self.tails * self.n_relations + self.relations, stable=True)

    def uniform_attention(self) -> Tensor:
        """1 ÷ (number of the head's triples), float32 [T]: attention before anything is learned."""
        degrees = torch.bincount(self.heads, minlength=self.n_entities)
        return degrees[self.heads].float().reciprocal()


@torch.no_grad()
def relation_attention(
    triples: DirectedTriples,
    embeddings: Tensor,
    relation_weights: Tensor,
    chunk: int = 1 << 14,
    columns: EmbeddingColumns = EmbeddingColumns(),
) -> Tensor:
    """Softmax over each head's triples of ⟨e_h ⊙ w_r, e_t⟩ / sqrt(d).

    Args:
        triples: T directed triples.
        embeddings: float32 [n, d], entities.
        relation_weights: float32 [≥ R, d].
        chunk: Triples scored at a time; bounds memory to 3 · chunk × d floats.
        columns: Which columns the embeddings and weights are.

    Returns:
        float32 [T]; sums to 1 over the triples of each head.
    """
    scale = (embeddings.shape[1] * columns.count) ** -0.5
    scores = embeddings.new_empty(len(triples))
    for start in range(0, len(triples), chunk):
        part = slice(start, start + chunk)
        product = embeddings.index_select(0, triples.heads[part])
        product *= relation_weights.index_select(0, triples.relations[part])
        product *= embeddings.index_select(0, triples.tails[part])
        torch.sum(product, dim=1, out=scores[part])
    scores = columns.sum_of(scores).mul_(scale)
    lengths = torch.bincount(triples.heads, minlength=triples.n_entities)
    peaks = torch.segment_reduce(scores, "max", lengths=lengths, initial=-torch.inf)
    weights = scores.sub_(peaks.index_select(0, triples.heads)).exp_()
    sums = torch.segment_reduce(weights, "sum", lengths=lengths, initial=0.0)
    attention: Tensor = weights.div_(sums.index_select(0, triples.heads))
    return attention
