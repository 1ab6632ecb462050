"""Ranking metrics of single users at cut-offs k, for binary relevance.

Shapes: B users, K ranked items a user, C cut-offs.

Every metric takes :class:`RankedHits`, which is checked once for all of them, and returns float64
``[B, C]``. Users without relevant items have no recall; the caller leaves them out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from slifmr_pl.errors import ConfigError, DataError


@dataclass(frozen=True)
class RankedHits:
    """Which ranked items are relevant; make one with :meth:`of`.

    Attributes:
        hits: bool ``[B, K]``, K the largest cut-off; column r tells whether the item at rank r + 1
            is relevant.
        relevant: int64 ``[B]``, number of relevant items of each user, at least 1.
        ks: The C cut-offs, each at least 1.
    """

    hits: Tensor
    relevant: Tensor
    ks: tuple[int, ...]

    @classmethod
    def of(cls, hits: Tensor, relevant: Tensor, ks: Sequence[int]) -> Self:
        """Checks hits and counts against each other.

        Args:
            hits: bool, ranks in columns. Ranks beyond the last column count as misses, so there
                may be fewer than a cut-off (a small catalogue).
            relevant: int64 ``[B]``.
            ks: Cut-offs.

        Raises:
            ConfigError: If shapes, types or cut-offs do not fit.
            DataError: If a user has no relevant items, or more hits than relevant items.
        """
        check_cutoffs(ks)
        if hits.dtype != torch.bool or hits.dim() != 2 or relevant.shape != hits.shape[:1]:
            raise ConfigError(
                f"hits are {hits.dtype} of shape {tuple(hits.shape)}, relevant counts of shape"
                f" {tuple(relevant.shape)}",
                expected="bool [users, ranks] and int64 [users]",
                fix="pass one row of hits and one count for each user",
            )
        wrong = (relevant < 1) | (hits.sum(dim=1) > relevant)
        if bool(wrong.any()):
            row = int(wrong.nonzero()[0])
            raise DataError(
                f"user row {row} (0-based) has {int(hits[row].sum())} hits"
                f" with {int(relevant[row])} relevant items",
                expected="at least 1 relevant item and no more hits than relevant items",
                fix="leave out users without relevant items and recommend each item once",
            )
        return cls(pad(hits, (0, max(ks) - hits.shape[1])), relevant, tuple(ks))

    @cached_property
    def found(self) -> Tensor:
        """Number of hits within each cut-off, float64 ``[B, C]``."""
        return self.sums_within(self.hits.double())

    @cached_property
    def ranks(self) -> Tensor:
        """Rank of each column, float64 ``[K]`` from 1."""
        columns = self.hits.shape[1]
        return torch.arange(1, columns + 1, dtype=torch.float64, device=self.hits.device)

    @cached_property
    def cutoffs(self) -> Tensor:
        """The cut-offs, int64 ``[C]``."""
        return torch.tensor(self.ks, device=self.hits.device)

    def sums_within(self, gains: Tensor) -> Tensor:
        """``[n, K] -> [n, C]``. Sums, not one cumsum: that has no deterministic kernel on CUDA."""
        return torch.stack([gains[:, :k].sum(dim=1) for k in self.ks], dim=1)


def ranking_metrics(ranked: RankedHits) -> dict[str, Tensor]:
    """All metrics of this file by name, in a fixed order."""
    return {
        "recall": recall(ranked),
        "precision": precision(ranked),
        "ndcg": ndcg(ranked),
        "map": average_precision(ranked),
        "mrr": reciprocal_rank(ranked),
        "hit": hit_rate(ranked),
    }


def recall(ranked: RankedHits) -> Tensor:
    """Relevant items among the first k, divided by all relevant items."""
    return ranked.found / ranked.relevant.double().unsqueeze(1)


def precision(ranked: RankedHits) -> Tensor:
    """Relevant items among the first k, divided by k (also if fewer than k items exist)."""
    return ranked.found / ranked.cutoffs.double()


def ndcg(ranked: RankedHits) -> Tensor:
    """Discounted gain 1 / log2(rank + 1) of the hits, divided by that of an ideal ranking.

    Järvelin & Kekäläinen, TOIS 2002. The ideal ranking starts with min(relevant, k) hits.
    """
    discount = (ranked.ranks + 1).log2().reciprocal()
    # Ideal rankings of 0, 1, … K hits. Theirs and the users' sums run over the same columns in the
    # same order, so a perfect ranking gets exactly 1.
    n_ranks = len(discount)
    ideal = ranked.ranks <= torch.arange(n_ranks + 1, device=discount.device).unsqueeze(1)
    ideal_gains = ranked.sums_within(ideal * discount)[ranked.relevant.clamp_max(n_ranks)]
    return ranked.sums_within(ranked.hits * discount) / ideal_gains


def average_precision(ranked: RankedHits) -> Tensor:
    """Sum of the precision at the rank of each hit, divided by min(relevant, k)."""
    precision_at_hits = ranked.hits * ranked.hits.cumsum(dim=1) / ranked.ranks
    reachable = ranked.relevant.unsqueeze(1).minimum(ranked.cutoffs)
    return ranked.sums_within(precision_at_hits) / reachable.double()


def reciprocal_rank(ranked: RankedHits) -> Tensor:
    """1 / rank of the first hit, 0 if it is not among the first k."""
    is_hit, first = ranked.hits.max(dim=1, keepdim=True)
    return torch.where(is_hit & (first < ranked.cutoffs), 1 / (first + 1).double(), 0.0)


def hit_rate(ranked: RankedHits) -> Tensor:
    """1 if a relevant item is among the first k, else 0."""
    return (ranked.found > 0).double()


def check_cutoffs(ks: Sequence[int]) -> None:
    """Refuse cut-offs that are empty or below 1.

    Raises:
        ConfigError: If there are none or one is below 1.
    """
    if len(ks) == 0 or min(ks) < 1:
        raise ConfigError(
            f"the cut-offs are {list(ks)}",
            expected="one or more whole numbers of at least 1",
            fix="set ks to, for example, [5, 10, 20, 50]",
        )
