"""Turn columns of a table into ids, numbers and split names; say which row stands in the way."""

from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from feature_extraction.tables import row_in_file
from slifmr_pl.errors import DataError

SPLIT_NAMES = ("train", "valid", "test")
"""Names of the parts; the position of a name is its label (int8) everywhere."""

_SPLIT_ALIASES = {"train": 0, "valid": 1, "val": 1, "validation": 1, "test": 2}
_X_LABELS = {"0": 0, "1": 1, "2": 2}


def text_column(table: pa.Table, name: str, path: Path) -> pa.ChunkedArray:
    """Read a column as strings; missing values become empty strings.

    Raises:
        DataError: The column holds lists or other nested values.
    """
    column = table[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    try:
        column = column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"the column {name!r} holds {column.type}",
            expected="text or numbers",
            fix="write the column as text",
            path=path,
        ) from error
    return pc.fill_null(column, "") if column.null_count else column


def id_column(table: pa.Table, name: str, path: Path) -> pa.ChunkedArray:
    """Read a column of ids as strings.

    Raises:
        DataError: An id is missing or blank, or the column holds neither text nor integers.
    """
    kind = table[name].type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    # A float id (7.0) comes from a table that lost its integers, and would match nothing.
    if pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        raise DataError(
            f"the id column {name!r} holds {kind}",
            expected="text or integers",
            fix="write the ids as text",
            path=path,
        )
    column = text_column(table, name, path)
    blank = pc.or_(pc.equal(column, ""), pc.utf8_is_space(column))
    if (index := pc.index(blank, True).as_py()) >= 0:
        _raise_at(
            index, path, f"{name} is empty", "a non-empty id in every row", "add the id or the row"
        )
    return column


def number_column(table: pa.Table, name: str, path: Path) -> pa.ChunkedArray:
    """Read a column of finite numbers as float64; Parquet timestamps become seconds.

    Raises:
        DataError: A value is missing, not a number, NaN or infinite.
    """
    column = table[name]
    if pa.types.is_timestamp(column.type):
        micro = column.cast(pa.timestamp("us", tz=column.type.tz), safe=False).cast(pa.int64())
        column = pc.divide(micro.cast(pa.float64(), safe=False), 1e6)
    numbers = _as_floats(column)
    if numbers is None:
        index = _first_not_a_number(column)
        _raise_at(
            index,
            path,
            f"{name} is {column[index].as_py()!r}, which is not a number",
            "a finite number in every row",
            f"mend the value, or leave the column {name!r} out if it is not needed",
        )
    finite = pc.fill_null(pc.is_finite(numbers), False)
    if (index := pc.index(finite, False).as_py()) >= 0:
        _raise_at(
            index,
            path,
            f"{name} is {table[name][index].as_py()!r}",
            "a finite number in every row",
            f"mend the value, or leave the column {name!r} out if it is not needed",
        )
    return numbers


def split_column(table: pa.Table, name: str, path: Path) -> pa.ChunkedArray:
    """Read the column ``split`` (names) or ``x_label`` (0, 1, 2) as ``SPLIT_NAMES``.

    Raises:
        DataError: A value names no part.
    """
    known = _X_LABELS if name == "x_label" else _SPLIT_ALIASES
    column = text_column(table, name, path)
    keys = pa.array(list(known), pa.string())
    parts = pa.array([SPLIT_NAMES[label] for label in known.values()], pa.string())
    found = pc.index_in(column, keys)
    if (index := pc.index(found.is_null(), True).as_py()) >= 0:
        _raise_at(
            index,
            path,
            f"{name} is {column[index].as_py()!r}",
            f"one of {', '.join(known)}",
            "mend the value, or remove the column to split by a rule",
        )
    return parts.take(found.combine_chunks())


def require_distinct_ids(column: pa.ChunkedArray, name: str, path: Path) -> None:
    """Refuse a table that describes one id in two rows.

    Raises:
        DataError: An id occurs twice.
    """
    if len(pc.unique(column)) == len(column):
        return
    seen: set[str] = set()
    for index, raw in enumerate(column.to_pylist()):
        if raw in seen:
            _raise_at(
                index,
                path,
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


def _first_not_a_number(column: pa.ChunkedArray) -> int:
    """Bisect for the first value that Arrow cannot parse, which it does not tell itself."""
    start, stop = 0, len(column)
    while stop - start > 1:
        middle = (start + stop) // 2
        if _as_floats(column.slice(start, middle - start)) is not None:
            start = middle
        else:
            stop = middle
    return start


def _raise_at(index: int, path: Path, found: str, expected: str, fix: str) -> NoReturn:
    raise DataError(found, expected=expected, fix=fix, path=path, row=row_in_file(path, index))
