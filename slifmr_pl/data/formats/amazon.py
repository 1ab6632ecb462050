"""Amazon reviews and metadata of 2014, 2018 and 2023: one object a line, often gzipped.

Metadata of 2014 are Python literals, and are read as such: nothing is evaluated.
"""

import ast
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from feature_extraction.tables.json_lines import json_objects, json_table
from feature_extraction.tables.text_files import line_blocks, plain_suffix
from slifmr_pl.data.reader import (
    Reader,
    Source,
    TablePiece,
    contents_of,
    not_used,
    other_files,
)
from slifmr_pl.data.table_columns import FileRows
from slifmr_pl.errors import DataError

_SUFFIXES = (".json", ".jsonl")
_ITEM_COLUMNS = (
    *("item_id", "title", "brand", "categories", "description", "features", "image_url"),
)
_PICTURES = ("imageURLHighRes", "imageURL", "image", "imUrl", "images")
_READ_OF_ITEMS = {
    *("asin", "parent_asin", "title", "brand", "store", "categories", "category", "description"),
    *("feature", "features", *_PICTURES),
}


@dataclass(frozen=True)
class _Edition:
    """Where an edition keeps what of a review."""

    user: str
    item: str
    rating: str
    timestamp: str
    seconds: float


_OF_2014 = _Edition("reviewerID", "asin", "overall", "unixReviewTime", 1.0)  # and of 2018
_OF_2023 = _Edition("user_id", "parent_asin", "rating", "timestamp", 1e-3)


class AmazonReader(Reader):
    """Amazon reviews of 2014, 2018 or 2023 with metadata, as JSON lines.

    A folder has one file of reviews, and perhaps one ``meta_*`` beside it. An item has ``title``,
    ``brand``, ``categories``, ``description``, ``features`` and ``image_url``, empty where the
    metadata do not tell; what else reviews and metadata hold is named. Items of 2023 are the
    ``parent_asin``, which the metadata describe.
    """

    reads_files = True

    def tables(self, path: Path) -> Source:
        """Open a file of reviews, or a folder with one and its metadata.

        Raises:
            DataError: The folder holds no such file, or several.
        """
        if path.is_file():
            source = Source({})
            source.tables["interactions"] = _reviews(path, source.notes)
            return source
        files = sorted(file for file in path.iterdir() if plain_suffix(file) in _SUFFIXES)
        metadata = [file for file in files if file.name.startswith("meta_")]
        reviews = [file for file in files if file not in metadata]
        if len(reviews) != 1 or len(metadata) > 1:
            raise DataError(
                f"{len(reviews)} files of reviews and {len(metadata)} of metadata; "
                f"{contents_of(path)}",
                expected="one CATEGORY.json(l)(.gz), and at most one meta_CATEGORY.json(l)(.gz)",
                fix="put one category into a folder of its own; files of ratings alone (.csv) are "
                "read by `slifmr import table FILE OUT --no-header --columns "
                "user,item,rating,time` (of 2018: item,user,rating,time)",
                path=path,
            )
        source = Source({}, notes=other_files(path, files))
        source.tables["interactions"] = _reviews(reviews[0], source.notes)
        if metadata:
            source.tables["items"] = _items(metadata[0], source.notes)
        return source


def _note_unread(keys: dict[str, None], path: Path, notes: list[str]) -> None:
    if keys:
        notes.append(not_used(keys, path.name, "key"))


def _reviews(path: Path, notes: list[str]) -> Iterator[TablePiece]:
    edition, unread = None, dict[str, None]()
    for lines, objects in json_objects(path, _parser(path)):
        edition = edition or _edition(objects[0], path, lines[0])
        names = [edition.user, edition.item, edition.rating, edition.timestamp]
        table = json_table(objects, names)
        table = table.rename_columns(["user_id", "item_id", "rating", "timestamp"])
        unread |= {key: None for entry in objects for key in entry if key not in names}
        yield TablePiece(_in_seconds(table, edition.seconds), FileRows(path, lines=lines))
    _note_unread(unread, path, notes)
    if edition is None:
        raise DataError("no reviews", expected="one object a line", fix="check the file", path=path)


def _edition(review: dict[str, Any], path: Path, line: int) -> _Edition:
    for edition in (_OF_2014, _OF_2023):
        if edition.user in review and edition.item in review:
            return edition
    raise DataError(
        f"a line with the keys {', '.join(sorted(review))[:200]}",
        expected=f"reviews with {_OF_2014.user} and {_OF_2014.item}, or with {_OF_2023.user} and "
        f"{_OF_2023.item}",
        fix="check that these are reviews, and that metadata are in a file meta_*",
        path=path,
        row=line,
    )


def _in_seconds(table: pa.Table, unit: float) -> pa.Table:
    kind = table["timestamp"].type
    if unit == 1.0 or not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return table  # what is no number is refused where all columns are checked
    times = pc.multiply(table["timestamp"].cast(pa.float64(), safe=False), unit)
    return table.set_column(table.column_names.index("timestamp"), "timestamp", times)


def _items(path: Path, notes: list[str]) -> Iterator[TablePiece]:
    unread: dict[str, None] = {}
    for lines, objects in json_objects(path, _parser(path)):
        rows = [_item(entry) for entry in objects]
        columns = {
            name: pa.array([row[name] for row in rows], pa.string()) for name in _ITEM_COLUMNS
        }
        unread |= {key: None for entry in objects for key in entry if key not in _READ_OF_ITEMS}
        yield TablePiece(pa.table(columns), FileRows(path, lines=lines))
    _note_unread(unread, path, notes)


def _item(entry: dict[str, Any]) -> dict[str, str]:
    return {
        "item_id": _text(entry.get("parent_asin", entry.get("asin"))),
        "title": _text(entry.get("title")),
        "brand": _text(entry.get("brand", entry.get("store"))),
        "categories": _text(entry.get("categories", entry.get("category")), ", "),
        "description": _text(entry.get("description")),
        "features": _text(entry.get("features", entry.get("feature"))),
        "image_url": _image_url(entry),
    }


def _image_url(entry: dict[str, Any]) -> str:
    """The first and largest picture that an edition names."""
    images = entry.get("images")
    if isinstance(images, list) and images and isinstance(images[0], dict):
        return _text(images[0].get("hi_res") or images[0].get("large") or images[0].get("thumb"))
    for key in _PICTURES:
        urls = entry.get(key)
        for url in urls if isinstance(urls, list) else [urls]:
            if isinstance(url, str) and url:
                return _text(url)
    return ""


def _text(value: Any, between: str = " ") -> str:
    """A text, or the texts of nested lists; whatever else there is is no text."""
    if isinstance(value, list):
        return between.join(filter(None, (_text(entry, between) for entry in value)))
    # Half of a surrogate pair ("\ud800") is valid in JSON, and no text.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _parser(path: Path) -> Callable[[str], Any]:
    """JSON, unless the first line is a Python literal."""
    first = next((text for _, block in line_blocks(path) for text in block if text.strip()), "")
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        if "': " in first:
            return ast.literal_eval
    return json.loads
