"""Read tables of any supported format with every text column as strings, or say what is wrong."""

import difflib
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from feature_extraction.errors import TableError
from feature_extraction.tables.columnar import columnar_file, is_columnar
from feature_extraction.tables.delimited import (
    is_quoted,
    raise_for_content,
    read_header,
    records,
    require_closed_quotes,
    require_distinct,
    separator_of,
)
from feature_extraction.tables.json_lines import JSON_SUFFIXES, json_objects, json_table
from feature_extraction.tables.missing_columns import require_columns
from feature_extraction.tables.text_files import BLOCK_BYTES, TextFile, plain_suffix

_COLUMNAR_ROWS = 262_144


def read_table(
    path: Path,
    *,
    required: Sequence[str] = (),
    sep: str | None = None,
    names: Sequence[str] | None = None,
) -> pa.Table:
    """Read a Parquet, Arrow, CSV, TSV, RecBole atomic or JSON file; text ones also compressed.

    Columns of text files are always strings, so that an id such as ``007`` stays as it is; an
    empty field is an empty string. Columns of Parquet, Arrow and JSON keep their types. Text is
    UTF-8, with or without a byte-order mark, with LF or CRLF line ends; empty lines are skipped.
    CSV and TSV fields may be quoted (``"``, doubled inside) and then hold separators and line
    breaks.

    Args:
        path: The file; its suffix decides the format.
        required: Column names that the file must have.
        sep: One-character separator of a text file, in place of the one its suffix implies;
            allows other suffixes such as ``.txt`` too.
        names: Of the columns of a text file without a header.

    Returns:
        The table with all columns of the file, in the order of the file.

    Raises:
        TableError: The file is missing, empty, of an unknown format or not UTF-8; a row has the
            wrong number of fields; two columns share a name; a required column is missing.
    """
    path = Path(path)
    require_file(path)
    _refuse_names(path, sep, names)
    if is_columnar(path):
        with columnar_file(path, sep) as file:
            table = file.read()
    elif _is_json(path, sep):  # as a whole, since the last row may show what a column holds
        table = json_table([entry for _, block in json_objects(path) for entry in block])
    else:
        table = _read_text(path, sep, names)
    require_columns(table.column_names, required, path)
    return table


def stream_table(
    path: Path, *, sep: str | None = None, names: Sequence[str] | None = None
) -> Generator[pa.Table]:
    """Read a table as ``read_table`` does, in parts that need little memory.

    Of a JSON Lines file every part has the columns and types that its own rows show.

    Args:
        path: The file.
        sep: As given to ``read_table``.
        names: As given to ``read_table``.

    Yields:
        The rows in the order of the file; a part may have no rows.

    Raises:
        TableError: As of ``read_table``; some only at the end of the file.
    """
    path = Path(path)
    require_file(path)
    _refuse_names(path, sep, names)
    if is_columnar(path):
        yield from _stream_columnar(path, sep)
    elif _is_json(path, sep):
        yield from (json_table(objects) for _, objects in json_objects(path))
    else:
        yield from _stream_text(path, sep, names)


def require_file(path: Path) -> None:
    """Raise ``TableError`` if a file is missing or empty, or a folder.

    Raises:
        TableError: Names what is there.
    """
    if path.is_file():
        if path.stat().st_size:
            return
        raise TableError(
            "the file is empty",
            expected="a header and at least its line end" if not is_columnar(path) else "rows",
            fix="write the file again, or remove it if it is not needed",
            path=path,
        )
    if path.exists():
        raise TableError("this is a folder", expected="a file", fix="name a file in it", path=path)
    siblings = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, siblings, n=1)
    raise TableError(
        "the file does not exist",
        expected="an existing table",
        fix=f"did you mean {close[0]!r}?" if close else f"check the path; found {siblings[:10]}",
        path=path,
    )


