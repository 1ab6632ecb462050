"""Interactions as pairs of rows, and as the items of each user in compressed rows."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from slifmr_pl.data.pairs import first_of_runs, pack, unpack


@dataclass(frozen=True, eq=False)
class Interactions:
    """Distinct (user, item) pairs, sorted by user and item.

    Attributes:
        users: User rows int64 ``[n]``.
        items: Item rows int64 ``[n]``.
    """

    users: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True, eq=False)
class UserItems:
    """The items of every user: those of user u are ``items[offsets[u]:offsets[u + 1]]``.

    Attributes:
        offsets: int64 ``[U + 1]``.
        items: int64 ``[n]``, ascending and distinct within a user.
    """

    offsets: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]

    @classmethod
    def of(cls, n_users: int, *parts: Interactions) -> Self:
        """Collect the items of each of ``n_users`` users over one or more sets of pairs."""
        users = np.concatenate([np.empty(0, np.int64), *(part.users for part in parts)])
        items = np.concatenate([np.empty(0, np.int64), *(part.items for part in parts)])
        n_items = int(items.max(initial=0)) + 1
        keys = pack(users, items, n_items)
        keys.sort(kind="stable")  # merges what is sorted already, part by part
        users, items = unpack(keys[first_of_runs(keys)], n_items)
        return cls(_offsets(np.bincount(users, minlength=n_users)), items)

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Number of items of each user, int64 ``[U]``."""
        return np.diff(self.offsets)

    def select(
        self, users: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Take the rows of some users, in the order given, repetitions included.

        Args:
            users: User rows int64 ``[b]``.

        Returns:
            Offsets int64 ``[b + 1]`` and items int64 ``[offsets[b]]``.
        """
        counts = self.counts[users]
        offsets = _offsets(counts)
        # Entry k of user j lies at offsets[users[j]] + (k - selected offset of j).
        starts = np.repeat(self.offsets[users] - offsets[:-1], counts)
        return offsets, self.items[starts + np.arange(offsets[-1])]


def _offsets(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets
