"""Exact top-k of score matrices that are never held whole; ties break by lower index.

Shapes: N rows, M columns (candidates), d embedding size, k' = min(k, M).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from slifmr_pl.errors import ConfigError

# Every product is computed in blocks of exactly this shape, padded with zeros at the edges. A score
# then never depends on the memory budget or on which rows share a batch: matmul libraries choose
# the order of their sums by the shape of the operands. Larger blocks measured no faster.
BLOCK_ROWS = 128
BLOCK_COLUMNS = 1024


class TopK(NamedTuple):
    """The best columns of every row, best first; equal values are in index order.

    Attributes:
        values: ``[N, k']`` scores in descending order.
        indices: int64 ``[N, k']`` column of each score.
    """

    values: Tensor
    indices: Tensor


class TileSizes(NamedTuple):
    """Rows and columns of the largest part of a score matrix that is held at once."""

    rows: int
    columns: int


def topk_stable(scores: Tensor, k: int) -> TopK:
    """Exact top-k of every row, by score descending and then index ascending.

    ``torch.topk`` leaves the order of equal values open, also which of them it returns at the
    boundary. Rows whose k-th and next value are equal are therefore selected again by threshold.

    Args:
        scores: float ``[N, M]``; ``-inf`` marks masked columns, which come last.
        k: How many columns to keep, at least 1.

    Raises:
        ConfigError: If ``k`` < 1 or a score is NaN or ``+inf``.
    """
    check_k(k)
    if scores.shape[0] == 0 or scores.shape[1] == 0:
        k = min(k, scores.shape[1])
        return TopK(scores[:, :k], torch.zeros_like(scores[:, :k], dtype=torch.int64))
    values, indices = torch.topk(scores, min(k + 1, scores.shape[1]), dim=1)
    # NaN and +inf sort first, so the first column tells for the whole row.
    if bool((values[:, 0].isnan() | values[:, 0].isposinf()).any()):
        raise ConfigError(
            "the scores to rank contain NaN or +inf",
            expected="finite scores (-inf only where a candidate is masked)",
            fix="look for diverged training (lower the learning rate) or non-finite features",
        )
    if values.shape[1] > k:
        at_boundary = (values[:, k - 1] == values[:, k]).nonzero().squeeze(1)
        indices = indices[:, :k]
        if at_boundary.numel():
            rows = scores.index_select(0, at_boundary)
            indices = indices.index_copy(0, at_boundary, _lowest_at(rows, values[at_boundary], k))
    indices = indices.sort(dim=1).values
    values, order = scores.gather(1, indices).sort(dim=1, descending=True, stable=True)
    return TopK(values, indices.gather(1, order))


def _lowest_at(rows: Tensor, values: Tensor, k: int) -> Tensor:
    """Columns ``[n, k]`` of the k best of ``rows``, taking the lowest columns at the boundary."""
    boundary = values[:, k - 1 : k]
    keep = rows > boundary
    still_free = k - keep.sum(dim=1, keepdim=True, dtype=torch.int32)
    equal = rows == boundary
    keep |= equal & (equal.cumsum(dim=1, dtype=torch.int32) <= still_free)
    return keep.nonzero()[:, 1].view(-1, k)


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


def rows_within(budget_bytes: int, row_bytes: int) -> int:
    """How many rows of ``row_bytes`` fit into the budget; at least one."""
    return max(1, budget_bytes // max(1, row_bytes))


def tile_sizes(n_rows: int, n_columns: int, memory_budget_mb: int, dtype: torch.dtype) -> TileSizes:
    """The largest tile whose scores and top-k work space fit into the budget, whole blocks only.

    Wide tiles come first: a tile over all columns needs no merge. The smallest tile is one block,
    which takes about 3 MB in float32; a lower budget gets that too.

    Args:
        n_rows: Rows N of the whole score matrix.
        n_columns: Columns M of the whole score matrix.
        memory_budget_mb: Budget in MiB, without operands and result.
        dtype: Of the scores.

    Raises:
        ConfigError: If the budget is below 1 MiB.
    """
    if memory_budget_mb < 1:
        raise ConfigError(
            f"memory_budget_mb is {memory_budget_mb}",
            expected="at least 1 (MiB)",
            fix="set memory_budget_mb to what one step may use, for example 256",
        )
    budget = memory_budget_mb * 2**20
    # Scores, one block before it is copied in, the copied rows of boundary ties; then their masks.
    score_bytes = 3 * dtype.itemsize + 8
    widest = rows_within(budget, BLOCK_ROWS * BLOCK_COLUMNS * score_bytes) * BLOCK_COLUMNS
    columns = min(widest, _round_up(n_columns, BLOCK_COLUMNS))
    highest = rows_within(budget, columns * BLOCK_ROWS * score_bytes) * BLOCK_ROWS
    return TileSizes(min(highest, _round_up(n_rows, BLOCK_ROWS)), columns)


def _round_up(count: int, unit: int) -> int:
    return max(1, -(-count // unit)) * unit


@torch.no_grad()
def product_topk(
    left: Tensor,
    right: Tensor,
    k: int,
    *,
    tiles: TileSizes,
    edit: Callable[[Tensor, int, int], None] | None = None,
) -> TopK:
    """Exact ``topk_stable(left @ right.T, k)`` without holding the product.

    The same for all tile sizes of whole blocks, and for any split of the rows into calls. Half
    precision is scored in float32, also under autocast: rounded scores would tie.

    Args:
        left: float ``[N, d]``.
        right: float ``[M, d]``.
        k: How many columns to keep, at least 1.
        tiles: Largest part of the product that is held at once, see :func:`tile_sizes`.
        edit: Called as ``edit(scores, first_row, first_column)`` on each tile of the product, to
            change it in place (mask or clamp) before it is ranked.

    Returns:
        TopK of shape ``[N, min(k, M)]``.

    Raises:
        ConfigError: If ``k`` < 1 or a score is NaN or ``+inf``.
    """
    dtype = torch.promote_types(torch.promote_types(left.dtype, right.dtype), torch.float32)
    left, right = left.to(dtype), right.to(dtype)
    check_k(k)
    k = min(k, right.shape[0])
    result = TopK(
        left.new_empty((left.shape[0], k)),
        torch.empty((left.shape[0], k), dtype=torch.int64, device=left.device),
    )
    for row in range(0, left.shape[0], tiles.rows):
        queries = left[row : row + tiles.rows]
        best: TopK | None = None
        for column in range(0, right.shape[0], tiles.columns):
            scores = _product(queries, right[column : column + tiles.columns])
            if edit is not None:
                edit(scores, row, column)
            part = topk_stable(scores, k)
            part = TopK(part.values, part.indices + column)
            best = part if best is None else merge_topk(best, part, k)
        if best is not None:
            result.values[row : row + tiles.rows] = best.values
            result.indices[row : row + tiles.rows] = best.indices
    return result


def _product(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right.T`` in blocks of one fixed shape."""
    product = left.new_empty((left.shape[0], right.shape[0]))
    with torch.autocast(left.device.type, enabled=False):
        for row in range(0, left.shape[0], BLOCK_ROWS):
            queries = _block(left, row, BLOCK_ROWS)
            for column in range(0, right.shape[0], BLOCK_COLUMNS):
                target = product[row : row + BLOCK_ROWS, column : column + BLOCK_COLUMNS]
                scores = queries @ _block(right, column, BLOCK_COLUMNS).T
                target.copy_(scores[: target.shape[0], : target.shape[1]])
    return product


def _block(matrix: Tensor, first: int, length: int) -> Tensor:
    block = matrix[first : first + length].contiguous()
    return pad(block, (0, 0, 0, length - block.shape[0])) if block.shape[0] < length else block


def check_k(k: int) -> None:
    """Refuse a k that selects nothing.

    Raises:
        ConfigError: If ``k`` < 1.
    """
    if k < 1:
        raise ConfigError(
            f"k is {k}", expected="at least 1", fix="set k to how many entries to keep per row"
        )
