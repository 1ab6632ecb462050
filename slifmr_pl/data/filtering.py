"""Which interactions count: pure functions on integer and float arrays, one entry a row.

Shapes: n rows of interactions; ``users``, ``items`` int64 ``[n]``.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slifmr_pl.data.pairs import first_of_runs, pack, unpack
from slifmr_pl.errors import DataError

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class DistinctPairs:
    """Distinct (user, item) pairs, sorted by user and item, and what their rows say.

    Attributes:
        users: int64 ``[m]``.
        items: int64 ``[m]``.
        timestamps: float64 ``[m]``, the earliest of each pair; None where the rows have none.
        labels: int8 ``[m]``, the lowest of the rows at that time; None where the rows have none.
    """

    users: Integers
    items: Integers
    timestamps: Floats | None = None
    labels: Labels | None = None

    def __len__(self) -> int:
        return len(self.users)

    def where(self, mask: Mask) -> "DistinctPairs":
        """Keep the pairs that a mask bool ``[m]`` marks."""
        return DistinctPairs(
            self.users[mask],
            self.items[mask],
            None if self.timestamps is None else self.timestamps[mask],
            None if self.labels is None else self.labels[mask],
        )


def rated_at_least(ratings: Floats | None, minimum: float) -> Mask:
    """Mark the rows that are positive feedback.

    Args:
        ratings: float64 ``[n]``, or None if the data has none.
        minimum: Lowest rating that counts.

    Returns:
        bool ``[n]``.

    Raises:
        DataError: There are no ratings to compare.
    """
    if ratings is None:
        raise DataError(
            f"a minimum rating of {minimum}, but the interactions have no ratings",
            expected="a column rating",
            fix="add the column, or set minimum_rating to null",
        )
    return ratings >= minimum


def distinct_pairs(
    users: Integers,
    items: Integers,
    timestamps: Floats | None = None,
    labels: Labels | None = None,
) -> DistinctPairs:
    """Take each (user, item) pair once: at its earliest time, at a tie with the lowest label.

    Args:
        users: int64 ``[n]``, not negative.
        items: int64 ``[n]``, not negative.
        timestamps: float64 ``[n]``; without them all rows of a pair tie.
        labels: int8 ``[n]`` split labels, if given by the data.
    """
    n_items = int(items.max(initial=0)) + 1
    keys = pack(users, items, n_items)
    if timestamps is None and labels is None:
        keys.sort(kind="stable")  # quick too where rows are sorted already
        return DistinctPairs(*unpack(keys[first_of_runs(keys)], n_items))
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.flatnonzero(first_of_runs(keys))
    if labels is not None:
        labels = labels[order]
    if timestamps is not None:
        timestamps = timestamps[order]
        earliest = np.minimum.reduceat(timestamps, starts)
        if labels is not None:
            late = timestamps > np.repeat(earliest, np.diff(starts, append=len(keys)))
            labels[late] = np.iinfo(np.int8).max
        timestamps = earliest
    if labels is not None:
        labels = np.minimum.reduceat(labels, starts)
    return DistinctPairs(*unpack(keys[starts], n_items), timestamps, labels)


def k_core(users: Integers, items: Integers, k: int) -> Mask:
    """Mark the largest set of rows in which every user and every item has at least k rows.

    Args:
        users: int64 ``[n]``, not negative.
        items: int64 ``[n]``, not negative.
        k: Fewest rows; 0 and 1 keep everything.

    Returns:
        bool ``[n]``.
    """
    mask = np.ones(len(users), dtype=np.bool_)
    if k <= 1:
        return mask
    user_counts, item_counts = np.bincount(users), np.bincount(items)
    rows = np.arange(len(users))
    while True:
        enough = (user_counts[users] >= k) & (item_counts[items] >= k)
        if enough.all():
            return mask
        few = ~enough
        user_counts -= np.bincount(users[few], minlength=len(user_counts))
        item_counts -= np.bincount(items[few], minlength=len(item_counts))
        mask[rows[few]] = False
        users, items, rows = users[enough], items[enough], rows[enough]
