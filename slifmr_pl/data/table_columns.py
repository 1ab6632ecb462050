"""Turn columns of a table into ids, numbers and split names; say which row stands in the way."""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from feature_extraction.tables.table_files import row_in_file
from slifmr_pl.errors import DataError

_TIMES = "numbers, ISO 8601 texts, dates or timestamps"

SPLIT_NAMES = ("train", "valid", "test")
"""Names of the parts; the position of a name is its label (int8) everywhere."""

_SPLIT_ALIASES = {"train": 0, "valid": 1, "val": 1, "validation": 1, "test": 2}
_X_LABELS = {"0": 0, "1": 1, "2": 2}


@dataclass(frozen=True)
class FileRows:
    """Rows of a file: where the rows of a table stand, for errors.

    Attributes:
        path: Their file.
        first: How many rows of the file come before.
        lines: 1-based line of each row; None for what ``row_in_file`` finds by itself.
        sep: Separator, if the suffix does not tell.
    """

    path: Path
    first: int = 0
    lines: Sequence[int] | None = None
    sep: str | None = None

    def row(self, index: int) -> int | None:
        """The 1-based line or row in the file of row ``index`` (from 0) of the table."""
        if self.lines is not None:
            return self.lines[index]
        return row_in_file(self.path, self.first + index, self.sep)


def text_column(table: pa.Table, name: str, place: FileRows) -> pa.ChunkedArray:
    """Read a column as strings; missing values become empty strings.

    Raises:
        DataError: The column holds lists or other nested values.
    """
    column = _plain(table[name])
    try:
        if pa.types.is_fixed_size_binary(column.type):  # by chance it could be read as text
            raise pa.ArrowInvalid("bytes")
        column = column.cast(pa.string())
        column.validate(full=True)  # a Parquet file may hold text that is not UTF-8
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        kind = "text that is not UTF-8" if pa.types.is_string(column.type) else column.type
        raise DataError(
            f"the column {name!r} holds {kind}",
            expected="text or numbers",
            fix="write the value itself in place of the list or object"
            if pa.types.is_nested(column.type)
            else "write the column as text, for example with str(...)",
            path=place.path,
        ) from error
    return pc.fill_null(column, "") if column.null_count else column


def id_column(table: pa.Table, name: str, place: FileRows) -> pa.ChunkedArray:
    """Read a column of ids as strings.

    Raises:
        DataError: An id is missing or blank, or the column holds neither text nor integers.
    """
    kind = table[name].type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    # A float id (7.0) comes from a table that lost its integers, and would match nothing.
    if pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        whole = pa.types.is_floating(kind) and _are_whole(_plain(table[name]))
        raise DataError(
            f"the id column {name!r} holds {kind}",
            expected="text or integers",
            fix="write the ids as whole numbers (in pandas .astype('Int64')); `slifmr import "
            "table` does with --whole-ids"
            if whole
            else "write the ids as text",
            path=place.path,
        )
    column = text_column(table, name, place)
    blank = pc.or_(pc.equal(column, ""), pc.utf8_is_space(column))
    if (index := pc.index(blank, True).as_py()) >= 0:
        _raise_at(
            index,
            place,
            f"{name} is empty",
            "a non-empty id in every row",
            "add the id or the row",
        )
    return column


WHOLE_FRACTION = r"^([+-]?[0-9]+)\.0+$"
"""A whole number that a program wrote as a fraction; the group is the number."""


