"""Read tables of any supported format with every text column as strings, or say what is wrong."""

import difflib
import re
import shlex
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from feature_extraction.errors import TableError
from feature_extraction.tables.delimited import (
    is_quoted,
    mend_separator,
    mistaken_separator,
    raise_for_content,
    read_header,
    records,
    require_closed_quotes,
    require_distinct,
    separator_of,
)
from feature_extraction.tables.json_lines import JSON_SUFFIXES, json_objects, json_table
from feature_extraction.tables.text_files import BLOCK_BYTES, TextFile, plain_suffix

_PARQUET_ROWS = 262_144
_VALUE = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?|[a-z]+://.*")  # no name of a column


def read_table(path: Path, *, required: Sequence[str] = (), sep: str | None = None) -> pa.Table:
    """Read a Parquet, CSV, TSV, RecBole atomic or JSON file, the text ones also compressed.

    Columns of text files are always strings, so that an id such as ``007`` stays as it is; an
    empty field is an empty string. Parquet and JSON columns keep their types. Text is UTF-8, with
    or without a byte-order mark, with LF or CRLF line ends; empty lines are skipped. CSV and TSV
    fields may be quoted (``"``, doubled inside) and then hold separators and line breaks.

    Args:
        path: The file; its suffix decides the format.
        required: Column names that the file must have.
        sep: One-character separator of a text file, in place of the one its suffix implies;
            allows other suffixes such as ``.txt`` too.

    Returns:
        The table with all columns of the file, in the order of the file.

    Raises:
        TableError: The file is missing, empty, of an unknown format or not UTF-8; a row has the
            wrong number of fields; two columns share a name; a required column is missing.
    """
    path = Path(path)
    require_file(path)
    if path.suffix.lower() == ".parquet":
        table = _read_parquet(path, sep)
    elif _is_json(path, sep):  # as a whole, since the last row may show what a column holds
        table = json_table([entry for _, block in json_objects(path) for entry in block])
    else:
        table = _read_text(path, sep)
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
        names: Of the columns of a text file without a header.

    Yields:
        The rows in the order of the file; a part may have no rows.

    Raises:
        TableError: As of ``read_table``; some only at the end of the file.
    """
    path = Path(path)
    require_file(path)
    is_text = not (path.suffix.lower() == ".parquet" or _is_json(path, sep))
    if names is not None and not is_text:
        raise TableError(
            "names of columns for a file that has them",
            expected="names for text files without a header only",
            fix="leave --no-header and --columns out",
            path=path,
        )
    if path.suffix.lower() == ".parquet":
        yield from _stream_parquet(path, sep)
    elif _is_json(path, sep):
        yield from (json_table(objects) for _, objects in json_objects(path))
    else:
        yield from _stream_text(path, sep, names)


def require_columns(
    columns: Sequence[str],
    required: Sequence[str],
    path: Path,
    options: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Raise ``TableError`` if a required column is not there.

    Args:
        columns: Column names that the file has.
        required: Column names that it must have.
        path: The file, for the message.
        options: By required name, the option that says what the file calls it.

    Raises:
        TableError: A column is missing; names those found and the closest ones.
    """
    for name in required:
        if name in columns:
            continue
        close = nearest(name, columns)
        option = options.get(name)
        mark = mistaken_separator(columns)
        if mark is not None:
            fix = mend_separator(mark)
        elif option is not None and any(map(_VALUE.fullmatch, columns)):
            fix = "the first line seems to be a row and no header: add one"
            if name in ("user_id", "item_id"):
                fix += ", or `slifmr import table` with --no-header --columns user_id,item_id,…"
        elif option is not None:
            first = shlex.quote(close[0]) if close else "NAME"
            others = f" (or {', '.join(close[1:])})" if close[1:] else ""
            fix = f"say what the file calls it with {option} {first}{others}"
            fix += f", or rename {close[0]!r} to {name!r}" if close else ", or add the column"
        else:
            fix = f"rename {close[0]!r} to {name!r}" if close else f"add the column {name!r}"
        raise TableError(
            f"column {name!r} is missing; found {', '.join(map(repr, columns))}",
            expected=f"columns {', '.join(map(repr, required))}",
            fix=fix,
            path=path,
        )


