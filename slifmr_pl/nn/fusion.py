"""Attention over the modalities of each item."""

import torch
from torch import Tensor, nn

from slifmr_pl.graphs.sparse.column_parallel import Columns


class ModalityFusion(nn.Module):
    """Σ_m a_m h_m with a = softmax_m(v · tanh(W h_m)), missing modalities masked.

    An item without any modality gets zero. With attention off, a is uniform over what is there.

    Args:
        dim: Embedding size d.
        attention: Whether the weights are learned.
    """

    def __init__(self, dim: int, *, attention: bool = True) -> None:
        super().__init__()
        self.score = (
            nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1, bias=False))
            if attention
            else None
        )

    def forward(
        self, views: Tensor, present: Tensor, columns: Columns = Columns()
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
        weights = columns.spread(attention)
        return (weights.unsqueeze(-1) * views).sum(0), attention