def whole_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Write ids such as 12.0 as 12; a column of numbers of which one is not whole stays."""
    column = _plain(column)
    if pa.types.is_floating(column.type):
        return column.cast(pa.int64()).cast(pa.string()) if _are_whole(column) else column
    if not _is_text(column.type):
        return column
    return pc.replace_substring_regex(column, WHOLE_FRACTION, r"\1")


def _are_whole(numbers: pa.ChunkedArray) -> bool:
    """Whether floating numbers are all whole, and small enough to be exact."""
    numbers = numbers.cast(pa.float64())
    exact = pc.and_(pc.equal(pc.floor(numbers), numbers), pc.less(pc.abs(numbers), 2.0**53))
    return pc.all(exact).as_py() is not False


def number_column(table: pa.Table, name: str, place: FileRows) -> pa.ChunkedArray:
    """Read a column of finite numbers as float64.

    Raises:
        DataError: A value is missing, not a number, NaN or infinite; or the column holds times,
            lists or other things that are no numbers.
    """
    return _finite(table, name, place, _as_floats, "number", "numbers")


def time_column(table: pa.Table, name: str, place: FileRows) -> pa.ChunkedArray:
    """Read a column of times as seconds since 1970, float64.

    They are numbers already, dates or timestamps of a Parquet file, or ISO 8601 texts, each in UTC
    unless it names another offset.

    Raises:
        DataError: A value is missing or none of these, or some are numbers and others texts.
    """
    if pa.types.is_boolean(kind := _plain(table[name]).type):
        _raise_for_type(kind, name, _TIMES, place)
    return _finite(table, name, place, _as_seconds, "number or ISO 8601 time", _TIMES)


def _finite(
    table: pa.Table,
    name: str,
    place: FileRows,
    parsed: Callable[[pa.ChunkedArray], pa.ChunkedArray | None],
    what: str,
    expected: str,
) -> pa.ChunkedArray:
    column = _plain(table[name])
    numbers = parsed(column)
    mend = f"mend the value, or leave the column {name!r} out if it is not needed"
    if expected == _TIMES:
        mend = f"write seconds since 1970 or 2024-01-31T12:00:00Z, or leave {name!r} out"
    if numbers is None:
        if parsed(column.slice(0, 0)) is None:
            _raise_for_type(column.type, name, expected, place)
        index = _first_unparsed(column, parsed)
        value = column[index].as_py()
        found = f"{name} is {value!r}, which is no {what}"
        if parsed(column.slice(index, 1)) is not None:
            found = f"{name} is {value!r}, and {column[0].as_py()!r} in the first row"
            what = "number in every row, or an ISO 8601 time"
            mend = "write all values alike"
        elif isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+,[0-9]+", value.strip()):
            mend = f"write a point in place of the comma: {value.strip().replace(',', '.')}"
        _raise_at(index, place, found, f"a {what} in every row", mend)
    finite = pc.fill_null(pc.is_finite(numbers), False)
    if (index := pc.index(finite, False).as_py()) >= 0:
        found = f"{name} is {column[index].as_py()!r}"
        _raise_at(index, place, found, f"a finite {what} in every row", mend)
    return numbers


def _raise_for_type(kind: pa.DataType, name: str, expected: str, place: FileRows) -> NoReturn:
    raise DataError(
        f"the column {name!r} holds {kind}",
        expected=expected,
        fix="write the value itself in place of the list or object"
        if pa.types.is_nested(kind)
        else f"convert the column, or leave {name!r} out if it is not needed",
        path=place.path,
    )


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values themselves of a dictionary, such as a category, of runs, and of a named type."""
    if isinstance(column, pa.Array):
        column = pa.chunked_array([column])
    if pa.types.is_run_end_encoded(column.type):
        column = pc.run_end_decode(column)
    if pa.types.is_dictionary(column.type):
        kind = column.type.value_type
        # Arrow does not decode into views, which Polars has.
        kind = pa.string() if kind == pa.string_view() else kind
        chunks = [chunk.dictionary.cast(kind).take(chunk.indices) for chunk in column.chunks]
        return pa.chunked_array(chunks, kind)
    if getattr(column.type, "extension_name", "") == "arrow.uuid":
        chunks = [pa.array(map(str, chunk.to_pylist()), pa.string()) for chunk in column.chunks]
        return pa.chunked_array(chunks, pa.string())
    return column


