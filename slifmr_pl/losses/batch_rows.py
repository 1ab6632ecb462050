"""The rows of the tables that a batch needs."""

from typing import NamedTuple

import torch
from torch import Tensor

from slifmr_pl.graphs.sparse.spmm import computes_single_rows


class BatchRows(NamedTuple):
    """The rows that a batch needs (None: all), and where its users and items stand among them.

    Attributes:
        users: int64 [r_u], ascending.
        items: int64 [r_i], ascending.
        user_positions: int64 [B].
        item_positions: int64 [B, 1 + n]; the positive is first.
    """

    users: Tensor | None
    items: Tensor | None
    user_positions: Tensor
    item_positions: Tensor

    @classmethod
    def of(
        cls,
        users: Tensor,
        positives: Tensor,
        negatives: Tensor,
        aligned: Tensor | None,
        *,
        n_users: int,
        n_items: int,
    ) -> "BatchRows":
        """The batch's own rows of a table, or all of them where it needs most.

        Args:
            users: int64 [B].
            positives: int64 [B].
            negatives: int64 [B, n].
            aligned: int64, further items that are needed; None for none.
            n_users: Rows of the table of users.
            n_items: Rows of the table of items.
        """
        items = torch.cat([positives.unsqueeze(1), negatives], dim=1)
        wanted = items.flatten() if aligned is None else torch.cat([items.flatten(), aligned])
        user_rows, user_positions = _distinct(users, n_users)
        item_rows, positions = _distinct(wanted, n_items)
        return cls(user_rows, item_rows, user_positions, positions[: items.numel()].view_as(items))


def _distinct(rows: Tensor, size: int) -> tuple[Tensor | None, Tensor]:
    """Ascending distinct rows and where each row stands among them, unless they are too many."""
    if 2 * rows.numel() >= size or not computes_single_rows(rows):
        return None, rows
    distinct, positions = torch.unique(rows, return_inverse=True)
    return distinct, positions