def nearest(name: str, names: Sequence[str]) -> list[str]:
    """Names that are most like one, whatever their case and the blanks around them."""
    plain: dict[str, str] = {}
    for other in names:
        plain.setdefault(other.strip().lower(), other)
    close = difflib.get_close_matches(name.lower(), plain, n=3, cutoff=0.5)
    synonyms = _SYNONYMS.get(name, ())
    known = [other for other in plain if other == name or other in synonyms]
    if known[:1] == [name]:
        return [plain[name]]  # but for case and blanks
    return [plain[other] for other in dict.fromkeys([*known, *close])]


_SYNONYMS = {
    "user_id": ("customer", "customer_id", "userid", "user", "reviewerid", "uid", "session_id"),
    "item_id": ("asin", "parent_asin", "movieid", "item", "itemid", "product_id", "venue_id"),
    "rating": ("stars", "score", "overall", "label", "rate"),
    "timestamp": ("time", "date", "unixreviewtime", "created_at", "datetime"),
    "head_id": ("head", "subject", "source", "s", "h"),
    "relation_id": ("relation", "predicate", "property", "p", "r"),
    "tail_id": ("tail", "object", "target", "o", "t"),
    "entity_id": ("entity", "freebase_id", "uri", "qid"),
}
"""What other files call the columns, in small letters."""


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
            expected="a header and at least its line end" if path.suffix != ".parquet" else "rows",
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
        Parquet file; None if the file has no such row.
    """
    path = Path(path)
    if path.suffix.lower() == ".parquet":
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


def _read_parquet(path: Path, sep: str | None) -> pa.Table:
    with parquet_file(path, sep) as file:
        return file.read()


def _stream_parquet(path: Path, sep: str | None) -> Generator[pa.Table]:
    with parquet_file(path, sep) as file:
        yield file.schema_arrow.empty_table()
        for batch in file.iter_batches(_PARQUET_ROWS):
            yield pa.Table.from_batches([batch])


@contextmanager
def parquet_file(path: Path, sep: str | None = None) -> Generator[pq.ParquetFile]:
    """Opens a Parquet file whose columns have distinct names.

    Raises:
        TableError: It cannot be read, then or within the context; or a separator was given.
    """
    if sep is not None:
        raise TableError(
            f"a separator {sep!r} was given for a Parquet file",
            expected="no separator",
            fix="leave the separator out",
            path=path,
        )
    try:
        # Opened first, because reading renames nothing but fails obscurely on equal names.
        with pq.ParquetFile(path) as file:
            require_distinct(file.schema_arrow.names, path)
            yield file
    except (pa.ArrowException, OSError) as error:
        raise TableError(
            f"cannot be read as Parquet ({error})",
            expected="a complete Parquet file",
            fix="write the file again",
            path=path,
        ) from error


def _read_text(path: Path, sep: str | None) -> pa.Table:
    sep = separator_of(path, sep)
    names = read_header(path, sep)
    with TextFile(path) as file:
        try:
            table = pa_csv.read_csv(file, **_csv_options(path, sep, names))
        except (pa.ArrowException, OSError) as error:
            table = _without_rows(names, path, sep, error)
        require_closed_quotes(file, sep, table.num_rows)
    return table


def _stream_text(
    path: Path, sep: str | None, without_header: Sequence[str] | None = None
) -> Generator[pa.Table]:
    sep = separator_of(path, sep)
    if without_header is None:
        names = read_header(path, sep)
    else:
        names = list(without_header)
        require_distinct(names, path)
        _require_width(path, sep, names)
    rows = 0
    with TextFile(path) as file:
        try:
            options = _csv_options(path, sep, names, header=without_header is None)
            with pa_csv.open_csv(file, **options) as reader:
                yield reader.schema.empty_table()
                for batch in reader:
                    rows += batch.num_rows
                    yield pa.Table.from_batches([batch])
        except (pa.ArrowException, OSError) as error:
            yield _without_rows(names, path, sep, error)
        require_closed_quotes(file, sep, rows, header=without_header is None)


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


def _csv_options(path: Path, sep: str, names: list[str], header: bool = True) -> dict[str, Any]:
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
