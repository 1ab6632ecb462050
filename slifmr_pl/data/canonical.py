"""The four tables of a data folder with canonical columns: what every reader ends in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import pyarrow as pa
import pyarrow.compute as pc

from feature_extraction.tables.missing_columns import require_columns
from slifmr_pl.data.summary import Caution
from slifmr_pl.data.table_columns import (
    FileRows,
    id_column,
    number_column,
    require_distinct_ids,
    split_column,
    text_column,
    time_column,
)
from slifmr_pl.errors import DataError

Kind = Literal["interactions", "items", "kg", "links"]
KINDS: tuple[Kind, ...] = ("interactions", "items", "kg", "links")
"""The tables; also the names of their files in the layout."""

INTERACTION_COLUMNS = ("user_id", "item_id", "rating", "timestamp", "split")
KG_COLUMNS = ("head_id", "relation_id", "tail_id")
LINK_COLUMNS = ("item_id", "entity_id")

REQUIRED: dict[Kind, tuple[str, ...]] = {
    "interactions": ("user_id", "item_id"),
    "items": ("item_id",),
    "kg": KG_COLUMNS,
    "links": LINK_COLUMNS,
}
"""Columns that a table cannot do without."""

WITHOUT_HEADER: dict[Kind, str] = {
    "interactions": "--no-header --columns user,item,rating,time",
    "items": "--items-columns item,title",
    "kg": "--kg-columns head,relation,tail",
    "links": "--links-columns item,entity",
}
"""How `import table` is told the columns of a file whose first line is a row, for example."""


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
        notes: What was repaired, left out or not used.
        cautions: What of it may mislead results.
    """

    interactions: pa.Table
    items: pa.Table | None
    kg: pa.Table | None
    links: pa.Table | None
    root: Path
    notes: tuple[str, ...] = ()
    cautions: tuple[Caution, ...] = ()

    @classmethod
    def of(cls, tables: Mapping[Kind, pa.Table], root: Path) -> Self:
        """Takes the tables that there are, by kind; `interactions` is always one."""
        return cls(
            interactions=tables["interactions"],
            items=tables.get("items"),
            kg=tables.get("kg"),
            links=tables.get("links"),
            root=root,
        )


def canonical(kind: Kind, table: pa.Table, place: FileRows) -> pa.Table:
    """Check a table, or some rows of it, and bring its columns into the form of ``RawData``.

    Args:
        kind: Which of the four.
        table: With the column names of ``RawData``; interactions may have ``x_label`` (0, 1, 2)
            in place of ``split``, and columns beyond those of ``RawData``, which are left out.
        place: Where the rows stand.

    Raises:
        DataError: A value is bad; names file and row.
        TableError: A column is missing.
    """
    _require_columns(kind, table, place.path)
    return _CANONICAL[kind](table, place)


def _require_columns(kind: Kind, table: pa.Table, path: Path) -> None:
    if not path.suffix:  # a data frame, which no option reads
        require_columns(table.column_names, REQUIRED[kind], path)
        return
    options = {
        name: f"`slifmr import table` and its --{name.removesuffix('_id')}-column"
        for name in REQUIRED[kind]
    }
    without_header = f"`slifmr import table` {WITHOUT_HEADER[kind]}"
    require_columns(table.column_names, REQUIRED[kind], path, options, without_header)


def require_rows(interactions: pa.Table, path: Path) -> None:
    """Refuse a table of interactions without any.

    Raises:
        DataError: There are none.
    """
    if not interactions.num_rows:
        raise DataError(
            "no interactions, only a header", expected="rows", fix="add interactions", path=path
        )


def require_distinct_items(pieces: Sequence[tuple[pa.Table, FileRows]]) -> None:
    """Refuse an item table, given in pieces, that describes an item twice.

    Raises:
        DataError: It does; names the second row.
    """
    columns = [(table["item_id"], place) for table, place in pieces]
    chunks = [chunk for column, _ in columns for chunk in column.chunks]
    whole = pa.chunked_array(chunks, pa.string())
    if len(pc.unique(whole)) < len(whole):
        seen: set[str] = set()
        for column, place in columns:
            require_distinct_ids(column, "item_id", place, seen)


def unused_columns(kind: Kind, table: pa.Table) -> list[str]:
    """The columns of a table that ``canonical`` leaves out."""
    known = _KNOWN[kind]
    return [name for name in table.column_names if known and name not in known]


def _interactions(table: pa.Table, place: FileRows) -> pa.Table:
    if "split" in table.column_names and "x_label" in table.column_names:
        raise DataError(
            "both columns split and x_label",
            expected="one of them",
            fix="remove the other",
            path=place.path,
        )
    columns = {name: id_column(table, name, place) for name in ("user_id", "item_id")}
    for name, read in (("rating", number_column), ("timestamp", time_column)):
        if name in table.column_names:
            columns[name] = read(table, name, place)
    for name in ("split", "x_label"):
        if name in table.column_names:
            columns["split"] = split_column(table, name, place)
    return pa.table(columns)


def _items(table: pa.Table, place: FileRows) -> pa.Table:
    columns = {"item_id": id_column(table, "item_id", place)}
    for name in table.column_names:
        if name != "item_id":
            columns[name] = text_column(table, name, place)
    return pa.table(columns)


def _ids_of(names: tuple[str, ...]) -> Callable[[pa.Table, FileRows], pa.Table]:
    def ids(table: pa.Table, place: FileRows) -> pa.Table:
        return pa.table({name: id_column(table, name, place) for name in names})

    return ids


_KNOWN: dict[Kind, tuple[str, ...]] = {  # of the items every column is kept
    "interactions": (*INTERACTION_COLUMNS, "x_label"),
    "items": (),
    "kg": KG_COLUMNS,
    "links": LINK_COLUMNS,
}
_CANONICAL: dict[Kind, Callable[[pa.Table, FileRows], pa.Table]] = {
    "interactions": _interactions,
    "items": _items,
    "kg": _ids_of(KG_COLUMNS),
    "links": _ids_of(LINK_COLUMNS),
}
