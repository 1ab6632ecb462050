"""The item graph of LATTICE, learnt from the features of the items.

I items, d embedding size, M modalities, k neighbours, r wanted items.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from slifmr_pl.graphs.model_inputs import ItemFeatures
from slifmr_pl.graphs.sparse.reference_products import weighted_sums
from slifmr_pl.models.feature_graph import (
    KeptItemGraph,
    degree_normalised,
    neighbours_with_self,
)
from slifmr_pl.models.item_features import ProjectedFeatures
from slifmr_pl.nn.propagation import propagate_last, rows_of


class LearntItemGraph(nn.Module):
    """A = λ Σ_m α_m N(x_m)~ + (1 - λ) (Σ_m α_m N(W_m x_m + b_m))~, see `Lattice`.

    Args:
        features: By modality.
        dim: d.
        neighbours: k, the item itself included.
        kept_share: λ.
        trained: Whether the features are trained, too.
    """

    renewed_in: Tensor

    def __init__(
        self,
        features: Mapping[str, ItemFeatures],
        dim: int,
        neighbours: int,
        kept_share: float,
        *,
        trained: bool,
    ) -> None:
        super().__init__()
        self.neighbours, self.kept_share = neighbours, kept_share
        # What is ranked with depends on the features, so that a checkpoint has to hold them.
        self.features = ProjectedFeatures(features, dim, trained=trained, kept=True)
        self.modality_logits = nn.Parameter(torch.full((len(features),), 0.5))
        self.present = [present for _, present in features.values()]
        n_items, width = len(self.present[0]), neighbours * len(features)
        self.frozen, self.of_epoch = (KeptItemGraph(n_items, n * width) for n in (1, 2))
        self.register_buffer("renewed_in", torch.tensor(-1))  # epoch that `of_epoch` is of
        parts = [neighbours_with_self(*one, neighbours) for one in features.values()]
        values = [degree_normalised(*part) for part in parts]
        self.frozen.keep(torch.cat([one.indices for one in parts], 1), torch.cat(values, 1))
        self._teaches = False
        self._epoch: int | None = None  # the same as `renewed_in`, once that was read

    def forget(self) -> None:
        """Makes the next step of training begin with a graph of its own."""
        self.renewed_in.fill_(-1)
        self._epoch = None

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._epoch = None
        super()._load_from_state_dict(*args, **kwargs)

    def forward(self) -> tuple[Tensor, Tensor]:
        """A by the present weights, columns int64 and values float32 [I, 2 M k]; differentiable."""
        weights = self.modality_logits.softmax(0)
        vectors = list(self.features().values())
        columns, renewed = learnt_graph(vectors, self.present, weights, self.neighbours)
        frozen = self.frozen.values * weights.repeat_interleave(self.neighbours)
        return (
            torch.cat([self.frozen.columns, columns], dim=1),
            torch.cat([self.kept_share * frozen, (1 - self.kept_share) * renewed], dim=1),
        )

    def present_product(self, table: Tensor, layers: int) -> Tensor:
        """A^L E by the present weights, float32 [I, d], without gradient for them."""
        graph = KeptItemGraph(*self.of_epoch.columns.shape).to(table.device)
        graph.keep(*self())
        return propagate_last(graph.graph, table, layers)

    def product(
        self, table: Tensor, layers: int, rows: Tensor | None, *, epoch: int, n_ranks: int
    ) -> Tensor:
        """Rows [r, d] of A^L E in training, with A as it is in this epoch.

        The first call of an epoch makes it, and has gradients for what it is made of.
        """
        if self._epoch is None:
            self._epoch = int(self.renewed_in)
        if self._epoch == epoch:
            side = propagate_last(self.of_epoch.graph, table, layers, rows)
            if n_ranks > 1:  # several processes expect a gradient of everything
                side = side + 0.0 * torch.stack([p.sum() for p in self.parameters()]).sum()
            return side
        columns, values = self()
        self.of_epoch.keep(columns, values)
        self.renewed_in.fill_(epoch)
        self._epoch = epoch
        self._teaches = True
        at, place = (columns >= 0).nonzero(as_tuple=True)
        for _ in range(layers):
            edges = at, columns[at, place], values[at, place]
            table = weighted_sums(*edges, table, len(columns))
        return rows_of(table, rows)

    def drop_empty_gradients(self) -> None:
        """Before a step of the optimizer: Adam's momentum would move what has learnt nothing."""
        for parameter in () if self._teaches else self.parameters():
            parameter.grad = None
        self._teaches = False


def learnt_graph(
    vectors: Sequence[Tensor], present: Sequence[Tensor], weights: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """(Σ_m α_m N_m)~ of trained vectors: differentiable in them and in α, not in who is near.

    N_m has the cosines of the k nearest; ~ is D^-1/2 · D^-1/2.

    Args:
        vectors: float32 [I, d] of each modality.
        present: bool [I] of each modality.
        weights: α float32 [M].
        k: At least 2.

    Returns:
        Columns int64 [I, M k], -1 for none, and values float32 [I, M k].
    """
    columns, values = [], []
    for one, there, weight in zip(vectors, present, weights, strict=True):
        unit = normalize(one, dim=1)
        nearest = neighbours_with_self(one.detach(), there.to(one.device), k).indices
        cosines = torch.einsum("id,ikd->ik", unit, unit[nearest.clamp_min(0)])
        columns.append(nearest)
        values.append(weight * cosines * (nearest >= 0))
    joined = torch.cat(columns, dim=1)
    return joined, degree_normalised(joined, torch.cat(values, dim=1))
