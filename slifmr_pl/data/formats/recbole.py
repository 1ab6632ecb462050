"""RecBole's atomic files: tab-separated, ``field:type`` in the header."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from feature_extraction.tables.missing_columns import require_columns
from feature_extraction.tables.text_files import COMPRESSED, plain_suffix
from slifmr_pl.data.canonical import KG_COLUMNS, LINK_COLUMNS, Kind
from slifmr_pl.data.dataset import RecommendationData
from slifmr_pl.data.formats.mmrec import MMRecReader
from slifmr_pl.data.reader import (
    Reader,
    Source,
    TablePiece,
    contents_of,
    other_files,
    renamed,
    table_pieces,
)
from slifmr_pl.data.table_columns import SPLIT_NAMES
from slifmr_pl.errors import DataError

_TYPES = ("token", "float", "token_seq", "float_seq")
_WRITTEN_ROWS = 1 << 20
_SUFFIXES: dict[Kind, str] = {"items": ".item", "kg": ".kg", "links": ".link"}


class RecBoleReader(Reader):
    """RecBole's atomic files NAME.inter, .item, .kg, .link; also its benchmark splits.

    Interactions are in ``NAME.inter``, or in ``NAME.train.inter``, ``.valid.inter`` and
    ``.test.inter``. All files may be compressed (``.gz``, ``.bz2``, ``.xz``, ``.zst``, ``.zip``). A
    field ``label`` is the rating, where there is no ``rating``.

    Args:
        name: Name of the data set; None takes the only one.
        sep: What separates the fields.
        user_column: What the files call `user_id`.
        item_column: What the files call `item_id`.
        rating_column: What the interactions call the rating; default: `rating`, or else `label`.
        timestamp_column: What the interactions call the time.
    """

    def __init__(
        self,
        name: str | None = None,
        sep: str = "\t",
        user_column: str = "user_id",
        item_column: str = "item_id",
        rating_column: str | None = None,
        timestamp_column: str = "timestamp",
    ) -> None:
        self.name = name
        self.sep = sep
        self.ours = {user_column: "user_id", item_column: "item_id", timestamp_column: "timestamp"}
        self.rating_column = rating_column

    def recognises(self, root: Path) -> bool:
        """Whether there are interactions, and they are not MMRec's, whose files end like these."""
        return bool(_interaction_files(root)) and not MMRecReader().recognises(root)

    def tables(self, path: Path) -> Source:
        """Open the interactions, and ``NAME.item``, ``.kg`` and ``.link`` where they exist.

        Raises:
            DataError: There is no such data set, there are several, or it has two kinds of
                interactions.
        """
        files = _interaction_files(path)
        name = _chosen(path, files, self.name)
        parts = files[name]
        if None in parts and len(parts) > 1:
            raise DataError(
                f"{name}.inter beside "
                f"{', '.join(file.name for part, file in parts.items() if part)}",
                expected="all interactions in one file, or a file for each part of the split",
                fix="move one kind into another folder",
                path=path,
            )
        if None not in parts and not {"train", "test"} <= parts.keys():
            raise DataError(
                f"of the parts of the split only {', '.join(file.name for file in parts.values())}",
                expected=f"{name}.train.inter and {name}.test.inter, perhaps {name}.valid.inter",
                fix="add the missing part",
                path=path,
            )
        tables: dict[Kind, pa.Table | Iterable[TablePiece]] = {
            "interactions": self._interactions(parts)
        }
        used = list(parts.values())
        for kind, suffix in _SUFFIXES.items():
            ends = ("", *COMPRESSED)
            file = next((p for end in ends if (p := path / f"{name}{suffix}{end}").exists()), None)
            if file is not None:
                tables[kind] = self._atomic(file)
                used.append(file)
        return Source(tables, notes=other_files(path, used))

    def _interactions(self, parts: dict[str | None, Path]) -> Iterator[TablePiece]:
        for name, path in parts.items():
            for part in self._atomic(path):
                table = self._with_rating(part.table, path)
                if name is not None:
                    labels = pa.array([name]).take(pa.array([0] * len(table), pa.int8()))
                    table = _without_split(table, path).append_column("split", labels)
                yield TablePiece(table, part.place)

    def _with_rating(self, table: pa.Table, path: Path) -> pa.Table:
        names, rating = table.column_names, self.rating_column
        if rating is None:
            rating = "label" if "rating" not in names and "label" in names else "rating"
        elif rating not in names:
            require_columns(names, (rating,), path, {rating: "--rating-column"})
        return renamed(table, {rating: "rating"}, path)

    def _atomic(self, path: Path) -> Iterator[TablePiece]:
        def plain(table: pa.Table) -> pa.Table:
            table = renamed(_without_types(table, path), self.ours, path)
            if plain_suffix(path) == ".inter":
                require_columns(
                    table.column_names,
                    ("user_id", "item_id"),
                    path,
                    {"user_id": "--user-column", "item_id": "--item-column"},
                )
            return table

        return table_pieces(path, plain, self.sep)


