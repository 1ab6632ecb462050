"""Metrics as a user writes them: by features, of all users together, and from sums of their own."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from slifmr_pl.metrics.metric import CatalogueMetric, UserMetric
from slifmr_pl.metrics.metric_inputs import MetricInputs
from slifmr_pl.metrics.ranked_lists import RankedLists


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


class GiniOfExposure(CatalogueMetric):
    """How unevenly recommendations are spread over the catalogue."""

    name = "gini"
    title = "Gini index of exposure"
    formula = "Σ_i (2i − I − 1) c_i / (I Σ_i c_i), c_i recommendations of item i in rising order"
    edges = "0 if every item is recommended equally often; not a number where none is."
    higher_is_better = False

    def value(self, sums: Tensor) -> Tensor:
        ordered = sums.sort(dim=1).values.double()
        n_items = ordered.shape[1]
        places = torch.arange(1, n_items + 1, dtype=torch.float64, device=sums.device)
        weights = 2 * places - n_items - 1
        return (weights * ordered).sum(dim=1) / (n_items * ordered.sum(dim=1))


class PooledRecall(CatalogueMetric):
    """Hits of all users together, divided by their relevant items."""

    name = "pooled_recall"

    def sums(self, lists: RankedLists) -> Tensor:
        hits = lists.n_hits.sum(dim=0)
        return torch.stack([hits, lists.relevant.sum().double().expand_as(hits)])

    def value(self, sums: Tensor) -> Tensor:
        return sums[0] / sums[1]


def own_metrics() -> list[UserMetric | CatalogueMetric]:
    return [IntraListDiversity("text"), GiniOfExposure(), PooledRecall()]
