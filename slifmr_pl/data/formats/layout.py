"""The package's own layout of a data folder: a table file for each of the four tables."""

from collections.abc import Iterator
from pathlib import Path

from feature_extraction.tables.table_files import read_table
from feature_extraction.tables.text_files import COMPRESSED
from slifmr_pl.data.canonical import KINDS, Kind
from slifmr_pl.data.reader import Reader, Source, TablePiece, contents_of
from slifmr_pl.data.table_columns import FileRows
from slifmr_pl.errors import DataError

_TEXT_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json")
SUFFIXES = (
    ".parquet",
    *_TEXT_SUFFIXES,
    *(f"{suffix}{packed}" for suffix in _TEXT_SUFFIXES for packed in COMPRESSED),
)


class LayoutReader(Reader):
    """The package's own layout: files named interactions, items, kg and links.

    Each is .parquet, .csv, .tsv, .jsonl or .json; text files may be compressed (``.csv.gz``,
    ``.bz2``, ``.xz``, ``.zst``, ``.zip``). Only ``interactions`` is required. Column names are
    those of ``RawData``; ``split`` also takes ``val`` and ``validation``, and a column ``x_label``
    of 0, 1, 2 may stand in its place.
    """

    def recognises(self, root: Path) -> bool:
        """Whether there is a file of interactions."""
        return any((root / f"interactions{suffix}").exists() for suffix in SUFFIXES)

    def tables(self, path: Path) -> Source:
        """Open the files that there are.

        Raises:
            DataError: One is there twice, or interactions are missing.
        """
        files = {kind: file for kind in KINDS if (file := _file(path, kind)) is not None}
        if "interactions" not in files:
            raise DataError(
                f"no interactions; {contents_of(path)}",
                expected="interactions.parquet, or .csv, .tsv, .jsonl or .json, also compressed as "
                f"{', '.join(COMPRESSED)}",
                fix="add the file, or bring a foreign format into this layout: "
                "`slifmr import --help`",
                path=path,
            )
        return Source({kind: _whole(file) for kind, file in files.items()})


def _whole(path: Path) -> Iterator[TablePiece]:
    yield TablePiece(read_table(path), FileRows(path))


def _file(root: Path, kind: Kind) -> Path | None:
    files = [path for suffix in SUFFIXES if (path := root / f"{kind}{suffix}").exists()]
    if len(files) > 1:
        raise DataError(
            f"several files named {kind}: {', '.join(path.name for path in files)}",
            expected="one",
            fix="remove or rename the others",
            path=root,
        )
    return files[0] if files else None
