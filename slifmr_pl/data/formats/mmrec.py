"""MMRec's folders: numbered users and items with ``x_label``, features as arrays, id mappings."""

import csv
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from feature_extraction.stores.precomputed import load_array
from feature_extraction.tables.delimited import read_header
from feature_extraction.tables.missing_columns import require_columns
from feature_extraction.tables.table_files import read_table
from slifmr_pl.data.canonical import Kind
from slifmr_pl.data.dataset import RecommendationData
from slifmr_pl.data.frozen_features import FrozenFeatures
from slifmr_pl.data.reader import (
    FeatureArray,
    Reader,
    Source,
    TablePiece,
    contents_of,
    other_files,
    table_pieces,
)
from slifmr_pl.data.table_columns import FileRows, id_column, require_distinct_ids
from slifmr_pl.errors import DataError

_COLUMNS = {"userID": "user_id", "itemID": "item_id"}
_FEATURES = "_feat.npy"
_MAPPING_SUFFIXES = (".csv", ".tsv", ".txt")


@dataclass(frozen=True, eq=False)
class _Numbered:
    """Users or items by number.

    Attributes:
        column: ``user_id`` or ``item_id``.
        ids: Raw ids; entry n is of number n. None leaves the numbers as they are.
        count: Numbers are below it; None if nothing tells.
        told_by: The file that tells.
    """

    column: str
    ids: pa.StringArray | None = None
    count: int | None = None
    told_by: str = ""


