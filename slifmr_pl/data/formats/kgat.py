"""KGAT's files: users with their items, facts in numbers, and lists of the original ids."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from feature_extraction.tables.text_files import line_blocks
from slifmr_pl.data.canonical import KG_COLUMNS
from slifmr_pl.data.formats.lines import fields_of
from slifmr_pl.data.reader import (
    Reader,
    Source,
    TablePiece,
    contents_of,
    not_used,
    other_files,
)
from slifmr_pl.data.table_columns import FileRows
from slifmr_pl.errors import DataError, TableError

_PARTS = ("train", "test")


class KGATReader(Reader):
    """A KGAT folder: train.txt, test.txt, kg_final.txt and *_list.txt.

    Each line of interactions is a user and the user's items; each line of the knowledge graph a
    head, a relation and a tail. All are numbers; an entity with the number of an item is that item.
    Where a list gives original ids, these take the place of the numbers. If items have a list and
    there is a knowledge graph, links say which entity an item is.
    """

    def recognises(self, root: Path) -> bool:
        """Whether both files of interactions are there."""
        return all((root / f"{part}.txt").is_file() for part in _PARTS)

    def tables(self, path: Path) -> Source:
        """Open ``train.txt`` and ``test.txt``, and the other files where they are.

        Raises:
            DataError: A file is missing, or a list is not as expected.
            TableError: A list cannot be read.
        """
        if not self.recognises(path):
            raise DataError(
                f"no train.txt and test.txt; {contents_of(path)}",
                expected="train.txt and test.txt, a user and the user's items on each line",
                fix="check the folder",
                path=path,
            )
        notes: list[str] = []
        users, items, entities, relations = (
            _original_ids(path / f"{thing}_list.txt", notes)
            for thing in ("user", "item", "entity", "relation")
        )
        source = Source(
            {"interactions": _interactions(path, users, items)},
            notes=notes,
        )
        facts = path / "kg_final.txt"
        lists = (path / f"{thing}_list.txt" for thing in ("user", "item", "entity", "relation"))
        notes += other_files(path, [*(path / f"{part}.txt" for part in _PARTS), facts, *lists])
        if facts.exists():
            source.tables["kg"] = _facts(facts, entities, relations)
            if items:
                source.tables["links"] = _links(path / "item_list.txt", items, entities)
        return source


def _interactions(root: Path, users: dict[str, str], items: dict[str, str]) -> Iterator[TablePiece]:
    for part in _PARTS:
        path = root / f"{part}.txt"
        for first, block in line_blocks(path):
            fields = [line.split() for line in block]
            counts = [max(len(line) - 1, 0) for line in fields]
            lines = np.repeat(np.arange(first, first + len(block)), counts).tolist()
            of_user = [line[0] for line in fields if line for _ in line[1:]]
            of_item = [item for line in fields for item in line[1:]]
            place = FileRows(path, lines=lines)
            table = {
                "user_id": _renamed(pa.array(of_user, pa.string()), users, "user", place),
                "item_id": _renamed(pa.array(of_item, pa.string()), items, "item", place),
                "split": pa.array([part] * len(lines), pa.string()),
            }
            yield TablePiece(pa.table(table), place)


def _facts(path: Path, entities: dict[str, str], relations: dict[str, str]) -> Iterator[TablePiece]:
    of = dict(zip(KG_COLUMNS, (entities, relations, entities), strict=True))
    for part in fields_of(path, KG_COLUMNS):
        table = {
            name: _renamed(part.table[name], ids, name.removesuffix("_id"), part.place)
            for name, ids in of.items()
        }
        yield TablePiece(pa.table(table), part.place)


def _links(path: Path, items: dict[str, str], entities: dict[str, str]) -> Iterator[TablePiece]:
    table = {
        "item_id": pa.array(items.values(), pa.string()),
        "entity_id": pa.array([entities.get(number, number) for number in items], pa.string()),
    }
    yield TablePiece(pa.table(table), FileRows(path))


def _renamed(
    numbers: pa.Array | pa.ChunkedArray, ids: dict[str, str], what: str, place: FileRows
) -> pa.Array:
    """Put original ids in place of numbers, where there is a list of them."""
    numbers = numbers.combine_chunks() if isinstance(numbers, pa.ChunkedArray) else numbers
    encoded = numbers.dictionary_encode()
    names = []
    for number in encoded.dictionary.to_pylist():
        known = number in ids if ids else number.isascii() and number.isdigit()
        if not known:
            raise DataError(
                f"the {what} {number!r}",
                expected=f"a number that {what}_list.txt lists"
                if ids
                else "a whole number from 0 up",
                fix="mend the line, or the list" if ids else "mend the line",
                path=place.path,
                row=place.row(numbers.index(number).as_py()),
            )
        names.append(ids.get(number, number))
    return pa.array(names, pa.string()).take(encoded.indices)


def _original_ids(path: Path, notes: list[str]) -> dict[str, str]:
    """Original ids by number; none if there is no list, or if it does not tell things apart."""
    if not path.exists():
        return {}
    originals: dict[str, str] = {}
    width = 0
    for first, block in line_blocks(path):
        for line, text in enumerate(block, start=first):
            fields = text.split()
            if not width:
                width = _require_header(fields, path)
                if more := fields[2:]:
                    notes.append(not_used(more, path.name))
            elif fields:
                number = fields[1 - width] if len(fields) >= width else ""
                original = " ".join(fields[: 1 - width])  # which may hold spaces itself
                if not number.isascii() or not number.isdigit() or number in originals:
                    raise DataError(
                        f"the line {text[:120]!r}",
                        expected="an original id and its number, each number once",
                        fix="mend the line",
                        path=path,
                        row=line,
                    )
                originals[number] = original
    repeated = len(originals) - len(set(originals.values()))
    if repeated:
        notes.append(f"{path.name} names {repeated} ids again: the numbers stay in their place")
        return {}
    return originals


def _require_header(fields: list[str], path: Path) -> int:
    if fields[:2] != ["org_id", "remap_id"]:
        raise TableError(
            f"the header {' '.join(fields)!r}",
            expected="'org_id remap_id'",
            fix="add the header, or take the list away to use the numbers",
            path=path,
            row=1,
        )
    return len(fields)
