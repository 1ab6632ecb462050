"""Small pictures inside the page, and cards of items."""

import base64
import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from feature_extraction import InputError
from feature_extraction.items.images import decode_image
from feature_extraction.items.input_files import locate_file
from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.report.html.html import Html, element

_SIDE = 112  # pixels: twice as sharp as a card on a phone is wide
_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff")
_SAMPLE = 1000  # rows of the item table that show what a column holds


class ItemCards:
    """Titles and pictures of a catalogue's items.

    Args:
        items: Raw ids by row.
        table: Row i describes item i; None where there is no item table.
        root: Folder that paths of pictures are relative to.

    Attributes:
        title_column: Column of titles, None where there is none.
        picture_column: Column of paths of pictures, None where there is none.
    """

    def __init__(self, items: Vocabulary, table: pa.Table | None, root: Path) -> None:
        self._items = items
        self._table = table
        self._root = root
        columns = {} if table is None else {name: table[name] for name in table.column_names}
        self.picture_column = next(
            (name for name, values in columns.items() if holds_pictures(values)), None
        )
        self.title_column = next(
            (name for word in ("title", "name") for name in columns if word in name.lower()), None
        )
        self._thumbnail = lru_cache(maxsize=None)(self._read)

    def title(self, item: int) -> str:
        """The item's title, or its id where it has none."""
        text = "" if self.title_column is None else self._value(self.title_column, item)
        return text or self._items.decode([item])[0]

    def card(self, item: int, *, tag: str = "", highlighted: bool = False) -> Html:
        """Picture and title as an entry of a list; without a picture, the reason is shown.

        Args:
            item: Its row.
            tag: A further line.
            highlighted: Whether to emphasise it.
        """
        title = self.title(item)
        picture = self._thumbnail(item)
        if picture.startswith("data:"):
            shown = element(
                "img", src=picture, alt=f"Picture of {title}", width=_SIDE, height=_SIDE
            )
        else:
            shown = element("span", picture, class_="blank")
        line = [element("span", tag, class_="tag")] if tag else []
        return element("li", shown, title, *line, class_="found" if highlighted else "card")

    def _read(self, item: int) -> str:
        if self.picture_column is None:
            return "no pictures"
        path = self._value(self.picture_column, item)
        if not path:
            return "no picture"
        try:
            return thumbnail(locate_file(path, self._root))
        except InputError as error:
            return str(error)

    def _value(self, column: str, item: int) -> str:
        assert self._table is not None
        text: str = self._table[column][item].as_py()
        return text


def cards(entries: Sequence[Html]) -> Html:
    """A list of cards."""
    return element("ul", *entries, class_="cards")


def holds_pictures(column: pa.ChunkedArray) -> bool:
    """Whether most of the first values that are not missing look like paths of pictures."""
    there: list[str] = [value for value in column.slice(0, _SAMPLE).to_pylist() if value]
    return 2 * sum(value.lower().endswith(_SUFFIXES) for value in there) > len(there)


def thumbnail(path: Path) -> str:
    """A picture as a `data:` URI of a few kilobytes.

    Raises:
        InputError: It cannot be decoded.
    """
    content = io.BytesIO()
    picture = decode_image(path)
    picture.thumbnail((_SIDE, _SIDE))
    picture.save(content, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