class MMRecReader(Reader):
    """An MMRec folder: NAME.inter with x_label, features as .npy, id mappings.

    Row n of the features is of item n. ``u_id_mapping`` and ``i_id_mapping``, where they exist, put
    raw ids in place of the numbers, and list items that nobody interacted with, too. They are
    separated by tabs or commas, and end in ``.csv``, ``.tsv`` or ``.txt``.

    Args:
        name: Name of the data set; None takes the only one.
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = name

    def recognises(self, root: Path) -> bool:
        """Whether there are interactions of numbered users and items."""
        files = root.glob("*.inter")
        return any(_COLUMNS.keys() <= set(read_header(path, "\t")) for path in files)

    def tables(self, path: Path) -> Source:
        """Open ``NAME.inter``, ``*_feat.npy`` and the mappings.

        Raises:
            DataError: There is no such data set, or there are several, or features and mapping do
                not fit each other.
            TableError: A mapping cannot be read.
            FeatureError: Features cannot be read.
        """
        file_of_interactions = _interactions_file(path, self.name)
        arrays = {
            file.name.removesuffix(_FEATURES): (file, load_array(file))
            for file in sorted(path.glob(f"*{_FEATURES}"))
        }
        users = _mapped(path, "u_id_mapping", "user_id", "userID")
        items = _mapped(path, "i_id_mapping", "item_id", "itemID")
        for file, array in arrays.values():
            if items.count is not None and len(array) != items.count:
                raise DataError(
                    f"{len(array)} rows",
                    expected=f"{items.count}, a row for each item of {items.told_by}",
                    fix="take the features that belong to these interactions",
                    path=file,
                )
            items = replace(items, count=len(array), told_by=file.name)
        tables: dict[Kind, pa.Table | Iterable[TablePiece]] = {
            "interactions": _interactions(file_of_interactions, users, items)
        }
        if items.ids is not None:
            tables["items"] = pa.table({"item_id": items.ids})
            names = items.ids.to_pylist()
        else:
            names = [str(number) for number in range(items.count or 0)]
        features = {key: FeatureArray(file, names, array) for key, (file, array) in arrays.items()}
        used = [file_of_interactions, *(file for file, _ in arrays.values())]
        mappings = (_mapping(path, stem) for stem in ("u_id_mapping", "i_id_mapping"))
        used += [file for file in mappings if file is not None]
        return Source(tables, features, notes=other_files(path, used))


def _interactions_file(root: Path, name: str | None) -> Path:
    names = sorted(path.stem for path in root.glob("*.inter"))
    if (name is None and len(names) != 1) or (name is not None and name not in names):
        raise DataError(
            f"the data sets {', '.join(names)}" if names else f"no NAME.inter; {contents_of(root)}",
            expected="one NAME.inter" if name is None else f"{name}.inter",
            fix="give each a folder, or say which: `import` takes --name"
            if names
            else "check the folder",
            path=root,
        )
    return root / f"{name or names[0]}.inter"


def _interactions(path: Path, users: _Numbered, items: _Numbered) -> Iterator[TablePiece]:
    def renamed(table: pa.Table) -> pa.Table:
        require_columns(table.column_names, tuple(_COLUMNS), path)
        return table.rename_columns([_COLUMNS.get(name, name) for name in table.column_names])

    for part in table_pieces(path, renamed):
        table = part.table
        for numbered in (users, items):
            place = table.column_names.index(numbered.column)
            column = _as_ids(table[numbered.column], numbered, part.place)
            table = table.set_column(place, numbered.column, column)
        yield TablePiece(table, part.place)


def _as_ids(column: pa.ChunkedArray, numbered: _Numbered, place: FileRows) -> pa.ChunkedArray:
    if numbered.count is None:
        return column
    whole = pc.match_substring_regex(column, "^[0-9]{1,18}$")
    numbers = pc.cast(pc.if_else(whole, column, "-1"), pa.int64())
    known = pc.and_(pc.greater_equal(numbers, 0), pc.less(numbers, numbered.count))
    if (index := pc.index(known, False).as_py()) >= 0:
        raise DataError(
            f"{numbered.column.removesuffix('_id')} {column[index].as_py()!r}",
            expected=f"a number from 0 to {numbered.count - 1}, as {numbered.told_by} has them",
            fix="mend the row, or take the files that belong together",
            path=place.path,
            row=place.row(index),
        )
    return column if numbered.ids is None else numbered.ids.take(numbers.combine_chunks())


def _mapping(root: Path, stem: str) -> Path | None:
    return next((p for end in _MAPPING_SUFFIXES if (p := root / f"{stem}{end}").exists()), None)


def _mapped(root: Path, stem: str, kind: str, number: str) -> _Numbered:
    """What a mapping says, if there is one."""
    path = _mapping(root, stem)
    if path is None:
        return _Numbered(kind)
    with path.open("rb") as file:
        sep = "\t" if b"\t" in file.readline(1 << 20) else ","
    table = read_table(path, required=(number,), sep=sep)
    if not table.num_rows:
        raise DataError("no rows", expected="a row for each", fix="add them", path=path)
    if len(table.column_names) != 2:
        raise DataError(
            f"the columns {', '.join(table.column_names)}",
            expected=f"two: the raw id and {number}",
            fix="remove the others",
            path=path,
            row=1,
        )
    (raw,) = (name for name in table.column_names if name != number)
    place = FileRows(path)
    ids = id_column(table, raw, place)
    require_distinct_ids(ids, raw, place)
    row_of: dict[str, int] = {}
    for row, text in enumerate(table[number].to_pylist()):
        if not (text.isascii() and text.isdigit() and int(text) < len(table)) or text in row_of:
            raise DataError(
                f"the number {text!r}",
                expected=f"{number} from 0 to {len(table) - 1}, each once",
                fix="mend the mapping",
                path=path,
                row=place.row(row),
            )
        row_of[text] = row
    rows = [row_of[str(n)] for n in range(len(table))]
    return _Numbered(kind, ids.take(pa.array(rows)).combine_chunks(), len(table), path.name)


def export(
    data: RecommendationData, features: Mapping[str, FrozenFeatures], folder: Path, name: str
) -> list[str]:
    """Write a prepared data set for MMRec: ``NAME.inter``, features, mappings, ``NAME.yaml``.

    Users and items are numbered by their rows; an item without features has a row of zeros.

    Args:
        data: The data set.
        features: Of the items, by modality; each becomes ``MODALITY_feat.npy``.
        folder: Where to write; it is there.
        name: Of the data set.

    Returns:
        What the format cannot hold, for the user.
    """
    with (folder / f"{name}.inter").open("w", encoding="utf-8", newline="") as file:
        file.write("userID\titemID\tx_label\n")
        for label, part in enumerate((data.train, data.valid, data.test)):
            rows = zip(part.users.tolist(), part.items.tolist(), strict=True)
            file.writelines(f"{user}\t{item}\t{label}\n" for user, item in rows)
    for stem, header, ids in (
        ("u_id_mapping", ("user_id", "userID"), data.users.ids),
        ("i_id_mapping", ("item_id", "itemID"), data.items.ids),
    ):
        with (folder / f"{stem}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="\t", lineterminator="\n")
            writer.writerows([header, *((raw, n) for n, raw in enumerate(ids.to_pylist()))])
    notes = []
    for modality, frozen in features.items():
        np.save(folder / f"{modality}{_FEATURES}", frozen.values, allow_pickle=False)
        if not frozen.present.all():
            missing = int((~frozen.present).sum())
            notes.append(f"{missing} items without {modality} features have rows of zeros")
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(_settings(name, features), sort_keys=False))
    if len(data.triples):
        notes.append(f"MMRec has no knowledge graph: {len(data.triples)} triples are left out")
    return notes


def _settings(name: str, modalities: Collection[str]) -> dict[str, Any]:
    """What MMRec calls the configuration of a data set."""
    settings = {
        "USER_ID_FIELD": "userID",
        "ITEM_ID_FIELD": "itemID",
        "inter_file_name": f"{name}.inter",
        "inter_splitting_label": "x_label",
        "field_separator": "\t",
        "filter_out_cod_start_users": False,
    }
    for ours, theirs in (("image", "vision_feature_file"), ("text", "text_feature_file")):
        if ours in modalities:
            settings[theirs] = f"{ours}{_FEATURES}"
    return settings
