"""Item graphs of features, as peers make them: by rows, each item among its own neighbours.

I items, d_m size of the features of modality m, k neighbours, w entries of a row.
"""

from typing import Any

import torch
from torch import Tensor, nn

from slifmr_pl.graphs.neighbours import Neighbours, cosine_neighbours
from slifmr_pl.graphs.sparse.spmm import Csr, SparseGraph


def neighbours_with_self(features: Tensor, present: Tensor, k: int) -> Neighbours:
    """The k items of highest cosine for every item that has features, itself among them (at 1).

    Args:
        features: float32 [I, d_m].
        present: bool [I].
        k: At least 2.
    """
    others = cosine_neighbours(features, k - 1, present=present)
    own = torch.arange(len(features), device=features.device)
    # A row of zeros has no direction: nothing is similar to it, and neither is it itself.
    known = present & (features != 0).any(dim=1)
    return Neighbours(
        torch.cat([own.masked_fill(~known, -1).unsqueeze(1), others.indices], dim=1),
        torch.cat([known.float().unsqueeze(1), others.weights], dim=1),
    )


def degree_normalised(columns: Tensor, values: Tensor) -> Tensor:
    """D^-1/2 A D^-1/2 of an item graph by rows, D the sums of its rows; differentiable.

    Args:
        columns: int64 [I, w], -1 for no entry.
        values: float32 [I, w], 0 there.
    """
    scale = values.sum(dim=1).clamp_min(1e-12).rsqrt()
    return values * (scale.unsqueeze(1) * scale[columns.clamp_min(0)])


class KeptItemGraph(nn.Module):
    """A sparse item graph [I, I] in buffers, so that it travels in a checkpoint.

    Args:
        n_items: I.
        width: w, most entries of a row.
    """

    columns: Tensor
    values: Tensor

    def __init__(self, n_items: int, width: int) -> None:
        super().__init__()
        self.register_buffer("columns", torch.full((n_items, width), -1))
        self.register_buffer("values", torch.zeros(n_items, width))
        self._graph: SparseGraph | None = None

    def keep(self, columns: Tensor, values: Tensor) -> None:
        """Takes other entries, int64 and float32 [I, w]; a column may occur twice in a row."""
        self.columns.copy_(columns)
        self.values.copy_(values.detach())
        self._graph = None

    @property
    def graph(self) -> SparseGraph:
        """For products, on the device of the buffers."""
        if self._graph is None or self._graph.forward.offsets.device != self.columns.device:
            used = self.columns >= 0
            with torch.inference_mode(False):  # also what is made to score may be trained on
                entries = self.columns[used].clone(), self.values[used].clone()
                self._graph = SparseGraph(
                    Csr.of_runs(used.sum(dim=1), *entries, n_columns=len(used))
                )
        return self._graph

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._graph = None
        super()._load_from_state_dict(*args, **kwargs)
