"""Which interactions count: pure functions on integer and float arrays, one entry a row.

Shapes: n rows of interactions; ``users``, ``items`` int64 ``[n]``.
"""

import numpy as np
import numpy.typing as npt

from slifmr_pl.errors import DataError

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


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


def first_of_pairs(
    users: Integers,
    items: Integers,
    timestamps: Floats | None = None,
    labels: npt.NDArray[np.int8] | None = None,
) -> Integers:
    """Choose one row of each (user, item) pair: the earliest, at a tie that of the lowest label.

    Args:
        users: int64 ``[n]``.
        items: int64 ``[n]``.
        timestamps: float64 ``[n]``; without them all rows of a pair tie.
        labels: int8 ``[n]`` split labels, if given by the data.

    Returns:
        Indices int64 of the chosen rows, ordered by user and item.
    """
    keys: list[npt.NDArray[np.generic]] = [items, users]
    if timestamps is not None:
        keys.insert(0, timestamps)
    if labels is not None:
        keys.insert(0, labels)
    order = np.lexsort(keys)
    users, items = users[order], items[order]
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (users[1:] != users[:-1]) | (items[1:] != items[:-1])
    return order[first]


def k_core(users: Integers, items: Integers, k: int) -> Mask:
    """Mark the largest set of rows in which every user and every item has at least k rows.

    Args:
        users: int64 ``[n]``, not negative.
        items: int64 ``[n]``, not negative.
        k: Fewest rows; 0 and 1 keep everything.

    Returns:
        bool ``[n]``.
    """
    kept = np.arange(len(users))
    while True:
        enough_of_user = np.bincount(users[kept])[users[kept]] >= k
        enough_of_item = np.bincount(items[kept])[items[kept]] >= k
        enough = enough_of_user & enough_of_item
        if enough.all():
            mask = np.zeros(len(users), dtype=np.bool_)
            mask[kept] = True
            return mask
        kept = kept[enough]
