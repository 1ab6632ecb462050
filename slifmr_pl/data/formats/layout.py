"""The package's own layout of a data folder: a table file for each of the four tables."""

from collections.abc import Iterator, Set
from difflib import get_close_matches
from pathlib import Path

from feature_extraction.tables.columnar import is_columnar
from feature_extraction.tables.table_files import read_table
from feature_extraction.tables.text_files import COMPRESSED, plain_suffix
from slifmr_pl.data.canonical import KINDS, Kind
from slifmr_pl.data.formats.rdf_graph import RDF_SUFFIXES, facts_of, is_rdf
from slifmr_pl.data.reader import Reader, Source, TablePiece, contents_of, other_files
from slifmr_pl.data.table_columns import FileRows
from slifmr_pl.errors import DataError

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".json", ".feather", ".arrow")
"""Of tables; those of text may be followed by one of ``COMPRESSED``."""


class LayoutReader(Reader):
    """The package's own layout: files named interactions, items, kg and links.

    Each is .parquet, .csv, .tsv, .jsonl, .json, .feather or .arrow, and ``kg`` perhaps an RDF
    graph, .nt or .ttl; text files may be compressed (``.csv.gz``, ``.bz2``, ``.xz``, ``.zst``,
    ``.zip``). Only ``interactions`` is required. Column names are those of ``RawData``; ``split``
    also takes ``val`` and ``validation``, and a column ``x_label`` of 0, 1, 2 may stand in its
    place.
    """

    def recognises(self, root: Path) -> bool:
        """Whether there is a file of interactions."""
        return bool(_files(root, "interactions"))

    def tables(self, path: Path) -> Source:
        """Open the files that there are.

        Raises:
            DataError: One is there twice, or interactions are missing.
        """
        files = {kind: file for kind in KINDS if (file := _file(path, kind)) is not None}
        if "interactions" not in files:
            raise DataError(
                f"no interactions; {contents_of(path)}",
                expected=f"interactions.parquet, or {', '.join(SUFFIXES[1:])}; the text ones also "
                f"compressed as {', '.join(COMPRESSED)}",
                fix="add the file, or bring a foreign format into this layout: "
                "`slifmr import --help`",
                path=path,
            )
        source = Source({}, notes=_other_tables(path, set(files.values())))
        for kind, file in files.items():
            rdf = is_rdf(file)
            source.tables[kind] = facts_of(file, source.notes) if rdf else _whole(file)
        return source


def _other_tables(root: Path, used: Set[Path]) -> list[str]:
    """A note that names what looks like a table and is not read, by its suffix or its name."""
    suffixes = {*SUFFIXES, *RDF_SUFFIXES} - {".json"}  # which mostly holds other things
    others = [
        path
        for path in root.iterdir()
        if path not in used
        and (
            plain_suffix(path) in suffixes
            or get_close_matches(path.name.partition(".")[0].lower(), KINDS, cutoff=0.75)
        )
    ]
    return other_files(root, set(root.iterdir()) - set(others))


def _whole(path: Path) -> Iterator[TablePiece]:
    yield TablePiece(read_table(path), FileRows(path))


def _files(root: Path, kind: Kind) -> list[Path]:
    suffixes = (*SUFFIXES, *RDF_SUFFIXES) if kind == "kg" else SUFFIXES
    ends = [
        f"{suffix}{packed}"
        for suffix in suffixes
        for packed in ("", *COMPRESSED)
        if not packed or not is_columnar(Path(f"x{suffix}"))
    ]
    return [path for end in ends if (path := root / f"{kind}{end}").exists()]


def _file(root: Path, kind: Kind) -> Path | None:
    files = _files(root, kind)
    if len(files) > 1:
        raise DataError(
            f"several files named {kind}: {', '.join(path.name for path in files)}",
            expected="one",
            fix="remove or rename the others",
            path=root,
        )
    return files[0] if files else None
