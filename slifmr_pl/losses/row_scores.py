"""Scores of a batch's rows: ⟨u_b, i_p⟩ for the items p of each row.

B = rows, k = items of a row, r = items of the table, d = embedding size.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding, embedding_bag

_BLOCK = 1 << 19  # gathered numbers that are held at a time on a CPU: they fit into its cache


def row_scores(users: Tensor, items: Tensor, positions: Tensor) -> Tensor:
    """⟨users[b], items[positions[b, j]]⟩, computed in float32 also under autocast.

    The item vectors of all rows together, [B, k, d], are never held, neither forward nor backward:
    gradients are two sparse products with the matrix whose row b has the gradient of each score of
    b. They are summed in a fixed order. `reference_row_scores` is the same in ordinary autograd.

    Args:
        users: float [B, d].
        items: float [r, d].
        positions: int64 [B, k], rows of `items`.

    Returns:
        float32 [B, k].
    """
    # torch declares Function.apply without types
    scores: Tensor = _RowScores.apply(  # type: ignore[no-untyped-call]
        users.float(), items.float(), positions
    )
    return scores


def reference_row_scores(users: Tensor, items: Tensor, positions: Tensor) -> Tensor:
    """What `row_scores` gives, in ordinary autograd."""
    with torch.autocast(users.device.type, enabled=False):
        return (embedding(positions, items.float()) * users.float().unsqueeze(1)).sum(2)


class _RowScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, users: Tensor, items: Tensor, positions: Tensor) -> Tensor:
        ctx.save_for_backward(users, items, positions)
        n_rows, per_row = positions.shape
        at_once = n_rows
        if users.device.type == "cpu":
            at_once = max(1, _BLOCK // max(1, per_row * users.shape[1]))
        scores = users.new_empty(n_rows, per_row)
        for first in range(0, n_rows, at_once):
            rows = slice(first, first + at_once)
            vectors = embedding(positions[rows], items)
            # A batched matrix product of single vectors takes three times as long on a CPU.
            torch.sum(vectors.mul_(users[rows].unsqueeze(1)), dim=2, out=scores[rows])
        return scores

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        users, items, positions = ctx.saved_tensors
        per_row = positions.shape[1]
        (values,) = gradients
        values, of_users, of_items = values.contiguous().flatten(), None, None
        if ctx.needs_input_grad[0]:
            starts = torch.arange(0, values.numel(), per_row, device=values.device)
            of_users = _weighted_sums(items, positions.flatten(), starts, values)
        if ctx.needs_input_grad[1]:
            # int32 is sorted in half of the time.
            columns, order = positions.flatten().int().sort(stable=True)
            wanted = torch.arange(len(items), device=columns.device, dtype=columns.dtype)
            starts = torch.searchsorted(columns, wanted)
            rows = order.div(per_row, rounding_mode="floor")
            of_items = _weighted_sums(users, rows, starts, values[order])
        return of_users, of_items, None


def _weighted_sums(table: Tensor, rows: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
    """Σ weight · table[row] of each stretch of rows, float32 [stretches, d]."""
    with torch.autocast(table.device.type, enabled=False):
        return embedding_bag(rows, table, starts, mode="sum", per_sample_weights=weights)
