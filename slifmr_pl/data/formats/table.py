"""Tables with column names of the user's own."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from feature_extraction.tables.table_files import read_table, require_columns
from slifmr_pl.data.canonical import KG_COLUMNS, LINK_COLUMNS, Kind
from slifmr_pl.data.formats.source import Part, Source, parts_of
from slifmr_pl.data.table_columns import Origin
from slifmr_pl.errors import DataError

_REQUIRED: dict[Kind, tuple[str, ...]] = {
    "interactions": ("user_id", "item_id"),
    "items": ("item_id",),
    "kg": KG_COLUMNS,
    "links": LINK_COLUMNS,
}
_INTERACTIONS = ("user_id", "item_id", "rating", "timestamp", "split")
COLUMNS = tuple(dict.fromkeys((*_INTERACTIONS, *KG_COLUMNS, *LINK_COLUMNS)))
"""Canonical names that a column may be mapped to."""


def open_source(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    items: Path | None = None,
    kg: Path | None = None,
    links: Path | None = None,
) -> Source:
    """Open a file of interactions, and perhaps others beside it.

    Args:
        path: Interactions; CSV, TSV, Parquet or JSON lines.
        columns: For canonical names (``COLUMNS``) the name that the files have; others are their
            own name.
        items: The item table.
        kg: The knowledge graph.
        links: Which entity an item is.

    Raises:
        TableError: A column is missing; when it is read.
        DataError: A mapping names no canonical column.
    """
    columns = columns or {}
    for name in columns:
        if name not in COLUMNS:
            raise DataError(
                f"a mapping to the column {name!r}",
                expected=f"one of {', '.join(COLUMNS)}",
                fix="map to one of these",
            )

    def interactions(table: pa.Table) -> pa.Table:
        if not table.num_rows and not table.column_names:
            return table
        named = {name: columns.get(name, name) for name in _INTERACTIONS}
        found = set(table.column_names)
        wanted = {
            ours: theirs for ours, theirs in named.items() if ours in columns or theirs in found
        }
        wanted |= {ours: named[ours] for ours in _REQUIRED["interactions"]}
        require_columns(table.column_names, list(wanted.values()), path)
        return pa.table({ours: table[theirs] for ours, theirs in wanted.items()})

    source = Source({"interactions": parts_of(path, interactions)})
    more: dict[Kind, Path | None] = {"items": items, "kg": kg, "links": links}
    for kind, file in more.items():
        if file is not None:
            source.tables[kind] = _whole(kind, file, columns, source.notes)
    return source


def _whole(kind: Kind, path: Path, columns: Mapping[str, str], notes: list[str]) -> Iterator[Part]:
    ours = {columns.get(name, name): name for name in _REQUIRED[kind]}
    table = read_table(path, required=list(ours))
    nested = [field.name for field in table.schema if pa.types.is_nested(field.type)]
    nested = [name for name in nested if name not in ours]
    if nested:
        notes.append(f"{path.name}: {', '.join(nested)} hold lists or objects and are left out")
        table = table.drop_columns(nested)
    names = [ours.get(name, name) for name in table.column_names]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(
            f"both {columns[twice]!r}, which is mapped to {twice!r}, and {twice!r} itself",
            expected="one of them",
            fix=f"remove or rename {twice!r}, or leave the mapping out",
            path=path,
        )
    yield Part(table.rename_columns(names), Origin(path))
