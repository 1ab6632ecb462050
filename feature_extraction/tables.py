"""Read tables of any supported format with every text column as strings, or say what is wrong."""

import csv
import difflib
import sys
from collections import Counter, deque
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from feature_extraction.errors import TableError

ATOMIC_SUFFIXES = (".inter", ".item", ".kg", ".link", ".user")
"""Suffixes of RecBole's atomic files: tab-separated, a quote is an ordinary character."""

_SEPARATORS = {".csv": ",", ".tsv": "\t"} | dict.fromkeys(ATOMIC_SUFFIXES, "\t")
# One row must fit in a block; item descriptions can be far longer than the default of 1 MiB.
_BLOCK_BYTES = 16 << 20


def read_table(path: Path, *, required: Sequence[str] = (), sep: str | None = None) -> pa.Table:
    """Read a Parquet, CSV, TSV or RecBole atomic file.

    Columns of text files are always strings, so that an id such as ``007`` stays as it is; an
    empty field is an empty string. Parquet columns keep their types. Text is UTF-8, with or
    without a byte-order mark, with LF or CRLF line ends; empty lines are skipped. CSV and TSV
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
    _require_file(path)
    table = _read_parquet(path, sep) if path.suffix == ".parquet" else _read_text(path, sep)
    require_columns(table.column_names, required, path)
    return table


def require_columns(found: Sequence[str], required: Sequence[str], path: Path) -> None:
    """Raise ``TableError`` if a required column is not among those found.

    Args:
        found: Column names that the file has.
        required: Column names that it must have.
        path: The file, for the message.

    Raises:
        TableError: A column is missing; names those found and the closest one.
    """
    for name in required:
        if name in found:
            continue
        close = difflib.get_close_matches(name, found, n=1)
        raise TableError(
            f"column {name!r} is missing; found {', '.join(map(repr, found))}",
            expected=f"columns {', '.join(map(repr, required))}",
            fix=f"rename {close[0]!r} to {name!r}" if close else f"add the column {name!r}",
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
    if path.suffix == ".parquet":
        return index + 1
    with closing(_records(path, _separator(path, sep))) as records:
        lines = (line for line, _ in records)
        return next((line for number, line in enumerate(lines) if number == index + 1), None)


def _require_file(path: Path) -> None:
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


def _read_parquet(path: Path, sep: str | None) -> pa.Table:
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
            _require_distinct(file.schema_arrow.names, path)
            return file.read()
    except (pa.ArrowException, OSError) as error:
        raise TableError(
            f"cannot be read as Parquet ({error})",
            expected="a complete Parquet file",
            fix="write the file again",
            path=path,
        ) from error


def _read_text(path: Path, sep: str | None) -> pa.Table:
    sep = _separator(path, sep)
    quoted = _is_quoted(path)
    names = _read_header(path, sep)
    _require_distinct(names, path)
    try:
        table = pa_csv.read_csv(
            path,
            read_options=pa_csv.ReadOptions(block_size=_BLOCK_BYTES),
            parse_options=pa_csv.ParseOptions(
                delimiter=sep, quote_char='"' if quoted else False, newlines_in_values=quoted
            ),
            convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
    except (pa.ArrowException, OSError) as error:
        if "Empty CSV file" in str(error):  # a header without a line end
            return pa.table({name: pa.array([], pa.string()) for name in names})
        _raise_for_encoding(path)
        _raise_for_fields(path, sep, len(names))
        raise TableError(
            f"cannot be read as a table separated by {sep!r} ({error})",
            expected="one row a line, every quote closed",
            fix="mend the file",
            path=path,
        ) from error
    if quoted:
        _require_closed_quotes(path, sep, table.num_rows)
    return table


def _separator(path: Path, sep: str | None) -> str:
    sep = _SEPARATORS.get(path.suffix) if sep is None else sep
    if sep is None:
        raise TableError(
            f"the suffix {path.suffix!r} is not known",
            expected=f"one of .parquet, {', '.join(_SEPARATORS)}",
            fix="rename the file, or give its separator",
            path=path,
        )
    if len(sep) != 1 or not sep.isascii() or sep in '"\r\n':
        raise TableError(
            f"{sep!r} cannot separate fields",
            expected="one ASCII character, no quote and no line end",
            fix="give another separator",
            path=path,
        )
    return sep


def _is_quoted(path: Path) -> bool:
    return path.suffix not in ATOMIC_SUFFIXES


def _records(path: Path, sep: str) -> Generator[tuple[int, list[str]]]:
    """Yield (1-based first line, fields) of the header and each row, as Arrow counts rows.

    Unlike Arrow it refuses a quote that is never closed or is followed by more text.
    """
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(
                file,
                delimiter=sep,
                quoting=csv.QUOTE_MINIMAL if _is_quoted(path) else csv.QUOTE_NONE,
                strict=True,
            )
            line = 1
            try:
                for fields in reader:
                    if fields:
                        yield line, fields
                    line = reader.line_num + 1
            except csv.Error as error:
                raise TableError(
                    f"a quoted field is broken ({error})",
                    expected="every quote closed, and a quote inside a quoted field doubled",
                    fix="mend the row that starts here",
                    path=path,
                    row=line,
                ) from error
    finally:
        csv.field_size_limit(limit)


def _read_header(path: Path, sep: str) -> list[str]:
    try:
        with closing(_records(path, sep)) as records:
            _, names = next(records, (0, []))
    except UnicodeDecodeError:
        _raise_for_encoding(path)
        raise
    if not names:
        raise TableError(
            "the file holds no header",
            expected="column names in the first line",
            fix="write the file again, or remove it if it is not needed",
            path=path,
        )
    return names


def _require_distinct(names: Sequence[str], path: Path) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise TableError(
            f"the column name {twice[0]!r} occurs more than once",
            expected="distinct column names",
            fix="rename or remove one of the columns",
            path=path,
        )


def _raise_for_encoding(path: Path) -> None:
    with path.open("rb") as file:
        for row, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise TableError(
                    f"byte 0x{line[error.start]:02x} is not UTF-8",
                    expected="UTF-8 text",
                    fix=f"convert the file, e.g. `iconv -f latin1 -t utf-8 {path.name}`",
                    path=path,
                    row=row,
                ) from error


def _raise_for_fields(path: Path, sep: str, expected: int) -> None:
    with closing(_records(path, sep)) as records:
        for line, fields in records:
            if len(fields) != expected:
                mend = "mend the row"
                raise TableError(
                    f"{len(fields)} fields: {sep.join(fields)[:120]!r}",
                    expected=f"{expected} fields separated by {sep!r}, as in the header",
                    fix=f"{mend}; quote a field that holds a separator"
                    if _is_quoted(path)
                    else mend,
                    path=path,
                    row=line,
                )


def _require_closed_quotes(path: Path, sep: str, rows: int) -> None:
    """Refuse a stray quote, which Arrow lets swallow all lines up to the next one.

    Where rows and lines agree no field spans lines, and the costly strict pass is not needed.
    """
    lines, last = 0, b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            lines += block.count(b"\n")
            last = block[-1:]
    if lines != rows + 1 or last != b"\n":
        with closing(_records(path, sep)) as records:
            deque(records, maxlen=0)


def stream_text_rows(path: Path) -> Generator[tuple[int, list[str]]]:
    """Read a CSV, TSV or atomic file row by row, in the memory of one row.

    Args:
        path: The file; its suffix decides the format, as in ``read_table``.

    Yields:
        1-based first line and fields, of the header and then of each row.

    Raises:
        TableError: As ``read_table``, once the row in question is reached.
    """
    _require_file(path)
    sep = _separator(path, None)
    width = len(_read_header(path, sep))
    try:
        for line, fields in _records(path, sep):
            if len(fields) != width:
                _raise_for_fields(path, sep, width)
            yield line, fields
    except UnicodeDecodeError:
        _raise_for_encoding(path)
        raise


def require_file(path: Path) -> None:
    """Raise ``TableError`` if a file is missing or empty, or a folder."""
    _require_file(path)