def split_column(table: pa.Table, name: str, place: FileRows) -> pa.ChunkedArray:
    """Read the column ``split`` (names) or ``x_label`` (0, 1, 2) as ``SPLIT_NAMES``.

    Raises:
        DataError: A value names no part.
    """
    known = _X_LABELS if name == "x_label" else _SPLIT_ALIASES
    column = text_column(table, name, place)
    keys = pa.array(list(known), pa.string())
    parts = pa.array([SPLIT_NAMES[label] for label in known.values()], pa.string())
    labels = pc.index_in(column, keys)
    if (index := pc.index(labels.is_null(), True).as_py()) >= 0:
        _raise_at(
            index,
            place,
            f"{name} is {column[index].as_py()!r}",
            f"one of {', '.join(known)}",
            "call the column x_label, where 0, 1, 2 are train, valid, test"
            if name == "split" and column[index].as_py() in _X_LABELS
            else "mend the value, or remove the column to split by a rule",
        )
    return parts.take(labels.combine_chunks())


def require_distinct_ids(
    column: pa.ChunkedArray, name: str, place: FileRows, seen: set[str] | None = None
) -> None:
    """Refuse a table that describes one id in two rows.

    Args:
        column: The ids.
        name: What they are called.
        place: Where they stand.
        seen: Ids of the rows before, to which these are added; None for a whole table.

    Raises:
        DataError: An id occurs twice.
    """
    if seen is None:
        if len(pc.unique(column)) == len(column):
            return
        seen = set()
    for index, raw in enumerate(column.to_pylist()):
        if raw in seen:
            _raise_at(
                index,
                place,
                f"{name} {raw!r} occurs for the second time",
                "one row an item",
                "remove one of the rows",
            )
        seen.add(raw)


def _as_floats(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    try:
        return column.cast(pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _as_seconds(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    if pa.types.is_timestamp(column.type):
        micro = column.cast(pa.timestamp("us", tz=column.type.tz), safe=False).cast(pa.int64())
        return pc.divide(micro.cast(pa.float64(), safe=False), 1e6)
    numbers = _as_floats(column)
    if numbers is not None:
        return numbers
    for kind in (pa.timestamp("us"), pa.timestamp("us", tz="UTC")):
        with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return _as_seconds(column.cast(kind))
    if not _is_text(column.type):
        return None
    with suppress(pa.ArrowInvalid):
        # Arrow parses times with an offset and times without one, but not both at once.
        text = pc.replace_substring_regex(column.cast(pa.string()), " (UTC|GMT)$", "Z")
        zoned = pc.match_substring_regex(text, "[0-9](Z|[+-][0-9]{2}(:?[0-9]{2})?)$")
        zoned = pc.and_(zoned, pc.match_substring(text, ":"))
        none = pa.scalar(None, pa.string())
        here = pc.if_else(zoned, none, text).cast(pa.timestamp("us"))
        there = pc.if_else(zoned, text, none).cast(pa.timestamp("us", tz="UTC"))
        return pc.coalesce(_as_seconds(here), _as_seconds(there))
    return None


def _is_text(kind: pa.DataType) -> bool:
    return any(
        is_one(kind)
        for is_one in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    )


def _first_unparsed(
    column: pa.ChunkedArray, parsed: Callable[[pa.ChunkedArray], pa.ChunkedArray | None]
) -> int:
    """Bisect for the first value that Arrow cannot parse, which it does not tell itself.

    If each value can be parsed alone, it is the first that is unlike those before it.
    """
    start, stop = 0, len(column)
    while stop - start > 1:
        middle = (start + stop) // 2
        if parsed(column.slice(0, middle)) is not None:
            start = middle
        else:
            stop = middle
    return start


def _raise_at(index: int, place: FileRows, found: str, expected: str, fix: str) -> NoReturn:
    raise DataError(found, expected=expected, fix=fix, path=place.path, row=place.row(index))
