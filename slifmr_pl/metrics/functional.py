"""Ranking metrics of single users at cut-offs k, for binary relevance.

Shapes: B users, K ranked items a user, C cut-offs.

Every function takes

- ``hits``: bool ``[B, K]``; column r tells whether the item at rank r + 1 is relevant. Ranks beyond
  K count as misses, so K may be smaller than a cut-off (a small catalogue);
- ``relevant``: int64 ``[B]``, number of relevant items of each user, at least 1;
- ``ks``: the C cut-offs, each at least 1;

returns float64 ``[B, C]`` and raises ``ConfigError`` for shapes and cut-offs that do not fit and
``DataError`` for users that have no relevant items or more hits than relevant items. Users without
relevant items have no recall; the caller leaves them out.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from slifmr_pl.errors import ConfigError, DataError


def ranking_metrics(hits: Tensor, relevant: Tensor, ks: Sequence[int]) -> dict[str, Tensor]:
    """All metrics of this file by name, in a fixed order."""
    return {
        "recall": recall(hits, relevant, ks),
        "precision": precision(hits, relevant, ks),
        "ndcg": ndcg(hits, relevant, ks),
        "map": average_precision(hits, relevant, ks),
        "mrr": reciprocal_rank(hits, relevant, ks),
        "hit": hit_rate(hits, relevant, ks),
    }


def recall(hits: Tensor, relevant: Tensor, ks: Sequence[int]) -> Tensor:
    """Relevant items among the first k, divided by all relevant items."""
    hits = _checked_hits(hits, relevant, ks)
    return _sums_within(hits.double(), ks) / relevant.double().unsqueeze(1)


def precision(hits: Tensor, relevant: Tensor, ks: Sequence[int]) -> Tensor:
    """Relevant items among the first k, divided by k (also if fewer than k items exist)."""
    hits = _checked_hits(hits, relevant, ks)
    return _sums_within(hits.double(), ks) / torch.tensor(ks, device=hits.device).double()


def ndcg(hits: Tensor, relevant: Tensor, ks: Sequence[int]) -> Tensor:
    """Discounted gain 1 / log2(rank + 1) of the hits, divided by that of an ideal ranking.

    Järvelin & Kekäläinen, TOIS 2002. The ideal ranking starts with min(relevant, k) hits.
    """
    hits = _checked_hits(hits, relevant, ks)
    ranks = _ranks(hits)
    discount = (ranks + 1).log2().reciprocal()
    ideal = ranks <= relevant.unsqueeze(1)
    # Both sums run over the same columns in the same order, so a perfect ranking gets exactly 1.
    return _sums_within(hits * discount, ks) / _sums_within(ideal * discount, ks)


def average_precision(hits: Tensor, relevant: Tensor, ks: Sequence[int]) -> Tensor:
    """Sum of the precision at the rank of each hit, divided by min(relevant, k)."""
    hits = _checked_hits(hits, relevant, ks)
    precision_at_hits = hits * hits.cumsum(dim=1) / _ranks(hits)
    reachable = relevant.unsqueeze(1).minimum(torch.tensor(ks, device=hits.device))
    return _sums_within(precision_at_hits, ks) / reachable.double()


def reciprocal_rank(hits: Tensor, relevant: Tensor, ks: Sequence[int]) -> Tensor:
    """1 / rank of the first hit, 0 if it is not among the first k."""
    hits = _checked_hits(hits, relevant, ks)
    is_first = hits & (hits.cumsum(dim=1) == 1)
    return _sums_within(is_first / _ranks(hits), ks)


def hit_rate(hits: Tensor, relevant: Tensor, ks: Sequence[int]) -> Tensor:
    """1 if a relevant item is among the first k, else 0."""
    hits = _checked_hits(hits, relevant, ks)
    return (_sums_within(hits.double(), ks) > 0).double()


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


def _checked_hits(hits: Tensor, relevant: Tensor, ks: Sequence[int]) -> Tensor:
    """``hits``, cut or filled up with misses to as many columns as the largest cut-off."""
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
    return pad(hits, (0, max(ks) - hits.shape[1]))


def _ranks(hits: Tensor) -> Tensor:
    return torch.arange(1, hits.shape[1] + 1, dtype=torch.float64, device=hits.device)


def _sums_within(gains: Tensor, ks: Sequence[int]) -> Tensor:
    """``[B, K] -> [B, C]``. Sums, not one cumsum: that has no deterministic kernel on CUDA."""
    return torch.stack([gains[:, :k].sum(dim=1) for k in ks], dim=1)
