"""Raw string ids to contiguous integers and back: the only place where the two meet."""

import difflib
import hashlib
from collections.abc import Sequence
from typing import Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from slifmr_pl.errors import DataError

Ids: TypeAlias = Sequence[str] | npt.NDArray[np.str_] | pa.Array | pa.ChunkedArray
"""What raw ids come as."""


class Vocabulary:
    """Distinct raw ids, each with its row: the order is the one given.

    ``Vocabulary.build`` sorts (by code point), so that the rows depend on the set of ids alone;
    use the constructor only where an order is already known.

    Args:
        ids: Distinct strings.

    Raises:
        DataError: An id is not a string, or occurs twice.
    """

    def __init__(self, ids: Ids) -> None:
        self._ids = _as_strings(ids)
        if len(pc.unique(self._ids)) != len(self._ids):
            counts = pc.value_counts(self._ids)
            twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))[0]
            raise DataError(
                f"the id {twice.as_py()!r} occurs more than once",
                expected="distinct ids",
                fix="build the vocabulary with Vocabulary.build, which drops repetitions",
            )

    @classmethod
    def build(cls, ids: Ids) -> Self:
        """Make the vocabulary of the distinct ids in sorted order, whatever order they come in.

        Raises:
            DataError: An id is not a string.
        """
        return cls(_sorted_distinct(_as_strings(ids)))

    @classmethod
    def number(cls, ids: Ids) -> tuple[Self, npt.NDArray[np.int64]]:
        """Make the vocabulary that ``build`` makes, and look up the same ids, reading them once.

        Returns:
            The vocabulary, and the rows of the ids, int64 ``[n]``.

        Raises:
            DataError: An id is not a string.
        """
        encoded = _as_column(ids).dictionary_encode().combine_chunks()
        order = pc.array_sort_indices(encoded.dictionary).to_numpy()
        rows = np.empty(len(order), dtype=np.int64)
        rows[order] = np.arange(len(order))
        return cls(encoded.dictionary.take(pa.array(order))), rows[encoded.indices.to_numpy()]

    def extend(self, ids: Ids) -> Self:
        """Make a vocabulary that keeps these rows and appends, sorted, the ids not yet in it.

        Raises:
            DataError: An id is not a string.
        """
        distinct = _sorted_distinct(_as_strings(ids))
        new = distinct.filter(pc.invert(pc.is_in(distinct, self._ids)))
        return type(self)(pa.concat_arrays([self._ids, new]))

    def encode(self, ids: Ids, unknown: int | None = None) -> npt.NDArray[np.int64]:
        """Look up the rows of raw ids.

        Args:
            ids: Raw ids ``[n]``.
            unknown: Row to give to ids that are not in the vocabulary; None makes them an error.

        Returns:
            Rows int64 ``[n]``.

        Raises:
            DataError: An id is unknown (and ``unknown`` is None) or not a string.
        """
        strings = _as_strings(ids)
        rows = pc.index_in(strings, self._ids)
        if unknown is None and rows.null_count:
            missing = strings.filter(rows.is_null())[0].as_py()
            some = self._ids[:100_000].to_pylist()
            close = [raw for raw in some if raw.lstrip("0") == missing.lstrip("0")]
            close = close or difflib.get_close_matches(missing, some, n=1)
            raise DataError(
                f"{rows.null_count} of {len(rows)} ids are unknown, the first is {missing!r}",
                expected=f"ids among the {len(self)} of the vocabulary",
                fix=f"did you mean {close[0]!r}?" if close else "check where the ids come from",
            )
        filled = pc.fill_null(rows.cast(pa.int64()), -1 if unknown is None else unknown)
        # A copy, because Arrow's memory is read-only and torch wants to own what it wraps.
        return np.array(filled, dtype=np.int64)

    def decode(self, rows: npt.NDArray[np.int64] | Sequence[int]) -> list[str]:
        """Look up the raw ids of rows ``[n]``.

        Raises:
            DataError: A row is outside the vocabulary.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise DataError(
                f"rows from {wanted.min()} to {wanted.max()}",
                expected=f"rows from 0 to {len(self) - 1}",
                fix="decode with the vocabulary that the rows were made with",
            )
        ids: list[str] = self._ids.take(pa.array(wanted)).to_pylist()
        return ids

    @property
    def ids(self) -> pa.StringArray:
        """All raw ids, in the order of their rows."""
        return self._ids

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the ids and their order."""
        lengths = pc.binary_length(self._ids).to_numpy(zero_copy_only=False)
        digest = hashlib.sha256(lengths.astype("<i8").tobytes())
        _, offsets, data = self._ids.buffers()
        if data is not None:
            bounds = np.frombuffer(offsets, np.int32)[self._ids.offset :]
            digest.update(memoryview(data)[bounds[0] : bounds[len(self)]])
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, raw: object) -> bool:
        return isinstance(raw, str) and pc.index(self._ids, raw).as_py() >= 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self._ids.equals(other._ids)

    def __hash__(self) -> int:
        return hash(self.fingerprint())

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} ids)"


def _sorted_distinct(ids: pa.StringArray) -> pa.StringArray:
    distinct = pc.unique(ids)
    return distinct.take(pc.array_sort_indices(distinct))


def _as_strings(ids: Ids) -> pa.StringArray:
    return _as_column(ids).combine_chunks()


def _as_column(ids: Ids) -> pa.ChunkedArray:
    try:
        if not isinstance(ids, pa.ChunkedArray):
            array = ids if isinstance(ids, pa.Array) else pa.array(ids, pa.string())
            ids = pa.chunked_array([array])
        if not (pa.types.is_string(ids.type) or pa.types.is_large_string(ids.type)):
            raise TypeError(f"a column of {ids.type}")
        strings = ids.cast(pa.string())
        if strings.null_count:
            raise TypeError(f"{strings.null_count} missing ids")
    except (pa.ArrowException, TypeError, UnicodeError) as error:
        raise DataError(
            f"not a list of ids ({error})",
            expected="strings, none missing",
            fix="turn the ids into strings first",
        ) from error
    return strings
