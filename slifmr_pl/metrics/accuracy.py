"""Accuracy for binary relevance: metrics that follow from the ranks of a user's hits."""

from typing import TYPE_CHECKING

from slifmr_pl.metrics.metric import Example, UserMetric

if TYPE_CHECKING:  # the definitions are printed without waiting for torch
    from torch import Tensor

    from slifmr_pl.metrics.ranked_lists import RankedLists


class Recall(UserMetric):
    """Relevant items among the first k, divided by all relevant items."""

    name = "recall"
    title = "Recall"
    formula = "Σ_{r≤k} h_r / R"
    edges = "Divided by all relevant items, so it stays below 1 where R > k."
    higher_is_better = True
    examples = (
        Example((1, 0, 1, 0), 3, 3, 0.6667, "two of three relevant items"),
        Example((1, 1), 5, 2, 0.4, "no list of two holds five"),
    )

    def values(self, lists: "RankedLists") -> "Tensor":
        """See `formula`."""
        return lists.n_hits / lists.relevant.double().unsqueeze(1)


class Precision(UserMetric):
    """Relevant items among the first k, divided by k."""

    name = "precision"
    title = "Precision"
    formula = "Σ_{r≤k} h_r / k"
    edges = "Divided by k, also where fewer than k items can be recommended."
    higher_is_better = True
    examples = (
        Example((1, 0, 1, 0), 3, 3, 0.6667, "two of three places"),
        Example((1, 0), 1, 5, 0.2, "k beyond the list"),
    )

    def values(self, lists: "RankedLists") -> "Tensor":
        """See `formula`."""
        return lists.n_hits / lists.cutoffs.double()


class Ndcg(UserMetric):
    """Discounted gain 1 / log2(rank + 1) of the hits, divided by that of an ideal ranking."""

    name = "ndcg"
    title = "Normalised discounted cumulative gain (Järvelin & Kekäläinen, TOIS 2002)"
    formula = "Σ_{r≤k} h_r / log2(r + 1), divided by Σ_{r≤min(R, k)} 1 / log2(r + 1)"
    edges = "The ideal ranking holds min(R, k) hits, so a perfect list has exactly 1 for every k."
    higher_is_better = True
    examples = (
        Example((1, 0, 1, 0), 3, 3, 0.7039, "1.5 of 2.1309"),
        Example((1, 1), 5, 2, 1.0, "a perfect list"),
    )

    def values(self, lists: "RankedLists") -> "Tensor":
        """See `formula`."""
        ranks = lists.ranks
        discount = (ranks + 1).log2().reciprocal()
        # Ideal rankings of 1, 2, … K hits. Theirs and the users' sums run over the same columns in
        # the same order, so a perfect ranking gets exactly 1.
        ideal = ranks <= ranks.unsqueeze(1)
        ideal_gains = lists.sums_within(ideal * discount)[lists.relevant.clamp_max(len(ranks)) - 1]
        return lists.sums_within(lists.hits * discount) / ideal_gains


class AveragePrecision(UserMetric):
    """Sum of the precision at the rank of each hit, divided by min(R, k)."""

    name = "map"
    title = "Mean average precision"
    formula = "Σ_{r≤k} h_r · precision@r, divided by min(R, k)"
    edges = "Others divide by R (ranx, trec_eval), which is smaller where R > k."
    higher_is_better = True
    examples = (
        Example((1, 0, 1, 0), 3, 3, 0.5556, "(1 + 2/3) / 3"),
        Example((1, 1), 5, 2, 1.0, "a perfect list"),
    )

    def values(self, lists: "RankedLists") -> "Tensor":
        """See `formula`."""
        precision_at_hits = lists.hits * lists.hits.cumsum(dim=1) / lists.ranks
        reachable = lists.relevant.unsqueeze(1).minimum(lists.cutoffs)
        return lists.sums_within(precision_at_hits) / reachable.double()


class ReciprocalRank(UserMetric):
    """1 / rank of the first hit, 0 if it is not among the first k."""

    name = "mrr"
    title = "Mean reciprocal rank"
    formula = "1 / r of the first hit among the first k"
    edges = "0 where there is no hit among the first k."
    higher_is_better = True
    examples = (
        Example((0, 0, 1, 1), 2, 4, 0.3333, "first hit at rank 3"),
        Example((0, 0, 1, 1), 2, 2, 0.0, "no hit among the first two"),
    )

    def values(self, lists: "RankedLists") -> "Tensor":
        """See `formula`."""
        has_hit, first = lists.hits.max(dim=1, keepdim=True)
        return (has_hit & (first < lists.cutoffs)) / (first + 1).double()


class HitRate(UserMetric):
    """1 if a relevant item is among the first k, else 0."""

    name = "hit"
    title = "Hit rate"
    formula = "1 if Σ_{r≤k} h_r > 0, else 0"
    edges = "With one relevant item a user, the same as recall."
    higher_is_better = True
    examples = (
        Example((0, 0, 1, 1), 2, 4, 1.0, "two hits count once"),
        Example((0, 0, 1, 1), 2, 2, 0.0, "no hit among the first two"),
    )

    def values(self, lists: "RankedLists") -> "Tensor":
        """See `formula`."""
        return (lists.n_hits > 0).double()
