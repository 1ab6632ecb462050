"""Fusion: how the views of an item become one vector.

`Fusion` is the contract; `AttentiveFusion` is what the paper's model does.
M = modalities, r = wanted items, d = embedding size (a process's own columns).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from slifmr_pl.config.parts import Part
from slifmr_pl.graphs.sparse.column_parallel import EmbeddingColumns
from slifmr_pl.nn.item_views import ModalityView
from slifmr_pl.nn.views import NetworkData, View, ViewContext


class ItemView(NamedTuple):
    """One view of the wanted items.

    Attributes:
        view: What made it.
        vectors: float32 [r, d].
        present: bool [r], items of which it says something; None for all.
    """

    view: View
    vectors: Tensor
    present: Tensor | None


class FusedViews(NamedTuple):
    """What a fusion gives.

    Attributes:
        total: float32 [r, d], what is added to the items; None without views.
        shares: By the views' names, what each counts: a number, or float32 [r]. None where the
            total is no weighted sum of the views; explanations then take it as a whole.
        attention: float32 [M, r], attention over the modalities; None without.
    """

    total: Tensor | None
    shares: dict[str, Tensor | float] | None
    attention: Tensor | None = None


class Fusion(Part, nn.Module):
    """How views become one vector of each item. Subclass it to write another way.

    Attributes:
        early: Whether that vector enters before items propagate over interactions, or is added
            to the propagated items.
    """

    early: bool = True

    def build(self, data: NetworkData, views: Sequence[View]) -> None:
        """Creates parameters, called once.

        Args:
            data: What the data set gives.
            views: The views that there will be.
        """

    def forward(self, views: Sequence[ItemView], context: ViewContext) -> FusedViews:
        """Fuses the views of the wanted items.

        Args:
            views: At least one.
            context: Of this propagation.
        """
        raise NotImplementedError


class AttentiveFusion(Fusion):
    """Σ_v weight_v · h_v, where the modalities count together by attention.

    Args:
        early: See `Fusion`.
        attention: Whether the modalities' shares are learned; otherwise they are even.
    """

    modalities: "ModalityAttention | None"

    def __init__(self, early: bool = True, attention: bool = True) -> None:
        super().__init__()
        self.early = early
        self.learned = attention
        self.modalities = None

    def build(self, data: NetworkData, views: Sequence[View]) -> None:
        """Creates the attention, where there are modalities."""
        if any(isinstance(view, ModalityView) for view in views):
            self.modalities = ModalityAttention(data.embedding_dim, learned=self.learned)

    def forward(self, views: Sequence[ItemView], context: ViewContext) -> FusedViews:
        """The weighted sum, and what each view counts in it."""
        modalities = [view for view in views if isinstance(view.view, ModalityView)]
        terms, attention = [], None
        shares: dict[str, Tensor | float] = {}
        if modalities:
            assert self.modalities is not None
            vectors = torch.stack([view.vectors for view in modalities])
            everywhere = torch.ones_like(vectors[0, :, 0], dtype=torch.bool)
            present = torch.stack(
                [everywhere if one.present is None else one.present for one in modalities]
            )
            fused, attention = self.modalities(vectors, present, context.columns)
            terms.append(modalities[0].view.weight * fused)
            for one, share in zip(modalities, attention, strict=True):
                shares[one.view.name] = one.view.weight * share
        for other in views:
            if not isinstance(other.view, ModalityView):
                terms.append(other.view.weight * other.vectors)
                shares[other.view.name] = other.view.weight
        return FusedViews(sum(terms[1:], terms[0]), shares, attention)


class ModalityAttention(nn.Module):
    """Σ_m a_m h_m with a = softmax_m(v · tanh(W h_m)), missing modalities masked.

    An item without any modality gets zero. With attention off, a is uniform over what is there.

    Args:
        dim: Embedding size d.
        learned: Whether the weights are learned.
    """

    def __init__(self, dim: int, *, learned: bool = True) -> None:
        super().__init__()
        self.score = (
            nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1, bias=False))
            if learned
            else None
        )

    def forward(
        self, views: Tensor, present: Tensor, columns: EmbeddingColumns = EmbeddingColumns()
    ) -> tuple[Tensor, Tensor]:
        """Fuses the modality views of items.

        Args:
            views: float32 [M, r, d], or the own columns of it.
            present: bool [M, r].
            columns: Which of the d columns the views have; attention looks at all of them.

        Returns:
            The fused view float32 [r, d] (own columns) and the attention a float32 [M, r].
        """
        scores = torch.zeros_like(views[..., 0])
        if self.score is not None:
            # Under autocast the layers score in half precision, whose shares do not sum to 1.
            scores = self.score(columns.gathered(views)).squeeze(-1).to(views.dtype)
        scores = scores.masked_fill(~present, torch.finfo(scores.dtype).min)
        attention = scores.softmax(0) * present
        weights = columns.with_summed_gradients(attention)
        return (weights.unsqueeze(-1) * views).sum(0), attention
