"""A loss term with a parameter of its own: scores should not follow popularity."""

import torch
from torch import Tensor, nn

from slifmr_pl import LossContext, LossData, LossTerm


class PopularityDebias(LossTerm):
    """Squared error of positives' scores, centred, to what popularity alone explains of them.

    Args:
        weight: Of the term in the objective.
    """

    name = "popularity_debias"

    def __init__(self, weight: float = 0.05) -> None:
        super().__init__()
        self.weight = weight

    def build(self, data: LossData) -> None:
        """The slope of scores over popularity, which is learned and then held against them."""
        self.slope = nn.Parameter(torch.zeros(()))

    def forward(self, batch: LossContext) -> Tensor:
        """Mean over the rows of the batch."""
        popularity = batch.popularity[batch.positives].float().log1p()
        scores = batch.positive_scores - batch.negative_scores.mean(1)
        explained = self.slope * popularity
        fit = (scores.detach() - explained).square()
        return batch.mean(fit + (scores * explained.detach()).sigmoid())
