"""Files of lines without a header, each with the same number of fields."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_extraction.tables.text_files import line_blocks, raise_for_encoding
from slifmr_pl.data.reader import TablePiece
from slifmr_pl.data.table_columns import FileRows
from slifmr_pl.errors import DataError, TableError


def fields_of(
    path: Path, names: tuple[str, ...], sep: str | None = None, encoding: str = "utf-8"
) -> Iterator[TablePiece]:
    """Read a file in parts; blank lines are skipped.

    Args:
        path: The file.
        names: Of the fields of every line.
        sep: What separates them; None for any white space.
        encoding: As of ``line_blocks``.

    Raises:
        DataError: A line has another number of fields.
        TableError: The file cannot be read.
    """
    for first, block in line_blocks(path, encoding):
        text = pa.array(block, pa.string())
        full = pc.not_equal(pc.utf8_trim_whitespace(text), "")
        lines = np.flatnonzero(full.to_numpy(zero_copy_only=False)) + first
        text = text.filter(full)
        if sep is None:
            split = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(text))
        else:
            split = pc.split_pattern(text, sep)
        counts = pc.list_value_length(split).to_numpy(zero_copy_only=False)
        if (wrong := np.flatnonzero(counts != len(names))).size:
            row = int(wrong[0])
            raise DataError(
                f"{counts[row]} fields: {text[row].as_py()[:120]!r}",
                expected=f"{len(names)} fields ({', '.join(names)}) separated by "
                + ("white space" if sep is None else repr(sep)),
                fix="mend the line, or check that this is the right file",
                path=path,
                row=int(lines[row]),
            )
        flat = split.flatten()
        columns = {
            name: flat.take(pa.array(np.arange(i, len(flat), len(names))))
            for i, name in enumerate(names)
        }
        yield TablePiece(pa.table(columns), FileRows(path, lines=lines.tolist()))


def encoding_of(path: Path, notes: list[str]) -> str:
    """``utf-8`` if the file is, otherwise ``latin-1``; for files that are known to be either.

    Args:
        path: The file.
        notes: Takes a note of Latin-1.
    """
    try:
        raise_for_encoding(path)
    except TableError as error:
        if "is not UTF-8" not in error.found:
            raise
        notes.append(f"{path.name} is not UTF-8 and was read as Latin-1")
        return "latin-1"
    return "utf-8"