def _interaction_files(root: Path) -> dict[str, dict[str | None, Path]]:
    """Files by name of the data set and by part of the split (None: all)."""
    files: dict[str, dict[str | None, Path]] = {}
    for path in sorted(root.iterdir()):
        if plain_suffix(path) != ".inter":
            continue
        stem = path.name.partition(".inter")[0]
        name, _, part = stem.rpartition(".")
        if name and part in SPLIT_NAMES:
            files.setdefault(name, {})[part] = path
        else:
            files.setdefault(stem, {})[None] = path
    return files


def _chosen(root: Path, files: dict[str, dict[str | None, Path]], name: str | None) -> str:
    names = sorted(files)
    if name is None and len(names) != 1:
        raise DataError(
            f"{len(names)} data sets end in .inter ({', '.join(names)})"
            if names
            else f"no file ends in .inter; {contents_of(root)}",
            expected="one NAME.inter",
            fix="give each a folder, or say which: `import` takes --name"
            if names
            else "check the folder",
            path=root,
        )
    if name is not None and name not in names:
        raise DataError(
            f"{name}.inter does not exist; {contents_of(root)}",
            expected="an existing data set",
            fix=f"use one of {', '.join(names)}" if names else "check the folder",
            path=root,
        )
    return names[0] if name is None else name


