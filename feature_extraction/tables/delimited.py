"""Tables whose fields stand between separators: their header, their rows, and what is wrong."""

import csv
import io
from collections import Counter, deque
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NoReturn

from feature_extraction.errors import TableError
from feature_extraction.tables.text_files import (
    BLOCK_BYTES,
    COMPRESSED,
    TextFile,
    plain_suffix,
    raise_for_encoding,
)

ATOMIC_SUFFIXES = (".inter", ".item", ".kg", ".link", ".user")
"""Suffixes of RecBole's atomic files: tab-separated, a quote is an ordinary character."""

SEPARATORS = {".csv": ",", ".tsv": "\t"} | dict.fromkeys(ATOMIC_SUFFIXES, "\t")
"""What stands between the fields, by suffix."""


_SPREADSHEET = "export the sheet as CSV"
_RDF = (
    "an RDF graph is read as a knowledge graph alone: kg.nt or kg.ttl in a data folder, or "
    "`slifmr import table` with --kg"
)
_OTHER_RDF = "write the graph as N-Triples, for example by rdflib: rdfpipe -o nt FILE > kg.nt"
_UNPICKLED = (
    "nothing is unpickled; load it where it was made, and write it with "
    "to_parquet, or features with numpy.save"
)
_FIXES = (
    dict.fromkeys((".xlsx", ".xls", ".ods"), _SPREADSHEET)
    | dict.fromkeys((".nt", ".ttl"), _RDF)
    | dict.fromkeys((".rdf", ".owl", ".nq", ".trig", ".n3", ".jsonld"), _OTHER_RDF)
    | dict.fromkeys((".pkl", ".pickle", ".pt", ".pth", ".joblib"), _UNPICKLED)
    | dict.fromkeys((".7z", ".rar", ".tar"), "unpack it, and give the table that is meant")
)
"""What to do with files that are no tables here, by suffix."""


def separator_of(path: Path, sep: str | None) -> str:
    """The separator that the suffix implies, or the one given.

    Raises:
        TableError: The suffix is not known, or the one given cannot separate fields.
    """
    sep = SEPARATORS.get(plain_suffix(path)) if sep is None else sep
    if sep is None:
        suffix = plain_suffix(path)
        raise TableError(
            f"the suffix {suffix!r} is not known" if suffix else "the name has no suffix",
            expected=".parquet, .feather, .arrow, .csv, .tsv, .jsonl, .json, "
            f"{', '.join(ATOMIC_SUFFIXES)}; the text ones also compressed as "
            f"{', '.join(COMPRESSED)}",
            fix=_FIXES.get(
                suffix,
                "write the table as .csv, .tsv or .parquet; `slifmr import "
                "table` reads other names with --sep, such as --sep ','",
            ),
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


def is_quoted(path: Path) -> bool:
    """Whether fields may be quoted."""
    return plain_suffix(path) not in ATOMIC_SUFFIXES


def records(path: Path, sep: str) -> Generator[tuple[int, list[str]]]:
    """Yield (1-based first line, fields) of the header and each row, as Arrow counts rows.

    Unlike Arrow it refuses a quote that is never closed or is followed by more text.
    """
    limit = csv.field_size_limit(BLOCK_BYTES)
    try:
        binary = io.BufferedReader(TextFile(path))
        with io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(
                file,
                delimiter=sep,
                quoting=csv.QUOTE_MINIMAL if is_quoted(path) else csv.QUOTE_NONE,
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
            except UnicodeDecodeError:
                raise_for_encoding(path)
                raise
    finally:
        csv.field_size_limit(limit)


def read_header(path: Path, sep: str) -> list[str]:
    """Read the column names.

    Raises:
        TableError: There are none, or two are equal.
    """
    with closing(records(path, sep)) as rows:
        _, names = next(rows, (0, []))
    if not names:
        raise TableError(
            "the file holds no header",
            expected="column names in the first line",
            fix="write the file again, or remove it if it is not needed",
            path=path,
        )
    if len(names) <= 2 and names[0].startswith("sep="):
        mark = names[0][4:5]
        raise TableError(
            f"the first line is {sep.join(names)!r}, which tells a spreadsheet the separator",
            expected="column names in the first line",
            fix="remove the line" + ("" if mark in ("", sep) else f", and {_other_sep(mark)}"),
            path=path,
            row=1,
        )
    require_distinct(names, path)
    return names


def _other_sep(mark: str) -> str:
    decimals = ", with points in numbers" if mark == ";" else ""
    return (
        f"save the file with commas as .csv, or with tabs as .tsv{decimals}; or give "
        f"`slifmr import table` the option --sep {mark!r}"
    )


def mistaken_separator(names: Sequence[str]) -> str | None:
    """What separates the names of a header that was read as one name; None if nothing does."""
    if len(names) != 1:
        return None
    return next((mark for mark in ";|\t," if mark in names[0]), None)


def mend_separator(mark: str) -> str:
    """What to do about a separator that is not the one of the suffix."""
    return f"the columns seem to be separated by {mark!r}: {_other_sep(mark)}"


def require_distinct(names: Sequence[str], path: Path) -> None:
    """Refuse equal column names.

    Raises:
        TableError: Two are equal.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise TableError(
            f"the column name {twice[0]!r} occurs more than once",
            expected="distinct column names",
            fix="rename or remove one of the columns",
            path=path,
        )


def wrong_width(path: Path, sep: str, line: int, fields: Sequence[str], columns: int) -> TableError:
    """What is wrong with a row that has another number of fields than the header.

    Args:
        path: The file.
        sep: Its separator.
        line: 1-based line on which the row starts.
        fields: Of the row.
        columns: Number of columns in the header.
    """
    mend = "mend the row"
    return TableError(
        f"{len(fields)} fields: {sep.join(fields)[:120]!r}",
        expected=f"{columns} fields separated by {sep!r}, as in the header",
        fix=f"{mend}; quote a field that holds a separator" if is_quoted(path) else mend,
        path=path,
        row=line,
    )


def raise_for_content(path: Path, sep: str, columns: int, cause: Exception) -> NoReturn:
    """Say in which row a file stands that Arrow could not read; reads it again.

    Args:
        path: The file.
        sep: Its separator.
        columns: Number of columns in its header.
        cause: What Arrow said.

    Raises:
        TableError: Always.
    """
    raise_for_encoding(path)
    with closing(records(path, sep)) as rows:
        for number, (line, fields) in enumerate(rows):
            mark = mistaken_separator(fields) if columns == 1 and number == 0 else None
            if mark is not None:
                raise TableError(
                    f"the header is one column {fields[0]!r}",
                    expected=f"columns separated by {sep!r}",
                    fix=mend_separator(mark),
                    path=path,
                    row=line,
                ) from cause
            if len(fields) != columns:
                raise wrong_width(path, sep, line, fields, columns) from cause
    raise TableError(
        f"cannot be read as a table separated by {sep!r} ({cause})",
        expected="one row a line, every quote closed",
        fix="mend the file",
        path=path,
    ) from cause


def require_closed_quotes(file: TextFile, sep: str, rows: int, header: bool = True) -> None:
    """Refuse a stray quote, which Arrow lets swallow all lines up to the next one.

    Where rows and lines agree no field spans lines, and the costly strict pass is not needed.

    Args:
        file: Read to its end.
        sep: Its separator.
        rows: How many Arrow found.
        header: Whether a line of column names comes before them.

    Raises:
        TableError: A quote is broken.
    """
    if is_quoted(file.path) and (file.lines != rows + header or not file.ends_line):
        with closing(records(file.path, sep)) as all_rows:
            deque(all_rows, maxlen=0)
