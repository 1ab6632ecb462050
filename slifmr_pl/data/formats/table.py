"""Tables with column names of the user's own."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from feature_extraction.tables.table_files import read_table, require_columns
from slifmr_pl.data.canonical import INTERACTION_COLUMNS, KG_COLUMNS, LINK_COLUMNS, Kind
from slifmr_pl.data.reader import Reader, Source, TablePiece, contents_of, table_pieces
from slifmr_pl.data.table_columns import FileRows
from slifmr_pl.errors import DataError

_REQUIRED: dict[Kind, tuple[str, ...]] = {
    "interactions": ("user_id", "item_id"),
    "items": ("item_id",),
    "kg": KG_COLUMNS,
    "links": LINK_COLUMNS,
}


class TableReader(Reader):
    """CSV, TSV, Parquet or JSON lines with column names of your own.

    Files are looked for in the folder of the data set, if that is a folder.

    Args:
        interactions: File of interactions; not needed where the data set is that file.
        items: File with a row for each item.
        kg: File of the knowledge graph's facts.
        links: File that says which entity an item is.
        user_column: What the files call `user_id`.
        item_column: What the files call `item_id`.
        rating_column: What the files call the rating; default: `rating`, where there is one.
        timestamp_column: What the files call the time; default: `timestamp`, where there is one.
        split_column: What the files call the part of the split; default: `split`, where there is
            one.
        head_column: What the files call `head_id`.
        relation_column: What the files call `relation_id`.
        tail_column: What the files call `tail_id`.
        entity_column: What the files call `entity_id`.
    """

    reads_files = True

    def __init__(
        self,
        interactions: Path | None = None,
        items: Path | None = None,
        kg: Path | None = None,
        links: Path | None = None,
        user_column: str = "user_id",
        item_column: str = "item_id",
        rating_column: str | None = None,
        timestamp_column: str | None = None,
        split_column: str | None = None,
        head_column: str = "head_id",
        relation_column: str = "relation_id",
        tail_column: str = "tail_id",
        entity_column: str = "entity_id",
    ) -> None:
        self.interactions = interactions
        self.beside: dict[Kind, Path | None] = {"items": items, "kg": kg, "links": links}
        self.required = {
            "user_id": user_column,
            "item_id": item_column,
            "head_id": head_column,
            "relation_id": relation_column,
            "tail_id": tail_column,
            "entity_id": entity_column,
        }
        self.optional = {
            "rating": rating_column,
            "timestamp": timestamp_column,
            "split": split_column,
        }

    def tables(self, path: Path) -> Source:
        """Open the files.

        Raises:
            TableError: A column is missing; when it is read.
            DataError: Nothing says which file holds the interactions.
        """
        folder = path if path.is_dir() else Path()
        file = folder / self.interactions if folder == path and self.interactions else path
        if file.is_dir():
            raise DataError(
                f"a folder, and no file of interactions is named; {contents_of(path)}",
                expected="the file of interactions, or its name in the folder",
                fix="set the option interactions of the reader TableReader",
                path=path,
            )
        source = Source({})
        source.tables["interactions"] = self._interactions(file, source.notes)
        for kind, other in self.beside.items():
            if other is not None:
                source.tables[kind] = self._whole(kind, folder / other, source.notes)
        return source

    def _interactions(self, path: Path, notes: list[str]) -> Iterator[TablePiece]:
        names = {name: self.required[name] for name in _REQUIRED["interactions"]}
        names |= {name: column for name, column in self.optional.items() if column is not None}
        unused: dict[str, None] = {}

        def renamed(table: pa.Table) -> pa.Table:
            if not table.num_rows and not table.column_names:
                return table
            require_columns(table.column_names, list(names.values()), path)
            there = [name for name in INTERACTION_COLUMNS if name in table.column_names]
            columns = {name: names.get(name, name) for name in (*names, *there)}
            used = set(columns.values())
            unused.update((name, None) for name in table.column_names if name not in used)
            return pa.table({ours: table[theirs] for ours, theirs in columns.items()})

        yield from table_pieces(path, renamed)
        if unused:
            notes.append(f"the columns {', '.join(unused)} of {path.name} are not used")

    def _whole(self, kind: Kind, path: Path, notes: list[str]) -> Iterator[TablePiece]:
        ours = {self.required[name]: name for name in _REQUIRED[kind]}
        table = read_table(path, required=list(ours))
        nested = [field.name for field in table.schema if pa.types.is_nested(field.type)]
        nested = [name for name in nested if name not in ours]
        if nested:
            notes.append(f"{path.name}: {', '.join(nested)} hold lists or objects and are left out")
            table = table.drop_columns(nested)
        names = [ours.get(name, name) for name in table.column_names]
        _require_distinct_names(names, ours, path)
        yield TablePiece(table.rename_columns(names), FileRows(path))


def _require_distinct_names(names: list[str], ours: Mapping[str, str], path: Path) -> None:
    if len(set(names)) == len(names):
        return
    twice = next(name for name in names if names.count(name) > 1)
    theirs = next(column for column, name in ours.items() if name == twice)
    raise DataError(
        f"both {theirs!r}, which is mapped to {twice!r}, and {twice!r} itself",
        expected="one of them",
        fix=f"remove or rename {twice!r}, or leave the mapping out",
        path=path,
    )
