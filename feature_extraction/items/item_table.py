"""Items out of tables: ids, texts and pictures, row by row."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from feature_extraction.errors import FeatureError, TableError
from feature_extraction.items.inputs import Item, is_unicode, picture_tuple
from feature_extraction.items.pictures import Picture, Pictures, open_pictures
from feature_extraction.items.texts import TextTemplate, joined
from feature_extraction.tables.rows import stream_rows

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
"""Suffixes of images that are found by item id; of several files the first of these wins."""


class ItemTable:
    """The items of a Parquet, CSV, TSV, atomic or JSON lines file, streamed.

    Args:
        path: File with one row per item.
        id_column: Column of item ids.
        text_columns: Columns that make up the text, joined by ``TEXT_SEPARATOR``; empty ones
            are skipped.
        text_template: In place of ``text_columns``: a text with columns in braces.
        image_columns: Columns of picture names, or in Parquet also of bytes, of structs with
            ``bytes`` and ``path``, or of lists of these. Several pictures of an item are
            averaged. None of them finds pictures by item id: ``<item id>.png``, ``.jpg``, ...
        images: One folder of pictures, or one or more tar or zip archives; no name may lead
            out of it.

    Raises:
        FeatureError: The folder or an archive cannot be read, or the template is wrong.
    """

    def __init__(
        self,
        path: Path,
        *,
        id_column: str,
        text_columns: Sequence[str] = (),
        text_template: str | None = None,
        image_columns: Sequence[str] = (),
        images: Sequence[Path] = (),
    ) -> None:
        if text_columns and text_template is not None:
            raise FeatureError(
                "text columns and a text template",
                expected="one of the two",
                fix="name the columns in the template alone",
            )
        self.path = Path(path)
        self._template = None if text_template is None else TextTemplate(text_template)
        self._text_columns = self._template.columns if self._template else list(text_columns)
        self._image_columns = list(image_columns)
        self._columns = [id_column, *self._text_columns, *self._image_columns]
        self._places = list(images)
        self.pictures: Pictures = open_pictures(self._places)

    def __iter__(self) -> Iterator[Item]:
        """Start a pass over the table.

        Raises:
            TableError: The table cannot be read or is empty, an id is empty or repeated, or a
                value is of a type that is none of a text, an id or a picture.
        """
        seen: set[str] = set()
        for row, values in stream_rows(self.path, self._columns):
            item = self._id(values[0], seen, row)
            texts = [
                self._string(value, column, row)
                for column, value in zip(self._text_columns, values[1:], strict=False)
            ]
            yield Item(item, self._text(texts), self._pictures(item, values, row))
        if not seen:
            raise TableError(
                "no items", expected="at least one row", fix="add items", path=self.path
            )

    def _id(self, value: Any, seen: set[str], row: int) -> str:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if value is not None and not isinstance(value, str):
            self._refuse(
                f"the item id {value!r} is a {type(value).__name__}",
                "strings or integers as ids",
                "write the ids as strings",
                row,
            )
        self._check_unicode(value or "", row)
        if not value or value in seen:
            self._refuse(
                f"the item id {value!r} is repeated" if value else "the item id is empty",
                f"distinct, non-empty ids in column {self._columns[0]!r}",
                "remove or rename the row",
                row,
            )
        seen.add(value)
        return str(value)

    def _string(self, value: Any, column: str, row: int) -> str | None:
        if value is None or isinstance(value, str):
            self._check_unicode(value or "", row)
            return value
        if not isinstance(value, int | float | Decimal | date):
            self._refuse(
                f"column {column!r} holds a {type(value).__name__}",
                "strings or numbers",
                "write the column as strings",
                row,
            )
        return str(value)

    def _check_unicode(self, text: str, row: int) -> None:
        if not is_unicode(text):
            self._refuse(
                f"{text!r} holds half of a surrogate pair",
                "valid Unicode",
                "write the file again from the original texts",
                row,
            )

    def _text(self, fields: Sequence[str | None]) -> str | None:
        if self._template is None:
            return joined(fields)
        return self._template.fill(dict(zip(self._text_columns, fields, strict=True)))

    def _pictures(self, item: str, values: Sequence[Any], row: int) -> tuple[Picture, ...]:
        if not self._image_columns:
            name = self._by_id.get(item)
            return () if name is None else (name,)
        found: list[Picture] = []
        for value in values[1 + len(self._text_columns) :]:
            for one in value if isinstance(value, list) else [value]:
                picture = one.get("bytes") or one.get("path") if isinstance(one, Mapping) else one
                if not isinstance(picture, bytes | str | None):
                    self._refuse(
                        f"a picture is a {type(picture).__name__}",
                        "names or bytes of pictures, or lists of them",
                        "choose another column of pictures",
                        row,
                    )
                if isinstance(picture, str) and picture.strip() and not self._places:
                    self._refuse(
                        f"the picture {picture!r} is a name, and there is no folder of pictures",
                        "a folder or archives with the named pictures, or bytes in the column",
                        "give the folder (--images)",
                        row,
                    )
                found += picture_tuple(picture)
        return tuple(found)

    @cached_property
    def _by_id(self) -> dict[str, str]:
        """Pictures by item id, from one listing: no id can name a path outside."""
        if not self._places:
            return {}
        rank = {suffix: place for place, suffix in enumerate(IMAGE_SUFFIXES)}
        paths = [PurePosixPath(name) for name in self.pictures.names()]
        files = [path for path in paths if path.suffix.lower() in rank]
        files.sort(key=lambda file: (rank[file.suffix.lower()], str(file)), reverse=True)
        return {file.stem: str(file) for file in files}

    def _refuse(self, found: str, expected: str, fix: str, row: int) -> NoReturn:
        raise TableError(found, expected=expected, fix=fix, path=self.path, row=row)
