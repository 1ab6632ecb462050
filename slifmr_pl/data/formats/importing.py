"""Write a source as a data folder, in one step: all of it or nothing."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_extraction.stores.precomputed import write_features
from slifmr_pl.data.canonical import KINDS
from slifmr_pl.data.formats.new_folder import new_folder
from slifmr_pl.data.reader import Reader, Source
from slifmr_pl.data.table_columns import SPLIT_NAMES, WHOLE_FRACTION

RECORD_FILE = "import.json"


@dataclass(frozen=True)
class Imported:
    """What an import wrote.

    Attributes:
        rows: Of each table.
        parts: Interactions of each part of the split, if the source has one.
        repeated_items: Rows of the item table that were left out, since one before describes the
            same item.
        features: Items without features, by the name of the store below ``features/``.
        notes: What else was repaired or left out.
        cautions: What may mislead results unless a person decides.
    """

    rows: dict[str, int]
    parts: dict[str, int]
    repeated_items: int
    features: dict[str, int]
    notes: list[str]
    cautions: list[str]

    def __str__(self) -> str:
        """A line for each file and each note."""
        parts = ", ".join(f"{count:,} {part}" for part, count in self.parts.items())
        lines = [
            f"  {kind}.parquet  {count:,} rows"
            + (f" ({parts})" if kind == KINDS[0] and parts else "")
            for kind, count in self.rows.items()
        ]
        for name, masked in self.features.items():
            lines.append(f"  features/{name}  {masked:,} items masked: their rows are zero")
        if self.repeated_items:
            lines.append(
                f"  note: {self.repeated_items:,} rows of items describe one that a row before "
                "describes; they are left out"
            )
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join([*lines, *(f"  ! {caution}" for caution in self.cautions)])


def import_data(reader: Reader, path: Path, out: Path) -> Imported:
    """Read a data set in some format and write it as a data folder.

    Tables become Parquet files, features become stores in ``features/``; memory does not grow with
    the number of interactions.

    Args:
        reader: Of the format, with its options.
        path: Folder or file of the data set.
        out: The folder to write; it must not exist, or be empty.

    Raises:
        DataError: The data cannot be used, or ``out`` holds something.
        TableError: A file cannot be read.
        FeatureError: Features cannot be used.
        StorageError: The folder cannot be written.
    """
    source = reader.open(path)
    with new_folder(out) as folder:
        imported = _write(source, folder)
        record = {"reader": reader.settings, "source": str(path), **vars(imported)}
        (folder / RECORD_FILE).write_text(json.dumps(record, indent=2), encoding="utf-8")
    return imported


def _write(source: Source, folder: Path) -> Imported:
    rows: dict[str, int] = {}
    parts, repeated = dict.fromkeys(SPLIT_NAMES, 0), 0
    known: set[str] = set()
    fractions: dict[str, tuple[bool, str]] = {}  # by column of ids: whether all are, and the first
    for kind in KINDS:
        if kind not in source.tables:
            continue
        rows[kind] = 0
        with _Writer(folder / f"{kind}.parquet") as writer:
            for table in (piece.table for piece in source.pieces(kind)):
                new = _first_rows(table, known) if kind == "items" else table
                _look_for_fractions(kind, table, fractions)
                repeated += len(table) - len(new)
                if kind == "interactions" and "split" in table.column_names:
                    for entry in table["split"].value_counts().to_pylist():
                        parts[entry["values"]] += entry["counts"]
                writer.write(new)
                rows[kind] += len(new)
    features = {}
    for name, array in source.features.items():
        store = write_features(folder / "features" / name, array.ids, array.features, array.path)
        features[name] = int((~store.present).sum())
    return Imported(
        rows=rows,
        parts=parts if any(parts.values()) else {},
        repeated_items=repeated,
        features=features,
        notes=list(source.notes),
        cautions=[
            *map(str, source.cautions),
            *(
                f"every {name} is a whole number written as a fraction, such as {first}: "
                f"{first.partition('.')[0]} is another id; `import table` writes whole numbers "
                "with --whole-ids"
                for name, (whole, first) in fractions.items()
                if whole
            ),
        ],
    )


def _look_for_fractions(kind: str, table: pa.Table, found: dict[str, tuple[bool, str]]) -> None:
    """Keep in mind which columns hold nothing but ids such as 12.0; relations are no ids."""
    for column in table.column_names:
        name = f"{column} of the {kind}"
        if not len(table) or not column.endswith("_id") or column == "relation_id":
            continue
        so_far, first = found.get(name, (True, table[column][0].as_py()))
        if so_far and re.match(WHOLE_FRACTION, table[column][0].as_py()) is None:
            so_far = False  # mostly the first id tells
        elif so_far:
            so_far = pc.all(pc.match_substring_regex(table[column], WHOLE_FRACTION)).as_py()
        found[name] = so_far, first


def _first_rows(items: pa.Table, known: set[str]) -> pa.Table:
    """The rows that describe an item for the first time."""
    first = []
    for item in items["item_id"].to_pylist():
        first.append(item not in known)
        known.add(item)
    return items if all(first) else items.filter(pa.array(first))


class _Writer:
    """A Parquet file that takes its columns from the first rows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        if self._file is None:
            self._file = pq.ParquetWriter(self._path, table.schema)
        if len(table):
            self._file.write_table(table)

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()
