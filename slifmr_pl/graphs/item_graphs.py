"""Item–item graphs from neighbour lists: modality graphs S_m and the correlation graph C_t."""

import torch

from slifmr_pl.graphs.neighbours import Neighbours
from slifmr_pl.graphs.sparse.edges import Edges, symmetrically_normalised, symmetrised


def item_edges(neighbours: Neighbours, *, weighted: bool = False) -> Edges:
    """Normalised item graph norm(sym(top-k)) from each item's nearest neighbours.

    Args:
        neighbours: Indices int64 [I, K] (-1 = none) and cosine similarities float32 [I, K].
        weighted: Keep the similarities as weights; otherwise every edge counts 1
            (Zhou & Shen 2023, FREEDOM, eq. 2).

    Returns:
        Symmetric edges [I, I].
    """
    indices, weights = neighbours
    rows, slots = torch.nonzero(indices >= 0, as_tuple=True)
    values = weights[rows, slots] if weighted else torch.ones(len(rows), device=rows.device)
    shape = (len(indices), len(indices))
    return symmetrically_normalised(
        symmetrised(Edges.build(rows, indices[rows, slots], values, shape))
    )


def edge_overlap(a: Edges, b: Edges) -> float:
    """Jaccard similarity of two edge sets: common edges ÷ all edges; 1 when both are empty."""
    keys = torch.cat([edges.rows * edges.shape[1] + edges.columns for edges in (a, b)])
    union = len(torch.unique(keys))
    return (len(keys) - union) / union if union else 1.0
