"""Uniform negatives for training: exact, vectorised, without rejection.

Legend: U users, I items, B batch rows, n negatives a row.
"""

import torch
from torch import Tensor

from slifmr_pl.data.interactions import UserItems
from slifmr_pl.errors import DataError


class NegativeSampler:
    """Draw items that a user has no positive interaction with, each equally likely.

    With the user's sorted positives p_0 < p_1 < ..., the number of negatives below p_j is
    q_j = p_j - j, which never decreases. The negative of rank r in [0, I - degree) is therefore
    r + #{j: q_j <= r}; one binary search over the keys ``user * (I + 1) + q`` counts for all rows.

    Args:
        positives: Items of each of U users.
        n_items: I.

    Attributes:
        has_negatives: bool ``[U]``; False for users who have every item.
    """

    def __init__(self, positives: UserItems, n_items: int) -> None:
        self._offsets = torch.from_numpy(positives.offsets)
        counts = self._offsets.diff()
        self._n_negatives = n_items - counts
        self._stride = n_items + 1
        users = torch.repeat_interleave(torch.arange(len(counts)), counts)
        items = torch.from_numpy(positives.items)
        ranks = torch.arange(len(items)) - self._offsets[users]
        self._keys = users * self._stride + items - ranks
        self.has_negatives = self._n_negatives > 0

    def sample(self, users: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """Draw n negatives for each user, with replacement.

        Args:
            users: User rows int64 ``[B]``.
            n: Negatives a row.
            generator: CPU generator; B * n numbers are drawn from it.

        Returns:
            Item rows int64 ``[B, n]``.

        Raises:
            DataError: A user has every item.
        """
        return self.at(users, self.draw(len(users), n, generator))

    @staticmethod
    def draw(rows: int, n: int, generator: torch.Generator) -> Tensor:
        """Draw what ``at`` turns into negatives, float64 ``[rows, n]`` in [0, 1)."""
        return torch.rand(rows, n, dtype=torch.float64, generator=generator)

    def at(self, users: Tensor, uniform: Tensor) -> Tensor:
        """Turn uniform draws into negatives: a pure function of both.

        A draw is a multiple of 2^-53, so that the chance of an item is off by less than a share
        of I * 2^-53, and the rank floor(draw * range) stays below the range.

        Args:
            users: User rows int64 ``[B]``.
            uniform: float64 ``[B, n]`` in [0, 1).

        Returns:
            Item rows int64 ``[B, n]``.

        Raises:
            DataError: A user has every item.
        """
        full = ~self.has_negatives[users]
        if full.any():
            raise DataError(
                f"user row {int(users[full][0])} has interacted with every item",
                expected="users with at least one item left to draw",
                fix="leave out the users that has_negatives marks False",
            )
        users = users.unsqueeze(1)
        ranks = (uniform * self._n_negatives[users]).floor().long()
        below = torch.searchsorted(self._keys, users * self._stride + ranks, right=True)
        return ranks + below - self._offsets[users]