def _without_types(table: pa.Table, path: Path) -> pa.Table:
    parts = [name.partition(":") for name in table.column_names]
    for name, _, kind in parts:
        marks = {" ": "spaces", ",": "commas", ";": "semicolons", "|": "bars", "\t": "tabs"}
        mark = next((mark for mark in marks if f":{kind}".count(":") > 1 and mark in kind), None)
        if mark is not None:
            raise DataError(
                f"the fields seem to be separated by {marks[mark]}: {f'{name}:{kind}'!r}",
                expected="tabs, unless the option sep says otherwise",
                fix=f"separate the fields by tabs, or `import recbole` with --sep {mark!r}",
                path=path,
                row=1,
            )
        if kind not in _TYPES:
            raise DataError(
                f"the field {name!r} has the type {kind!r}",
                expected=f"field:type, the type one of {', '.join(_TYPES)}",
                fix=f"write {name}:token in the header for an id, {name}:float for a number; a "
                "table without types is read by `import table`",
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


def _without_split(table: pa.Table, path: Path) -> pa.Table:
    """The file's name tells the part; a column that tells it too would be a second truth."""
    for name in ("split", "x_label"):
        if name in table.column_names:
            raise DataError(
                f"the field {name!r} in a file that is one part of a split",
                expected="the file's name alone to tell the part",
                fix="remove the field",
                path=path,
                row=1,
            )
    return table


def export(data: RecommendationData, folder: Path, name: str) -> list[str]:
    """Write a prepared data set for RecBole, a file for each part of the split.

    ``NAME.train.inter``, ``.valid.inter``, ``.test.inter``, ``NAME.item``, and with a knowledge
    graph ``NAME.kg`` and ``NAME.link``; ``NAME.yaml`` tells RecBole to take this split.

    Args:
        data: The data set.
        folder: Where to write; it is there.
        name: Of the data set.

    Returns:
        What the format cannot hold, for the user.

    Raises:
        DataError: An id cannot be written, since RecBole would not read it back.
    """
    users, items, entities = (_writable(v.ids) for v in (data.users, data.items, data.entities))
    for part, pairs in zip(SPLIT_NAMES, (data.train, data.valid, data.test), strict=True):
        columns = {"user_id": (users, pairs.users), "item_id": (items, pairs.items)}
        _write(folder / f"{name}.{part}.inter", columns)
    notes = _write_items(folder / f"{name}.item", data, items)
    columns_loaded = {"inter": ["user_id", "item_id"]}
    if len(data.triples):
        triples = data.triples
        rows = (triples.heads, triples.relations, triples.tails)
        ids = (entities, _writable(data.relations.ids), entities)
        _write(
            folder / f"{name}.kg", dict(zip(KG_COLUMNS, zip(ids, rows, strict=True), strict=True))
        )
        # RecBole takes no link to an entity that has no fact.
        mentioned = np.union1d(triples.heads, triples.tails)
        linked = mentioned[mentioned < len(items)]
        _write(folder / f"{name}.link", dict.fromkeys(LINK_COLUMNS, (items, linked)))
        columns_loaded |= {"kg": list(KG_COLUMNS), "link": list(LINK_COLUMNS)}
    settings = {
        "dataset": name,
        "benchmark_filename": list(SPLIT_NAMES),
        "load_col": columns_loaded,
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    return notes


def _write(path: Path, columns: dict[str, tuple[pa.StringArray, npt.NDArray[np.int64]]]) -> None:
    """Write columns of ids, each given as its vocabulary and rows in it."""
    length = len(next(iter(columns.values()))[1])
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("\t".join(f"{name}:token" for name in columns) + "\n")
        for start in range(0, length, _WRITTEN_ROWS):
            fields = [
                ids.take(pa.array(rows[start : start + _WRITTEN_ROWS]))
                for ids, rows in columns.values()
            ]
            lines = pc.binary_join_element_wise(*fields, "\t").to_pylist()
            file.writelines(f"{line}\n" for line in lines)


def _write_items(path: Path, data: RecommendationData, items: pa.StringArray) -> list[str]:
    """Write the item table; what RecBole would take for a separator or a quote is replaced."""
    table = data.item_table if data.item_table is not None else pa.table({"item_id": items})
    texts = {name: table[name].combine_chunks() for name in table.column_names if name != "item_id"}
    plain = {
        re.sub(r"[\s:]", "_", name): pc.replace_substring_regex(
            pc.replace_substring_regex(text, "[\\t\\r\\n]+", " "), '"', "'"
        )
        for name, text in texts.items()
    }
    types = ["item_id:token", *(f"{name}:token_seq" for name in plain)]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("\t".join(types) + "\n")
        lines = pc.binary_join_element_wise(items, *plain.values(), "\t")
        file.writelines(f"{line}\n" for line in lines.to_pylist())
    changed = sum(
        pc.sum(pc.not_equal(*pair)).as_py() or 0
        for pair in zip(texts.values(), plain.values(), strict=True)
    )
    if not changed:
        return []
    return [f"in {changed} texts of items, tabs and line ends became spaces, and \" became '"]


def _writable(ids: pa.StringArray) -> pa.StringArray:
    bad = pc.match_substring_regex(ids, '[\\t\\r\\n]|^"')
    if (index := pc.index(bad, True).as_py()) >= 0:
        raise DataError(
            f"the id {ids[index].as_py()!r}",
            expected="ids without tabs and line ends that do not begin with a quote",
            fix="rename it; RecBole's files have no way to quote",
        )
    return ids
