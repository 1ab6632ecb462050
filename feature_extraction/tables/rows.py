"""Read chosen columns of a table row by row, so that a table of any length takes little memory."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from feature_extraction.tables.columnar import columnar_file, is_columnar
from feature_extraction.tables.delimited import read_header, records, separator_of, wrong_width
from feature_extraction.tables.json_lines import JSON_SUFFIXES, json_objects
from feature_extraction.tables.missing_columns import require_columns
from feature_extraction.tables.table_files import require_file
from feature_extraction.tables.text_files import plain_suffix

_BATCH_ROWS = 256  # rows with types held at once: they may carry images


def stream_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
    """Yield the values of some columns, row by row.

    Args:
        path: Parquet, Arrow, CSV, TSV, RecBole atomic or JSON lines file (``.jsonl``,
            ``.ndjson``), by its suffix. Values of text files are strings; those of the others keep
            their types.
        columns: Names of the columns; a key that a JSON line lacks is None.

    Yields:
        1-based row in the file (of a text file: the line) and one value per column.

    Raises:
        TableError: The file cannot be read, or lacks a column.
    """
    if is_columnar(path):
        return _columnar_rows(path, columns)
    if plain_suffix(path) in JSON_SUFFIXES:
        return _json_rows(path, columns)
    return _text_rows(path, columns)


def _text_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
    require_file(path)
    sep = separator_of(path, None)
    header = read_header(path, sep)
    require_columns(header, columns, path)
    places = [header.index(column) for column in columns]
    with closing(records(path, sep)) as rows:
        next(rows)
        for line, fields in rows:
            if len(fields) != len(header):
                raise wrong_width(path, sep, line, fields, len(header))
            yield line, [fields[place] for place in places]


def _columnar_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
    require_file(path)
    row = 0
    with columnar_file(path) as file:
        require_columns(file.schema.names, columns, path)
        wanted = list(dict.fromkeys(columns))
        for batch in file.batches(_BATCH_ROWS, wanted):
            values = [batch.column(column).to_pylist() for column in columns]
            for entries in zip(*values, strict=True):
                row += 1
                yield row, list(entries)


def _json_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
    require_file(path)
    seen: set[str] = set()
    with closing(json_objects(path)) as blocks:
        for lines, entries in blocks:
            for line, entry in zip(lines, entries, strict=True):
                seen.update(entry)
                yield line, [entry.get(column) for column in columns]
    require_columns(sorted(seen), columns, path)