def row_in_file(path: Path, index: int, sep: str | None = None) -> int | None:
    """Find where a row of a table stands in its file; reads the file again, so for errors only.

    Args:
        path: The file that ``read_table`` read.
        index: 0-based row of the table.
        sep: As given to ``read_table``.

    Returns:
        The 1-based line on which the row starts (the header is line 1), or the 1-based row of a
        Parquet or Arrow file; None if the file has no such row.
    """
    path = Path(path)
    if is_columnar(path):
        return index + 1
    if _is_json(path, sep):
        with closing(json_objects(path)) as objects:
            lines = (line for numbers, _ in objects for line in numbers)
            return next((line for number, line in enumerate(lines) if number == index), None)
    with closing(records(path, separator_of(path, sep))) as rows:
        starts = (line for line, _ in rows)
        return next((line for number, line in enumerate(starts) if number == index + 1), None)


def _is_json(path: Path, sep: str | None) -> bool:
    return sep is None and plain_suffix(path) in JSON_SUFFIXES


def _stream_columnar(path: Path, sep: str | None) -> Generator[pa.Table]:
    with columnar_file(path, sep) as file:
        yield file.schema.empty_table()
        for batch in file.batches(_COLUMNAR_ROWS):
            yield pa.Table.from_batches([batch])


def _refuse_names(path: Path, sep: str | None, names: Sequence[str] | None) -> None:
    if names is not None and (is_columnar(path) or _is_json(path, sep)):
        raise TableError(
            "names of columns for a file that has them",
            expected="names for text files without a header only",
            fix="leave the option that names its columns out",
            path=path,
        )


def _read_text(path: Path, sep: str | None, given: Sequence[str] | None) -> pa.Table:
    sep = separator_of(path, sep)
    names = _names(path, sep, given)
    with TextFile(path) as file:
        try:
            table = pa_csv.read_csv(file, **_csv_options(path, sep, names, given is None))
        except (pa.ArrowException, OSError) as error:
            table = _without_rows(names, path, sep, error)
        require_closed_quotes(file, sep, table.num_rows, given is None)
    return table


def _stream_text(path: Path, sep: str | None, given: Sequence[str] | None) -> Generator[pa.Table]:
    sep = separator_of(path, sep)
    names = _names(path, sep, given)
    rows = 0
    with TextFile(path) as file:
        try:
            options = _csv_options(path, sep, names, given is None)
            with pa_csv.open_csv(file, **options) as reader:
                yield reader.schema.empty_table()
                for batch in reader:
                    rows += batch.num_rows
                    yield pa.Table.from_batches([batch])
        except (pa.ArrowException, OSError) as error:
            yield _without_rows(names, path, sep, error)
        require_closed_quotes(file, sep, rows, given is None)


def _names(path: Path, sep: str, given: Sequence[str] | None) -> list[str]:
    """The names in the header, or those given for a file without one."""
    if given is None:
        return read_header(path, sep)
    names = list(given)
    require_distinct(names, path)
    _require_width(path, sep, names)
    return names


def _require_width(path: Path, sep: str, names: list[str]) -> None:
    with closing(records(path, sep)) as rows:
        line, fields = next(rows, (0, names))
    if len(fields) != len(names):
        raise TableError(
            f"{len(fields)} fields: {sep.join(fields)[:120]!r}",
            expected=f"{len(names)} fields, as there are names: {', '.join(names)}",
            fix=f"name the columns in their order, separated by commas, {len(fields)} in all",
            path=path,
            row=line,
        )


def _csv_options(path: Path, sep: str, names: list[str], header: bool) -> dict[str, Any]:
    quoted = is_quoted(path)
    return {
        "read_options": pa_csv.ReadOptions(
            block_size=BLOCK_BYTES, column_names=None if header else names
        ),
        "parse_options": pa_csv.ParseOptions(
            delimiter=sep, quote_char='"' if quoted else False, newlines_in_values=quoted
        ),
        "convert_options": pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    }


def _without_rows(names: list[str], path: Path, sep: str, error: Exception) -> pa.Table:
    """What a header without a line end gives, or what is wrong with the file."""
    if "Empty CSV file" not in str(error):
        raise_for_content(path, sep, len(names), error)
    return pa.table({name: pa.array([], pa.string()) for name in names})
