"""Read a folder of interactions, items, knowledge graph and links into canonical tables."""

import difflib
from pathlib import Path
from typing import Literal

import pyarrow as pa

from feature_extraction.tables.table_files import read_table
from slifmr_pl.data.canonical import (
    KINDS,
    Kind,
    RawData,
    canonical,
    require_distinct_items,
    require_rows,
)
from slifmr_pl.data.formats import kgat, mmrec, recbole
from slifmr_pl.data.formats.source import found_in
from slifmr_pl.data.table_columns import Origin
from slifmr_pl.errors import DataError

__all__ = ["Format", "RawData", "read", "read_layout", "read_recbole"]

Format = Literal["auto", "layout", "recbole", "mmrec", "kgat"]

_SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".csv.gz", ".tsv.gz", ".jsonl.gz")


def read(root: Path, format: Format = "auto") -> RawData:  # the option's name on the command line
    """Read a data folder, in the named format or the one that its files show.

    Args:
        root: The folder.
        format: ``layout`` (see ``read_layout``), one of ``slifmr_pl.data.formats``, or ``auto``.
            Features in an MMRec folder are not read; ``import`` makes feature stores of them.

    Raises:
        DataError: The folder is missing, holds no format or several, or holds bad values.
        TableError: A file cannot be read or lacks a column.
    """
    root = Path(root)
    _require_folder(root)
    if format == "auto":
        format = _shown(root)
    if format == "recbole":
        return recbole.open_source(root).read(root)
    if format == "mmrec":
        return mmrec.open_source(root).read(root)
    if format == "kgat":
        return kgat.open_source(root).read(root)
    return read_layout(root)


def read_layout(root: Path) -> RawData:
    """Read ``interactions``, ``items``, ``kg`` and ``links``, each .parquet, .csv, .tsv or .jsonl.

    Text files may be gzipped (``.csv.gz``). Only ``interactions`` is required. Column names are
    those of ``RawData``; ``split`` also takes ``val`` and ``validation``, and a column ``x_label``
    of 0, 1, 2 may stand in its place.

    Raises:
        DataError: A file is missing or there twice, or a value is bad; names file and row.
        TableError: A file cannot be read or lacks a column.
    """
    root = Path(root)
    _require_folder(root)
    paths = {kind: _layout_file(root, kind) for kind in KINDS}
    if paths["interactions"] is None:
        raise DataError(
            f"no interactions; {found_in(root)}",
            expected=f"interactions with one of the suffixes {', '.join(_SUFFIXES)}",
            fix="add the file, or bring a foreign format into this layout: "
            "`python -m slifmr_pl import --help`",
            path=root,
        )
    tables: dict[Kind, pa.Table] = {}
    for kind, path in paths.items():
        if path is not None:
            tables[kind] = canonical(kind, read_table(path), Origin(path))
            if kind == "interactions":
                require_rows(tables[kind], path)
            if kind == "items":
                require_distinct_items(tables[kind], Origin(path))
    return RawData.of(tables, root)


def read_recbole(root: Path, name: str | None = None) -> RawData:
    """Read RecBole atomic files; see ``slifmr_pl.data.formats.recbole.open_source``.

    Args:
        root: The folder.
        name: Name of the data set; None takes the only one.

    Raises:
        DataError: A file is missing, several fit, a header has no type, or a value is bad.
        TableError: A file cannot be read or lacks a column.
    """
    root = Path(root)
    _require_folder(root)
    return recbole.open_source(root, name).read(root)


def _shown(root: Path) -> Format:
    """The format that the files of a folder show."""
    shown: list[Format] = []
    if any((root / f"interactions{suffix}").exists() for suffix in _SUFFIXES):
        shown.append("layout")
    if mmrec.is_here(root):
        shown.append("mmrec")
    elif recbole.is_here(root):
        shown.append("recbole")
    if kgat.is_here(root):
        shown.append("kgat")
    if len(shown) != 1:
        raise DataError(
            f"interactions in the formats {' and '.join(shown)}"
            if shown
            else f"no interactions; {found_in(root)}",
            expected=f"either interactions{{{','.join(_SUFFIXES)}}}, one NAME.inter, or train.txt "
            "and test.txt",
            fix=f"set the format to {' or '.join(shown)}"
            if shown
            else "check the folder; `python -m slifmr_pl import --help` lists other formats",
            path=root,
        )
    return shown[0]


def _layout_file(root: Path, kind: Kind) -> Path | None:
    found = [path for suffix in _SUFFIXES if (path := root / f"{kind}{suffix}").exists()]
    if len(found) > 1:
        raise DataError(
            f"several files named {kind}: {', '.join(path.name for path in found)}",
            expected="one",
            fix="remove or rename the others",
            path=root,
        )
    return found[0] if found else None


def _require_folder(root: Path) -> None:
    if root.is_dir():
        return
    parent = next(path for path in (root.parent, *root.parents) if path.is_dir())
    names = sorted(path.name for path in parent.iterdir() if path.is_dir())
    close = difflib.get_close_matches(root.name, names, n=1)
    raise DataError(
        "this is a file" if root.exists() else "the data folder does not exist",
        expected=f"one of the folders in {parent}: {', '.join(names[:20]) or '(there is none)'}",
        fix=f"did you mean {close[0]!r}?" if close else "check the path",
        path=root,
    )
