"""The graphs of an epoch in ordinary autograd, see `slifmr_pl.graphs.sparse.reference_products`.

U = users, I = items, d = embedding size, R = directed relations.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from slifmr_pl.graphs.pruning import some_triples
from slifmr_pl.graphs.sparse.edges import Edges
from slifmr_pl.graphs.sparse.reference_products import (
    ReferenceGraph,
    edge_dropout_factors,
    weighted_sums,
)
from slifmr_pl.graphs.triples import DirectedTriples


@dataclass(frozen=True)
class ReferenceInteractionGraph:
    """Interaction view A_t = norm([[0, Y], [Y^T, C]]), whose corner C may carry gradients.

    Attributes:
        users: int64 [n], user row of each training interaction, ascending.
        items: int64 [n], item row of each; ascending for each user.
        values: float32 [n], normalised weights.
        corner: [I, I], normalised; None without one.
        n_users: U.
        n_items: I.
    """

    users: Tensor
    items: Tensor
    values: Tensor
    corner: ReferenceGraph | None
    n_users: int
    n_items: int

    @classmethod
    def build(
        cls, users: Tensor, items: Tensor, n_users: int, n_items: int, corner: Edges | None = None
    ) -> "ReferenceInteractionGraph":
        """Normalises D^-1/2 A D^-1/2 over all blocks, see `InteractionGraph.build`."""
        pairs = Edges.build(
            users, items, torch.ones(len(users), device=users.device), (n_users, n_items)
        )
        user_scale = _degrees(pairs.rows, pairs.values, n_users).clamp_min(1e-12).rsqrt()
        item_degrees = _degrees(pairs.columns, pairs.values, n_items)
        if corner is not None:
            item_degrees = item_degrees + _degrees(corner.rows, corner.values, n_items)
        item_scale = item_degrees.clamp_min(1e-12).rsqrt()
        values = user_scale[pairs.rows] * item_scale[pairs.columns]
        graph = None
        if corner is not None:
            scales = item_scale[corner.rows] * item_scale[corner.columns]
            graph = ReferenceGraph(
                Edges(corner.rows, corner.columns, corner.values * scales, corner.shape)
            )
        return cls(pairs.rows, pairs.columns, values, graph, n_users, n_items)

    def propagate(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """The product A_t E for users float32 [U, d] and items float32 [I, d]."""
        to_users = weighted_sums(self.users, self.items, self.values, items, self.n_users)
        to_items = weighted_sums(self.items, self.users, self.values, users, self.n_items)
        if self.corner is not None:
            to_items = to_items + self.corner @ items
        return to_users, to_items

    def mean_of_layers(self, users: Tensor, items: Tensor, layers: int) -> tuple[Tensor, Tensor]:
        """(E + A·E + … + A^L·E) / (L+1)."""
        user_sum, item_sum = users, items
        for _ in range(layers):
            users, items = self.propagate(users, items)
            user_sum, item_sum = user_sum + users, item_sum + items
        return user_sum / (layers + 1), item_sum / (layers + 1)

    def with_dropped_edges(
        self, share: float, generator: torch.Generator
    ) -> "ReferenceInteractionGraph":
        """See `InteractionGraph.with_dropped_edges`, which drops the same edges."""
        factors = edge_dropout_factors(len(self.users), share, generator).to(self.values)
        return ReferenceInteractionGraph(
            self.users,
            self.items,
            self.values * factors,
            self.corner,
            self.n_users,
            self.n_items,
        )


@dataclass(frozen=True)
class ReferenceRelationalGraph:
    """Σ_r (A_r E) ⊙ w_r, see `RelationalGraph`.

    Attributes:
        triples: Those whose heads are wanted.
        attention: float32 [T].
        n_heads: Number of heads, counted from entity 0.
        correlation: [I, I], item–item edges that are one more relation, the last; or None.
    """

    triples: DirectedTriples
    attention: Tensor
    n_heads: int
    correlation: ReferenceGraph | None = None

    @classmethod
    def build(
        cls,
        triples: DirectedTriples,
        attention: Tensor,
        correlation: ReferenceGraph | None,
        n_heads: int | None,
    ) -> "ReferenceRelationalGraph":
        """Keeps the triples of the first `n_heads` entities; None keeps all."""
        n_heads = triples.n_entities if n_heads is None else n_heads
        wanted = triples.heads < n_heads
        return cls(some_triples(triples, wanted), attention[wanted], n_heads, correlation)

    def propagate(
        self, embeddings: Tensor, relation_weights: Tensor, rows: Tensor | None = None
    ) -> Tensor:
        """See `RelationalGraph.propagate`."""
        triples = self.triples
        messages = (
            self.attention.unsqueeze(1)
            * embeddings.index_select(0, triples.tails)
            * relation_weights.index_select(0, triples.relations)
        )
        total = embeddings.new_zeros(self.n_heads, embeddings.shape[1])
        total = total.index_add(0, triples.heads, messages)
        if self.correlation is not None:
            n_items = self.correlation.shape[0]
            extra = (self.correlation @ embeddings[:n_items]) * relation_weights[-1]
            total = torch.cat([total[:n_items] + extra, total[n_items:]])
        return total if rows is None else total.index_select(0, rows)


def _degrees(rows: Tensor, values: Tensor, size: int) -> Tensor:
    return values.new_zeros(size).index_add(0, rows, values)
