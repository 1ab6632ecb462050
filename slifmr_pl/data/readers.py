"""Read a folder of interactions, items, knowledge graph and links into canonical tables."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa

from feature_extraction.tables import read_table, require_columns
from slifmr_pl.data.columns import (
    id_column,
    number_column,
    require_distinct_ids,
    split_column,
    text_column,
)
from slifmr_pl.errors import DataError

Format = Literal["auto", "layout", "recbole"]

_SUFFIXES = (".parquet", ".csv", ".tsv")
_RECBOLE_TYPES = ("token", "float", "token_seq", "float_seq")


@dataclass(frozen=True, eq=False)
class RawData:
    """What a data folder holds, with raw string ids and canonical column names.

    Attributes:
        interactions: ``user_id``, ``item_id`` string; ``rating``, ``timestamp`` float64 and
            ``split`` string (train, valid, test) where the file has them.
        items: ``item_id`` (distinct) and any other columns, all strings.
        kg: ``head_id``, ``relation_id``, ``tail_id`` string.
        links: ``item_id``, ``entity_id`` string.
        root: The folder.
    """

    interactions: pa.Table
    items: pa.Table | None
    kg: pa.Table | None
    links: pa.Table | None
    root: Path


def read(root: Path, format: Format = "auto") -> RawData:  # the option's name on the command line
    """Read a data folder, in the named format or the one that its files show.

    Args:
        root: The folder.
        format: ``layout`` (see ``read_layout``), ``recbole`` (see ``read_recbole``) or ``auto``.

    Raises:
        DataError: The folder is missing, holds neither format or both, or holds bad values.
        TableError: A file cannot be read or lacks a column.
    """
    root = Path(root)
    _require_folder(root)
    if format == "auto":
        recbole = any(root.glob("*.inter"))
        layout = any((root / f"interactions{suffix}").exists() for suffix in _SUFFIXES)
        if recbole == layout:
            raise DataError(
                "interactions in both formats" if recbole else f"no interactions; {_listing(root)}",
                expected=f"either interactions{{{','.join(_SUFFIXES)}}} or one NAME.inter",
                fix="set the format to layout or recbole" if recbole else "check the folder",
                path=root,
            )
        format = "recbole" if recbole else "layout"
    return read_recbole(root) if format == "recbole" else read_layout(root)


def read_layout(root: Path) -> RawData:
    """Read ``interactions``, ``items``, ``kg`` and ``links``, each .parquet, .csv or .tsv.

    Only ``interactions`` is required. Column names are those of ``RawData``; ``split`` also takes
    ``val`` and ``validation``, and a column ``x_label`` of 0, 1, 2 may stand in its place.

    Raises:
        DataError: A file is missing or there twice, or a value is bad; names file and row.
        TableError: A file cannot be read or lacks a column.
    """
    root = Path(root)
    _require_folder(root)
    paths = {stem: _layout_file(root, stem) for stem in ("interactions", "items", "kg", "links")}
    if paths["interactions"] is None:
        raise DataError(
            f"no interactions; {_listing(root)}",
            expected=f"interactions with one of the suffixes {', '.join(_SUFFIXES)}",
            fix="add the file",
            path=root,
        )
    tables = {stem: (path, read_table(path)) for stem, path in paths.items() if path is not None}
    return _canonical(root, tables)


def read_recbole(root: Path, name: str | None = None) -> RawData:
    """Read RecBole atomic files ``NAME.inter``, ``.item``, ``.kg`` and ``.link``.

    Only ``.inter`` is required. Headers are ``field:type``; the fields used are those of
    ``RawData``.

    Args:
        root: The folder.
        name: Name of the data set; None takes that of the only ``.inter`` file.

    Raises:
        DataError: A file is missing, several fit, a header has no type, or a value is bad.
        TableError: A file cannot be read or lacks a column.
    """
    root = Path(root)
    _require_folder(root)
    names = sorted(path.stem for path in root.glob("*.inter"))
    if name is None and len(names) != 1:
        raise DataError(
            f"{len(names)} files end in .inter ({', '.join(names)})"
            if names
            else f"no file ends in .inter; {_listing(root)}",
            expected="one NAME.inter",
            fix="say which with its name" if names else "check the folder",
            path=root,
        )
    if name is not None and name not in names:
        raise DataError(
            f"{name}.inter does not exist; {_listing(root)}",
            expected="an existing data set",
            fix=f"use one of {', '.join(names)}" if names else "check the folder",
            path=root,
        )
    stem = names[0] if name is None else name
    kinds = {"interactions": ".inter", "items": ".item", "kg": ".kg", "links": ".link"}
    paths = {kind: root / f"{stem}{suffix}" for kind, suffix in kinds.items()}
    tables = {
        kind: (path, _without_types(read_table(path), path))
        for kind, path in paths.items()
        if path.exists()
    }
    return _canonical(root, tables)


def _canonical(root: Path, tables: dict[str, tuple[Path, pa.Table]]) -> RawData:
    path, interactions = tables["interactions"]
    return RawData(
        interactions=_interactions(interactions, path),
        items=_items(tables),
        kg=_ids_only(tables, "kg", ("head_id", "relation_id", "tail_id")),
        links=_ids_only(tables, "links", ("item_id", "entity_id")),
        root=root,
    )


def _interactions(table: pa.Table, path: Path) -> pa.Table:
    require_columns(table.column_names, ("user_id", "item_id"), path)
    if "split" in table.column_names and "x_label" in table.column_names:
        raise DataError(
            "both columns split and x_label",
            expected="one of them",
            fix="remove the other",
            path=path,
        )
    columns = {name: id_column(table, name, path) for name in ("user_id", "item_id")}
    for name in ("rating", "timestamp"):
        if name in table.column_names:
            columns[name] = number_column(table, name, path)
    for name in ("split", "x_label"):
        if name in table.column_names:
            columns["split"] = split_column(table, name, path)
    if not table.num_rows:
        raise DataError(
            "no interactions, only a header", expected="rows", fix="add interactions", path=path
        )
    return pa.table(columns)


def _items(tables: dict[str, tuple[Path, pa.Table]]) -> pa.Table | None:
    if "items" not in tables:
        return None
    path, table = tables["items"]
    require_columns(table.column_names, ("item_id",), path)
    columns = {"item_id": id_column(table, "item_id", path)}
    require_distinct_ids(columns["item_id"], "item_id", path)
    for name in table.column_names:
        if name != "item_id":
            columns[name] = text_column(table, name, path)
    return pa.table(columns)


def _ids_only(
    tables: dict[str, tuple[Path, pa.Table]], kind: str, names: tuple[str, ...]
) -> pa.Table | None:
    if kind not in tables:
        return None
    path, table = tables[kind]
    require_columns(table.column_names, names, path)
    return pa.table({name: id_column(table, name, path) for name in names})


def _without_types(table: pa.Table, path: Path) -> pa.Table:
    parts = [name.partition(":") for name in table.column_names]
    for name, _, kind in parts:
        if kind not in _RECBOLE_TYPES:
            raise DataError(
                f"the field {name!r} has the type {kind!r}",
                expected=f"field:type, the type one of {', '.join(_RECBOLE_TYPES)}",
                fix="mend the header",
                path=path,
                row=1,
            )
    names = [name for name, _, _ in parts]
    if len(set(names)) != len(names):
        raise DataError(
            f"a field occurs twice in {names}",
            expected="distinct fields",
            fix="remove one of them",
            path=path,
            row=1,
        )
    return table.rename_columns(names)


def _layout_file(root: Path, stem: str) -> Path | None:
    found = [path for suffix in _SUFFIXES if (path := root / f"{stem}{suffix}").exists()]
    if len(found) > 1:
        raise DataError(
            f"several files named {stem}: {', '.join(path.name for path in found)}",
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


def _listing(root: Path) -> str:
    names = sorted(path.name for path in root.iterdir())
    return f"found {', '.join(names[:20])}" if names else "the folder is empty"
