"""Read chosen columns of a table row by row, so that a table of any length takes little memory."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from feature_extraction.errors import TableError
from feature_extraction.tables import require_columns, require_file, stream_text_rows

JSON_SUFFIXES = (".jsonl", ".ndjson")

_BATCH_ROWS = 256  # rows of a Parquet file held at once: they may carry images


def stream_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
    """Yield the values of some columns, row by row.

    Args:
        path: Parquet, CSV, TSV, RecBole atomic or JSON lines file (``.jsonl``, ``.ndjson``), by
            its suffix. Values of text files are strings; those of the others keep their types.
        columns: Names of the columns; a key that a JSON line lacks is None.

    Yields:
        1-based row in the file (of a text file: the line) and one value per column.

    Raises:
        TableError: The file cannot be read, or lacks a column.
    """
    if path.suffix == ".parquet":
        return _parquet_rows(path, columns)
    if path.suffix in JSON_SUFFIXES:
        return _json_rows(path, columns)
    return _text_rows(path, columns)


def _text_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
    rows = stream_text_rows(path)
    _, header = next(rows)
    require_columns(header, columns, path)
    places = [header.index(column) for column in columns]
    for line, fields in rows:
        yield line, [fields[place] for place in places]


def _parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
    require_file(path)
    row = 0
    try:
        with pq.ParquetFile(path) as file:
            require_columns(file.schema_arrow.names, columns, path)
            wanted = list(dict.fromkeys(columns))
            for batch in file.iter_batches(_BATCH_ROWS, columns=wanted):
                values = [batch.column(column).to_pylist() for column in columns]
                for entries in zip(*values, strict=True):
                    row += 1
                    yield row, list(entries)
    except (pa.ArrowException, OSError) as error:
        raise TableError(
            f"cannot be read as Parquet ({error})",
            expected="a complete Parquet file",
            fix="write the file again",
            path=path,
            row=row or None,
        ) from error


def _json_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
    require_file(path)
    seen: set[str] = set()
    with path.open("rb") as file:
        for line, content in enumerate(file, start=1):
            if not content.strip():
                continue
            try:
                entry = json.loads(content)
            except (ValueError, RecursionError) as error:
                _refuse_line(path, line, f"cannot be read as JSON ({error})", error)
            if not isinstance(entry, dict):
                _refuse_line(path, line, f"holds {type(entry).__name__}, no object")
            seen.update(entry)
            yield line, [entry.get(column) for column in columns]
    require_columns(sorted(seen), columns, path)


def _refuse_line(path: Path, row: int, found: str, cause: Exception | None = None) -> None:
    raise TableError(
        f"the line {found}",
        expected="one JSON object a line, in UTF-8",
        fix="mend the line",
        path=path,
        row=row,
    ) from cause
