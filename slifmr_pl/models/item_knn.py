"""ItemKNN: items that the same users have interacted with."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slifmr_pl.config.bounds import is_number
from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.model_inputs import ModelInputs
from slifmr_pl.graphs.neighbours import Neighbours
from slifmr_pl.graphs.sparse.edges import Edges
from slifmr_pl.graphs.sparse.spmm import SparseGraph, spmm
from slifmr_pl.graphs.sparse.topk import topk_stable
from slifmr_pl.models.closed_form import ClosedForm

_BLOCK = 1024  # items whose similarities are held at a time


def similar_items(interactions: Any, k: int, shrinkage: float) -> Neighbours:
    """Nearest neighbours by shrunk cosine, ``|U_i ∩ U_j| / (√(|U_i| |U_j|) + h)``.

    Sarwar et al., "Item-based collaborative filtering recommendation algorithms", WWW 2001; Bell &
    Koren, "Scalable collaborative filtering with jointly derived neighborhood interpolation
    weights", ICDM 2007, for the shrinkage: few common users say little. Ties go to the lower item.

    Args:
        interactions: Y, SciPy CSR float64 ``[U, I]`` of ones.
        k: Neighbours of an item, fewer where the catalogue is smaller.
        shrinkage: h, at least 0.

    Returns:
        int64 ``[I, k]`` and float32 ``[I, k]``, best first; -1 and 0 where fewer than k items share
        a user.
    """
    n_items = interactions.shape[1]
    norms = np.sqrt(interactions.sum(axis=0))
    by_item = interactions.T.tocsr()
    parts = []
    for first in range(0, n_items, _BLOCK):
        common = (by_item[first : first + _BLOCK] @ interactions).toarray()
        rows = np.arange(len(common))
        scale = np.maximum(np.outer(norms[first + rows], norms) + shrinkage, 1.0)
        common[rows, first + rows] = 0.0
        parts.append(topk_stable(torch.from_numpy(common / scale), min(k, n_items)))
    weights = torch.cat([part.values for part in parts])
    indices = torch.cat([part.indices for part in parts])
    return Neighbours(indices.masked_fill(weights == 0, -1), weights.float())


class ItemKnn(ClosedForm):
    """Scores an item by the sum of its similarities to the user's items among its neighbours.

    Args:
        neighbours: Neighbours of an item.
        shrinkage: h, see `similar_items`.
        **evaluation: See `RecommenderModule`.
    """

    row_buffers = ("item_neighbours",)

    item_neighbours: Tensor
    similarities: Tensor

    def __init__(self, neighbours: int = 100, shrinkage: float = 10.0, **evaluation: Any) -> None:
        if not is_number(neighbours, least=1, whole=True) or not is_number(shrinkage, least=0):
            raise ConfigError(
                f"ItemKnn with {neighbours} neighbours and shrinkage {shrinkage}",
                expected="at least 1 neighbour, and a shrinkage of 0 or more",
                fix="for example neighbours 100, shrinkage 10",
            )
        super().__init__(**evaluation)
        self.neighbours, self.shrinkage = neighbours, shrinkage
        self._weights: SparseGraph | None = None

    def build(self, inputs: ModelInputs) -> None:
        """Makes room for the neighbours."""
        shape = (inputs.graph.n_items, min(self.neighbours, inputs.graph.n_items))
        self.register_buffer("item_neighbours", torch.full(shape, -1))
        self.register_buffer("similarities", torch.zeros(shape))

    def learn(self, interactions: Any) -> None:
        """Finds the neighbours."""
        neighbours = similar_items(interactions, self.neighbours, self.shrinkage)
        self.item_neighbours.copy_(neighbours.indices)
        self.similarities.copy_(neighbours.weights)
        self._weights = None

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Loads the neighbours, and drops the matrix that was made of earlier ones."""
        self._weights = None
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    def history_scores(self, offsets: Tensor, items: Tensor) -> Tensor:
        """W Yᵀ for some users, float32 ``[b, I]``; W holds the similarities of the neighbours."""
        counts = offsets.diff()
        history = self.similarities.new_zeros(len(self.similarities), len(counts))
        history[items, torch.arange(len(counts), device=items.device).repeat_interleave(counts)] = 1
        return spmm(self._matrix(), history).T.contiguous()

    def learned_neighbours(self) -> Neighbours:
        """The neighbours, with their similarities."""
        return Neighbours(self.item_neighbours, self.similarities)

    def _matrix(self) -> SparseGraph:
        """W ``[I, I]``."""
        if self._weights is None or self._weights.forward.offsets.device != self.device:
            n_items = len(self.item_neighbours)
            rows, places = (self.item_neighbours >= 0).nonzero(as_tuple=True)
            columns, values = self.item_neighbours[rows, places], self.similarities[rows, places]
            edges = Edges.build(rows, columns, values, (n_items, n_items))
            self._weights = SparseGraph.build(edges, symmetric=False)
        return self._weights
