"""Propagation over the graphs of an epoch, as functions.

Of each there are two ways: over graphs with a hand-written backward (the fused one), and over
reference graphs in ordinary autograd; the kind of graph decides.

n = nodes, U = users, I = items, d = embedding size.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from slifmr_pl.graphs.interaction import InteractionGraph
from slifmr_pl.graphs.reference_graphs import ReferenceInteractionGraph, ReferenceRelationalGraph
from slifmr_pl.graphs.relational import RelationalGraph
from slifmr_pl.graphs.sparse.reference_products import ReferenceGraph
from slifmr_pl.graphs.sparse.spmm import SparseGraph, computes_single_rows, spmm


class MeanOfLayers(NamedTuple):
    """What `propagate_mean` gives; all float32, of all or the wanted rows.

    Attributes:
        users: Mean of the layers, [r_u, d].
        items: Mean of the layers, [r_i, d].
        own_users: Layer 0, [r_u, d].
        own_items: Layer 0, [r_i, d].
    """

    users: Tensor
    items: Tensor
    own_users: Tensor
    own_items: Tensor


def propagate_mean(
    graph: InteractionGraph | ReferenceInteractionGraph,
    users: Tensor,
    items: Tensor,
    layers: int,
    user_rows: Tensor | None = None,
    item_rows: Tensor | None = None,
) -> MeanOfLayers:
    """Mean of the layers 0 … L of A^l E (LightGCN, He et al. 2020, eq. 6-7, α_l = 1/(L+1)).

    Args:
        graph: A.
        users: float32 [U, d].
        items: float32 [I, d].
        layers: L; 0 returns the embeddings.
        user_rows: int64 [r_u], the users that are wanted; None for all. On a CPU the last layer
            computes only those.
        item_rows: int64 [r_i], the items that are wanted; None for all.
    """
    if isinstance(graph, ReferenceInteractionGraph):
        means = graph.mean_of_layers(users, items, layers)
        return MeanOfLayers(
            rows_of(means[0], user_rows),
            rows_of(means[1], item_rows),
            rows_of(users, user_rows),
            rows_of(items, item_rows),
        )
    some = user_rows if item_rows is None else item_rows
    if some is None or computes_single_rows(some):
        return MeanOfLayers(
            # torch declares Function.apply without types
            *_MeanOfLayers.apply(  # type: ignore[no-untyped-call]
                users, items, graph, layers, user_rows, item_rows
            )
        )
    full = propagate_mean(graph, users, items, layers)
    return MeanOfLayers(
        rows_of(full.users, user_rows),
        rows_of(full.items, item_rows),
        rows_of(full.own_users, user_rows),
        rows_of(full.own_items, item_rows),
    )


class _MeanOfLayers(torch.autograd.Function):
    """Wanted rows of (E + A·E + … + A^L·E) / (L+1) by Horner's rule, and the same rows of E.

    The gradient is the same polynomial of the transpose of A, which is A itself unless the items'
    corner is directed. Written out, no direction holds or adds a table that it does not need, and
    the gradients of E's rows need no table of their own.
    """

    @staticmethod
    def forward(
        ctx: Any,
        users: Tensor,
        items: Tensor,
        graph: InteractionGraph,
        layers: int,
        user_rows: Tensor | None,
        item_rows: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        own = rows_of(users, user_rows), rows_of(items, item_rows)
        mean = own[0] / (layers + 1), own[1] / (layers + 1)
        last = None
        if layers > 0:
            last = graph.select(user_rows, item_rows)
            inner = _horner(graph, users, items, layers - 1)
            for table, product in zip(mean, last.propagate(*inner), strict=True):
                table.add_(product, alpha=1 / (layers + 1))
        ctx.arguments = graph, layers, user_rows, item_rows, last
        return *mean, *own

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        graph, layers, user_rows, item_rows, last = ctx.arguments
        users, items = gradients[0] / (layers + 1), gradients[1] / (layers + 1)
        if last is None:
            dim = users.shape[1]
            entering = users.new_zeros(graph.n_users, dim), items.new_zeros(graph.n_items, dim)
        else:
            to_users, to_items = last.transposed().propagate(users, items)
            inner = graph if graph.symmetric else graph.transposed()
            entering = _horner(inner, to_users, to_items, layers - 1)
        _add_rows(entering[0], user_rows, users.add_(gradients[2]))
        _add_rows(entering[1], item_rows, items.add_(gradients[3]))
        return *entering, None, None, None, None


def _horner(
    graph: InteractionGraph, users: Tensor, items: Tensor, layers: int
) -> tuple[Tensor, Tensor]:
    """Σ_{l ≤ layers} A^l·E as X ← E + A·X; E itself where there are no layers."""
    result = users, items
    for _ in range(layers):
        to_users, to_items = graph.propagate(*result)
        result = to_users.add_(users), to_items.add_(items)
    return result


def rows_of(table: Tensor, rows: Tensor | None) -> Tensor:
    """The given rows of a table; None: all."""
    return table if rows is None else table.index_select(0, rows)


def _add_rows(table: Tensor, rows: Tensor | None, values: Tensor) -> None:
    if rows is None:
        table.add_(values)
    else:
        table.index_add_(0, rows, values)


def propagate_last(
    graph: SparseGraph | ReferenceGraph,
    embeddings: Tensor,
    layers: int,
    rows: Tensor | None = None,
) -> Tensor:
    """S^L E: what reaches an item over L steps of an item graph (Zhou & Shen 2023, eq. 5).

    Args:
        graph: S [I, I].
        embeddings: float32 [I, d].
        layers: L ≥ 1.
        rows: int64 [r], the rows that are wanted.

    Returns:
        float32 [I, d], or [r, d] with `rows`.
    """
    for _ in range(layers - 1):
        embeddings = spmm(graph, embeddings)
    return spmm(graph, embeddings, rows)


def propagate_relations(
    graph: RelationalGraph | ReferenceRelationalGraph | None,
    last: RelationalGraph | ReferenceRelationalGraph,
    embeddings: Tensor,
    relation_weights: Tensor,
    rows: Tensor | None = None,
) -> Tensor:
    """Mean of the relation-aware layers 1 … L, E_l = Σ_r (A_r E_{l-1}) ⊙ w_r, for the items.

    Args:
        graph: Σ over every head, for all layers but the last; None where there is one layer.
        last: Σ over the items as heads.
        embeddings: float32 [n, d], items first.
        relation_weights: float32 [L, R, d].
        rows: int64 [r], the items that are wanted; the last layer then computes only those.

    Returns:
        float32 [I, d], or [r, d] with `rows`.
    """
    hidden = []
    for weights in relation_weights[:-1]:
        assert graph is not None
        embeddings = graph.propagate(embeddings, weights)
        items = embeddings[: last.n_heads]
        hidden.append(rows_of(items, rows))
    total = last.propagate(embeddings, relation_weights[-1], rows)
    return sum(hidden, total) / len(relation_weights)
