"""A metric by features: how different the items of a list are."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from slifmr_pl import MetricInputs, RankedLists, UserMetric


class IntraListDiversity(UserMetric):
    """Mean cosine distance between the features of two items of a list."""

    name = "diversity"
    title = "Intra-list diversity (Ziegler et al., WWW 2005)"
    formula = "mean of 1 − cos(x_i, x_j) over the pairs of items within k"
    edges = "Items without features are left out; 0 where fewer than two items remain."
    higher_is_better = True

    def __init__(self, modality: str = "text") -> None:
        self.modality = modality

    def build(self, inputs: MetricInputs) -> None:
        values, self.present = inputs.features(self.modality)
        self.directions = normalize(values.double(), dim=1)

    def values(self, lists: RankedLists) -> Tensor:
        counts = (lists.items >= 0) & self.present[lists.items]
        directions = self.directions[lists.items].masked_fill(~counts.unsqueeze(2), 0.0)
        n = counts.cumsum(dim=1).double()
        pairs = n * (n - 1)  # |Σ x|² = n + Σ of the cosines of all ordered pairs
        cosines = directions.cumsum(dim=1).square().sum(dim=2) - n
        distances = torch.where(pairs > 0, 1 - cosines / pairs.clamp_min(1), 0.0)
        return distances[:, lists.cutoffs - 1]
