"""Propagation of the three views, as functions of constant graphs.

n = nodes, U = users, I = items, d = embedding size.
"""

import torch
from torch import Tensor

from slifmr_pl.graphs.knowledge import RelationalGraph
from slifmr_pl.graphs.spmm import SparseGraph, spmm


def propagate_mean(
    graph: SparseGraph, embeddings: Tensor, layers: int, rows: Tensor | None = None
) -> Tensor:
    """Mean of the layers 0 … L of A^l E (LightGCN, He et al. 2020, eq. 6-7, α_l = 1/(L+1)).

    Args:
        graph: Symmetric A [n, n].
        embeddings: float32 [n, d].
        layers: L; 0 returns the embeddings.
        rows: int64 [r], the rows that are wanted; the last layer then computes only those.

    Returns:
        float32 [n, d], or [r, d] with `rows`.
    """

    def wanted(layer: Tensor) -> Tensor:
        return layer if rows is None else layer.index_select(0, rows)

    if layers == 0:
        return wanted(embeddings)
    total = wanted(embeddings)
    layer = embeddings
    for _ in range(layers - 1):
        layer = spmm(graph, layer)
        total = total + wanted(layer)
    return (total + spmm(graph, layer, rows)) / (layers + 1)


def propagate_last(
    graph: SparseGraph, embeddings: Tensor, layers: int, rows: Tensor | None = None
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
    graph: RelationalGraph | None,
    last: RelationalGraph,
    embeddings: Tensor,
    relation_weights: Tensor,
) -> Tensor:
    """Mean of the relation-aware layers 1 … L, E_l = Σ_r (A_r E_{l-1}) ⊙ w_r, for the items.

    Args:
        graph: Σ over every head, for all layers but the last; None where there is one layer.
        last: Σ over the items as heads.
        embeddings: float32 [n, d], items first.
        relation_weights: float32 [L, R, d].

    Returns:
        float32 [I, d].
    """
    n_items = last.pool.shape[0]
    total = torch.zeros_like(embeddings[:n_items])
    for weights in relation_weights[:-1]:
        assert graph is not None
        embeddings = graph.propagate(embeddings, weights)
        total = total + embeddings[:n_items]
    total = total + last.propagate(embeddings, relation_weights[-1])
    return total / len(relation_weights)
