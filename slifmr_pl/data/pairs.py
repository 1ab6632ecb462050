"""Two columns as one column of keys, so that one quick sort orders rows by both."""

import numpy as np
import numpy.typing as npt

from slifmr_pl.errors import DataError

Integers = npt.NDArray[np.int64]


def pack(first: Integers, second: Integers, n_second: int) -> Integers:
    """Join pairs into keys that sort by the first part, then by the second.

    Args:
        first: int64 ``[n]``, not negative.
        second: int64 ``[n]`` in [0, n_second).
        n_second: Number of things that the second part counts.

    Returns:
        int64 ``[n]``.

    Raises:
        DataError: Both parts do not fit into 63 bits. Rows of two vocabularies always do.
    """
    n_first = int(first.max(initial=0)) + 1
    if _bits(n_first) + _bits(n_second) > 63:
        raise DataError(
            f"{n_first} times {n_second} pairs that may be",
            expected="fewer than 2^63 = 9.2e18",
            fix="take entities or relations out of the knowledge graph",
        )
    keys = first << _bits(n_second)
    keys |= second
    return keys


def unpack(keys: Integers, n_second: int) -> tuple[Integers, Integers]:
    """Undo ``pack``."""
    bits = _bits(n_second)
    return keys >> bits, keys & ((1 << bits) - 1)


def first_of_runs(keys: Integers) -> npt.NDArray[np.bool_]:
    """Mark the first of equal neighbours, bool ``[n]``."""
    first = np.ones(len(keys), dtype=np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    return first


def order_by(first: Integers, second: npt.NDArray[np.float64]) -> Integers:
    """Order rows by two columns, those that tie as they are: ``np.lexsort((second, first))``.

    NumPy sorts complex numbers by their real, then by their imaginary part. Where rows are sorted
    by the first column already, a stable sort moves none of them far and takes little time.

    Args:
        first: int64 ``[n]``, below 2^53.
        second: float64 ``[n]``.

    Returns:
        Indices int64 ``[n]``.
    """
    both = np.empty(len(first), dtype=np.complex128)
    both.real, both.imag = first, second
    return np.argsort(both, kind="stable")


def _bits(n: int) -> int:
    """How many bits the numbers below n take."""
    return max(n - 1, 0).bit_length()
