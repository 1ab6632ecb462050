"""Exact top-k of the rows of a score matrix; ties break by lower index.

Shapes: N rows, M columns (candidates), k' = min(k, M).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from slifmr_pl.errors import ConfigError

# Columns that share one maximum while a row is pruned. Narrower groups measured slower.
GROUP_SIZES = (32, 64, 128, 256)


class TopK(NamedTuple):
    """The best columns of every row, best first; equal values are in index order.

    Attributes:
        values: ``[N, k']`` scores in descending order.
        indices: int64 ``[N, k']`` column of each score.
    """

    values: Tensor
    indices: Tensor


def topk_stable(scores: Tensor, k: int, ceiling: float | None = None) -> TopK:
    """Exact top-k of every row, by score descending and then index ascending.

    A long row is pruned first: the k columns are all in the k groups of neighbouring columns whose
    maxima are the highest, and equal maxima are taken by lower group.

    Args:
        scores: float ``[N, M]``; ``-inf`` marks masked columns, which come last. Overwritten where
            they exceed the ceiling.
        k: How many columns to keep, at least 1.
        ceiling: Scores above count as equal to it.

    Raises:
        ConfigError: If ``k`` < 1 or a score is NaN, or ``+inf`` without a ceiling.
    """
    check_k(k)
    n_rows, n_columns = scores.shape
    k = min(k, n_columns)
    if n_rows == 0 or k == 0:
        return TopK(scores[:, :k], torch.zeros_like(scores[:, :k], dtype=torch.int64))
    size = group_size(n_columns, k)
    if size == 1:
        return _selected(scores if ceiling is None else scores.clamp_(max=ceiling), k)
    n_groups = n_columns // size
    groups = scores.reshape(n_rows * n_groups, size)
    maxima = groups.amax(dim=1).view(n_rows, n_groups)
    if ceiling is not None:
        maxima.clamp_(max=ceiling)
    # In index order, so that the candidates are too.
    chosen = _selected(maxima, k).indices.sort(dim=1).values
    first_groups = torch.arange(n_rows, device=scores.device).unsqueeze(1) * n_groups
    candidates = groups.index_select(0, (chosen + first_groups).view(-1)).view(n_rows, k * size)
    if ceiling is not None:
        candidates.clamp_(max=ceiling)
    best = _selected(candidates, k)
    indices = chosen.gather(1, best.indices // size) * size + best.indices % size
    return TopK(best.values, indices)


def group_size(n_columns: int, k: int) -> int:
    """How many columns to prune by one maximum; 1 where pruning would not pay.

    The maxima and then the columns of k groups are ranked, instead of all columns.
    """
    ranked = {size: n_columns // size + k * size for size in GROUP_SIZES if n_columns % size == 0}
    best = min(ranked, key=lambda size: ranked[size], default=1)
    return best if best > 1 and 2 * ranked[best] <= n_columns else 1


def row_bytes(n_columns: int, k: int, dtype: torch.dtype) -> int:
    """The most work space that :func:`topk_stable` takes for a row, besides the scores.

    All rows have equal values at the boundary in the worst case, and are then copied and masked.
    """
    size = group_size(n_columns, k)
    copied = n_columns if size == 1 else n_columns // size + k * size
    groups = 0 if size == 1 else dtype.itemsize * copied
    return groups + (dtype.itemsize + 8) * copied + (4 * dtype.itemsize + 48) * k


def _selected(scores: Tensor, k: int) -> TopK:
    """Top-k of every row, k at most M.

    ``torch.topk`` leaves the order of equal values open, also which of them it returns at the
    boundary. Rows with equal values among the k and the next are therefore selected again.
    """
    values, indices = torch.topk(scores, min(k + 1, scores.shape[1]), dim=1)
    # NaN and +inf sort first, so the first column tells for the whole row.
    if bool((values[:, 0].isnan() | values[:, 0].isposinf()).any()):
        raise ConfigError(
            "the scores to rank contain NaN or +inf",
            expected="finite scores (-inf only where a candidate is masked)",
            fix="look for diverged training (lower the learning rate) or non-finite features",
        )
    tied = (values[:, 1:] == values[:, :-1]).any(dim=1).nonzero().squeeze(1)
    best = TopK(values[:, :k], indices[:, :k])
    if not tied.numel():
        return best
    again = _selected_by_threshold(scores.index_select(0, tied), values[tied, k - 1 : k], k)
    return TopK(*(whole.index_copy(0, tied, rows) for whole, rows in zip(best, again, strict=True)))


def _selected_by_threshold(scores: Tensor, boundary: Tensor, k: int) -> TopK:
    """Top-k of rows whose k-th value is known, ``[n, 1]``; takes the lowest columns at it."""
    keep = scores > boundary
    still_free = k - keep.sum(dim=1, keepdim=True, dtype=torch.int32)
    equal = scores == boundary
    keep |= equal & (equal.cumsum(dim=1, dtype=torch.int32) <= still_free)
    indices = keep.nonzero()[:, 1].view(-1, k)
    values, order = scores.gather(1, indices).sort(dim=1, descending=True, stable=True)
    return TopK(values, indices.gather(1, order))


def merge_topk(left: TopK, right: TopK, k: int) -> TopK:
    """Top-k of two parts of the same rows.

    Args:
        left: Top-k of the columns that come first; all its indices are below those of ``right``.
        right: Top-k of the columns that come after.
        k: How many columns to keep of both together.
    """
    values, order = torch.cat((left.values, right.values), dim=1).sort(
        dim=1, descending=True, stable=True
    )
    indices = torch.cat((left.indices, right.indices), dim=1)
    return TopK(values[:, :k], indices.gather(1, order[:, :k]))


def check_k(k: int) -> None:
    """Refuse a k that selects nothing.

    Raises:
        ConfigError: If ``k`` < 1.
    """
    if k < 1:
        raise ConfigError(
            f"k is {k}", expected="at least 1", fix="set k to how many entries to keep per row"
        )
