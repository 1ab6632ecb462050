"""Which interactions train, validate and test: pure functions, one label a row.

Shapes: n rows of interactions; ``users``, ``items`` int64 ``[n]``, ``timestamps`` float64 ``[n]``;
labels int8 ``[n]``: 0 train, 1 valid, 2 test. No label depends on the order of the rows.
"""

import math

import numpy as np
import numpy.typing as npt

from slifmr_pl.data.pairs import first_of_runs, order_by, pack
from slifmr_pl.errors import ConfigError, DataError

TRAIN, VALID, TEST = 0, 1, 2

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]

# A share of n rows that is whole but for rounding, such as 0.29 * 100, counts as whole.
_ROUNDING = 1e-9


def ratio(
    users: Integers, items: Integers, ratios: tuple[float, float, float], seed: int
) -> Labels:
    """Split the rows of each user at random by shares.

    Of a user's n rows each evaluation part gets its share rounded down. As in RecBole
    (``Dataset._calcu_split_ids``) a part whose share is less than one row gets one, the test part
    first, as long as training keeps at least one.

    Args:
        users: int64 ``[n]``.
        items: int64 ``[n]``.
        ratios: Shares of train, valid and test; they sum to 1.
        seed: Seed of the shuffle.

    Raises:
        ConfigError: The shares do not sum to 1, or leave nothing to train on.
    """
    require_ratios(ratios)
    order = _pair_order(users, items)
    draws = np.random.default_rng(seed).random(len(users))
    order = order[order_by(users[order], draws)]
    ranks, counts = _ranks(users[order])
    n_valid, n_test = (
        np.floor(share * counts + _ROUNDING).astype(np.int64) for share in ratios[1:]
    )
    n_train = counts - n_valid - n_test
    for rows, share in ((n_test, ratios[2]), (n_valid, ratios[1])):
        short = (rows == 0) & (share > 0) & (n_train > 1)
        rows[short] = 1
        n_train[short] -= 1
    labels = np.empty(len(users), dtype=np.int8)
    evaluated = (ranks >= np.repeat(n_train, counts)).astype(np.int8)
    labels[order] = evaluated + (ranks >= np.repeat(n_train + n_valid, counts))
    return labels


def leave_one_out(users: Integers, items: Integers, timestamps: Floats | None) -> Labels:
    """Test on each user's last row and validate on the one before.

    Rows of equal time are ordered by item; users with fewer than three rows only train.

    Raises:
        DataError: There are no timestamps.
    """
    timestamps = _require_timestamps(timestamps, "leave_one_out")
    order = _pair_order(users, items)
    order = order[order_by(users[order], timestamps[order])]
    ranks, counts = _ranks(users[order])
    from_last = np.repeat(counts - 1, counts) - ranks
    evaluated = np.repeat(counts >= 3, counts) & (from_last < TEST)
    labels = np.empty(len(users), dtype=np.int8)
    labels[order] = np.where(evaluated, TEST - from_last, TRAIN)
    return labels


def temporal(timestamps: Floats | None, ratios: tuple[float, float, float]) -> Labels:
    """Split at two points of time for all users: train before valid before test.

    The cuts are the smallest times by which at least the share of rows has passed, so rows of
    equal time stay together. Users and items may be without training rows.

    Raises:
        ConfigError: The shares do not sum to 1, or leave nothing to train on.
        DataError: There are no timestamps.
    """
    require_ratios(ratios)
    timestamps = _require_timestamps(timestamps, "temporal")
    n = len(timestamps)
    shares = (ratios[0], ratios[0] + ratios[1])
    ends = [min(math.ceil(share * n - _ROUNDING), n) - 1 for share in shares]
    labels = np.zeros(n, dtype=np.int8)
    for cut in np.partition(timestamps, ends)[ends]:
        labels += timestamps > cut
    return labels


def carve_valid(
    users: Integers, items: Integers, labels: Labels, share: float, seed: int
) -> Labels:
    """Move a random share of each user's training rows to validation.

    For data that comes with train and test parts only. Every user keeps a training row.

    Args:
        users: int64 ``[n]``.
        items: int64 ``[n]``.
        labels: int8 ``[n]`` as given.
        share: Share of the training rows, below 1; a user with two or more gives at least one.
        seed: Seed of the choice.

    Raises:
        ConfigError: The share is not in [0, 1).
    """
    train = np.flatnonzero(labels == TRAIN)
    carved = labels.copy()
    carved[train] = ratio(users[train], items[train], (1.0 - share, share, 0.0), seed)
    return carved


def require_ratios(ratios: tuple[float, float, float]) -> None:
    """Check the shares of train, valid and test.

    Raises:
        ConfigError: They do not sum to 1, one is negative, or nothing is left to train on.
    """
    if (
        len(ratios) != 3
        or not math.isclose(sum(ratios), 1.0, abs_tol=1e-6)
        or min(ratios) < 0
        or ratios[0] == 0
    ):
        raise ConfigError(
            f"split ratios {list(ratios)}",
            expected="shares of train, valid and test that sum to 1, the first above 0",
            fix="for example [0.8, 0.1, 0.1]",
        )


def _pair_order(users: Integers, items: Integers) -> Integers:
    """Order rows by user and item; takes little time where they are in this order already."""
    keys = pack(users, items, int(items.max(initial=0)) + 1)
    return np.argsort(keys, kind="stable")


def _ranks(users: Integers) -> tuple[Integers, Integers]:
    """Position of each row, sorted by user, among its user's rows; number of rows of each user."""
    first = np.flatnonzero(first_of_runs(users))
    counts = np.diff(first, append=len(users))
    return np.arange(len(users)) - np.repeat(first, counts), counts


def _require_timestamps(timestamps: Floats | None, strategy: str) -> Floats:
    if timestamps is None:
        raise DataError(
            f"the split strategy {strategy}, but the interactions have no timestamps",
            expected="a column timestamp",
            fix="add the column, or use the strategy ratio",
        )
    return timestamps
