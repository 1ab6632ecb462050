"""Exact top-k of a matrix product that is never held whole.

Shapes: N rows, M columns (candidates), d embedding size, k' = min(k, M).

Every product is computed in blocks of one shape, padded with zeros at the edges. A score then
never depends on the memory budget, on which rows share a batch, or on a column's place: matmul
libraries choose the order of their sums by the shape of the operands.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.sparse.topk import TopK, check_k, merge_topk, row_bytes, topk_stable

Edit = Callable[[Tensor, int, int], None]


class Block(NamedTuple):
    """Rows and columns of each product that is computed in one go."""

    rows: int
    columns: int


# About the smallest shapes that are multiplied as fast as larger ones. A multiple of 192 columns
# leaves none to the narrower kernels at a block's edge, which round float64 in another way.
CPU_BLOCK = Block(512, 768)
GPU_BLOCK = Block(2048, 7680)


class ProductTopK:
    """Exact ``topk_stable(left @ right.T, k)`` for one ``right`` and any number of ``left``.

    The same for all memory budgets, and for any split of the rows into calls. Half precision is
    scored in float32, also under autocast: rounded scores would tie. Work space is kept from call
    to call.

    Args:
        right: float ``[M, d]``.
        k: How many columns to keep, at least 1.
        memory_budget_mb: Work space in MiB, see :func:`tile_columns`.
        ceiling: Scores above count as equal to it.
        block: Shape of each product; by default what suits the device.

    Raises:
        ConfigError: If ``k`` or the budget is below 1.
    """

    def __init__(
        self,
        right: Tensor,
        k: int,
        *,
        memory_budget_mb: int,
        ceiling: float | None = None,
        block: Block | None = None,
    ) -> None:
        check_k(k)
        dtype = torch.promote_types(right.dtype, torch.float32)
        self._block = block or (CPU_BLOCK if right.device.type == "cpu" else GPU_BLOCK)
        self._n_columns = len(right)
        self._k = min(k, self._n_columns)
        self._ceiling = ceiling
        width = self._block.columns
        self._right = [_padded(part, width) for part in right.to(dtype).contiguous().split(width)]
        columns = tile_columns(self._n_columns, k, memory_budget_mb, dtype, self._block)
        self._blocks_per_tile = columns // width
        self._scores = right.new_empty(self._block.rows * columns, dtype=dtype)

    @torch.no_grad()
    def __call__(self, left: Tensor, edit: Edit | None = None) -> TopK:
        """Ranks the columns for some rows.

        Args:
            left: float ``[N, d]``; taken in the type of the scores.
            edit: Called as ``edit(scores, first_row, first_column)`` on each part of the product,
                to change it in place (mask) before it is ranked.

        Returns:
            TopK of shape ``[N, k']``.

        Raises:
            ConfigError: If a score is NaN or ``+inf``.
        """
        left = left.to(self._scores.dtype).contiguous()
        result = TopK(
            left.new_empty((len(left), self._k)),
            torch.empty((len(left), self._k), dtype=torch.int64, device=left.device),
        )
        if self._k == 0:
            return result
        for row in range(0, len(left), self._block.rows):
            queries = left[row : row + self._block.rows]
            best = self._ranked(queries, row, edit)
            for whole, part in zip(result, best, strict=True):
                whole[row : row + len(queries)] = part
        return result

    def _ranked(self, queries: Tensor, row: int, edit: Edit | None) -> TopK:
        """Top-k of one block of rows, tile by tile."""
        best: TopK | None = None
        for first in range(0, len(self._right), self._blocks_per_tile):
            column = first * self._block.columns
            scores = self._product(queries, first)
            present = self._n_columns - column
            if edit is not None:
                edit(scores[:, :present], row, column)
            scores[:, present:] = -torch.inf  # padding; it comes after every column of its value
            part = topk_stable(scores, min(self._k, scores.shape[1]), self._ceiling)
            part = TopK(part.values, part.indices + column)
            best = part if best is None else merge_topk(best, part, self._k)
        assert best is not None
        return best

    def _product(self, queries: Tensor, first: int) -> Tensor:
        """Scores of one tile, ``[len(queries), columns]``, in blocks of one shape."""
        blocks = self._right[first : first + self._blocks_per_tile]
        rows, width = self._block
        scores = self._scores[: rows * len(blocks) * width].view(rows, len(blocks) * width)
        padded = _padded(queries, rows)
        with torch.autocast(queries.device.type, enabled=False):
            for number, block in enumerate(blocks):
                torch.mm(padded, block.T, out=scores[:, number * width : (number + 1) * width])
        return scores[: len(queries)]


def tile_columns(
    n_columns: int, k: int, memory_budget_mb: int, dtype: torch.dtype, block: Block
) -> int:
    """The columns of one block of rows that are scored and ranked at once, whole blocks only.

    A lower budget than one block needs gets one block.

    Args:
        n_columns: Columns M of the whole product.
        k: How many columns are kept.
        memory_budget_mb: Budget in MiB, without operands and result.
        dtype: Of the scores.
        block: Shape of each product.

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
    blocks = max(1, -(-n_columns // block.columns))
    while blocks > 1 and _tile_bytes(blocks * block.columns, k, dtype, block) > budget:
        blocks -= 1
    return blocks * block.columns


def _tile_bytes(columns: int, k: int, dtype: torch.dtype, block: Block) -> int:
    return block.rows * (columns * dtype.itemsize + row_bytes(columns, k, dtype))


def _padded(rows: Tensor, n_rows: int) -> Tensor:
    return pad(rows, (0, 0, 0, n_rows - len(rows))) if len(rows) < n_rows else rows
