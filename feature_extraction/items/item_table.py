"""Items out of tables: ids and raw inputs, row by row."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from feature_extraction.errors import FeatureError, InputError, TableError
from feature_extraction.items.images import ImageModality
from feature_extraction.items.input_files import Files, names_by_item, open_files
from feature_extraction.items.inputs import Item
from feature_extraction.items.raw_modality import FileModality, RawModality
from feature_extraction.items.texts import TextModality, is_unicode
from feature_extraction.tables.rows import stream_rows


@dataclass(frozen=True)
class RawColumns:
    """Where a table has the inputs of a raw modality.

    Args:
        modality: What they are.
        columns: Columns that hold them, or names of their files. None finds files by item id.
        places: One folder of their files, or one or more tar or zip archives; no name may lead
            out of it.
    """

    modality: RawModality
    columns: Sequence[str] = ()
    places: Sequence[Path] = ()

    @cached_property
    def files(self) -> Files:
        """The opened folder or archives."""
        return open_files(list(self.places), self.modality.name)

    @cached_property
    def by_item(self) -> dict[str, str]:
        """Names of files by item id."""
        if not (isinstance(self.modality, FileModality) and self.places):
            return {}
        return names_by_item(self.files, self.modality.suffixes)


class ItemTable:
    """The items of a Parquet, Arrow, CSV, TSV, atomic or JSON lines file, streamed.

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
        raw: Inputs of other raw modalities.

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
        raw: Sequence[RawColumns] = (),
    ) -> None:
        if text_columns and text_template is not None:
            raise FeatureError(
                "text columns and a text template",
                expected="one of the two",
                fix="name the columns in the template alone",
            )
        self.path = Path(path)
        self._id_column = id_column
        text = TextModality(text_template)
        named = text.template.columns if text.template else text_columns
        sources = [RawColumns(text, named), RawColumns(ImageModality(), image_columns, images)]
        self._raw = [one for one in (*sources, *raw) if one.columns or one.places]
        for one in self._raw:
            _ = one.files  # what cannot be opened is said before the first row

    def __iter__(self) -> Iterator[Item]:
        """Start a pass over the table.

        Raises:
            TableError: The table cannot be read or is empty, an id is empty or repeated, or a
                value is of a type that its raw modality does not take.
        """
        seen: set[str] = set()
        columns = [self._id_column, *(column for one in self._raw for column in one.columns)]
        for row, (first, *values) in stream_rows(self.path, columns):
            item = self._id(first, seen, row)
            rest = iter(values)
            inputs = {
                one.modality.name: self._inputs(
                    one, item, {column: next(rest) for column in one.columns}, row
                )
                for one in self._raw
            }
            yield Item(item, inputs=inputs)
        if not seen:
            raise TableError(
                "no items", expected="at least one row", fix="add items", path=self.path
            )

    def files(self, modality: str) -> Files:
        """Where the files of a raw modality are."""
        known = [one.files for one in self._raw if one.modality.name == modality]
        return known[0] if known else open_files([], modality)

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
        if not is_unicode(value or ""):
            self._refuse(
                f"{value!r} holds half of a surrogate pair",
                "valid Unicode",
                "write the file again from the original texts",
                row,
            )
        if not value or value in seen:
            self._refuse(
                f"the item id {value!r} is repeated" if value else "the item id is empty",
                f"distinct, non-empty ids in column {self._id_column!r}",
                "remove or rename the row",
                row,
            )
        seen.add(value)
        return str(value)

    def _inputs(
        self, source: RawColumns, item: str, cells: Mapping[str, Any], row: int
    ) -> tuple[Any, ...]:
        if not cells:
            name = source.by_item.get(item)
            return () if name is None else (name,)
        modality = source.modality
        try:
            inputs = modality.from_columns(cells)
        except InputError as error:
            self._refuse(
                str(error),
                modality.expects,
                f"mend the row, or choose another column for {modality.name}",
                row,
            )
        if isinstance(modality, FileModality) and not source.places:
            for name in inputs:
                if not isinstance(name, bytes):
                    self._refuse(
                        f"the {modality.name} {name!r} is a name, and there is no folder for it",
                        "a folder or archives with the named files, or bytes in the column",
                        "give the folder (--images, or --files of other files)",
                        row,
                    )
        return inputs

    def _refuse(self, found: str, expected: str, fix: str, row: int) -> NoReturn:
        raise TableError(found, expected=expected, fix=fix, path=self.path, row=row)
