"""Metrics as a user writes them: of all users together, and from sums of their own."""

import torch
from torch import Tensor

from slifmr_pl.metrics.metric import CatalogueMetric, UserMetric
from slifmr_pl.metrics.ranked_lists import RankedLists
from tests.extending.parts.intra_list_diversity import IntraListDiversity


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
