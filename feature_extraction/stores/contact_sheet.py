"""A picture to judge features by: items beside the items that their features are nearest to.

Shapes: q drawn items, n items, d feature size, k neighbours.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from feature_extraction.errors import InputError
from feature_extraction.items.images import decode_image
from feature_extraction.items.inputs import IMAGE, Item, ItemSource
from feature_extraction.stores.store import FeatureStore

ITEMS, NEIGHBOURS = 12, 5

_ROWS = 65_536  # rows of the store that are compared at once
_SIDE, _GAP, _LINES, _LINE_HEIGHT = 160, 12, 3, 15
_FONT_SIZE = 11
_INK, _PALE, _PAPER = "#202020", "#767676", "white"


def draw_sheet(store: FeatureStore, items: ItemSource | None, target: Path) -> None:
    """Draw items from all over a store, each with its nearest neighbours by cosine.

    Args:
        store: The features.
        items: Names and pictures; None draws ids alone.
        target: PNG file to write; its folder is made.
    """
    queries = _spread(store.present)
    neighbours, cosines = nearest(store, queries, NEIGHBOURS)
    drawn = {store.ids[row] for row in (*queries, *neighbours.flatten()) if row >= 0}
    known = {} if items is None else {item.id: item for item in items if item.id in drawn}
    height = _SIDE + _LINES * _LINE_HEIGHT + _GAP
    width = _SIDE + _GAP
    apart = 2 * _GAP  # between an item and its neighbours
    size = (width * (1 + NEIGHBOURS) + _GAP + apart, height * len(queries) + 2 * _GAP)
    sheet = Image.new("RGB", size, _PAPER)
    title = f"{store.path.name}: items, and right of each its nearest by features, with the cosine"
    ImageDraw.Draw(sheet).text((_GAP, 4), title, fill=_PALE, font=_font())
    for line, query in enumerate(queries):
        top = 2 * _GAP + line * height
        rows = [(int(query), ""), *_labelled(neighbours[line], cosines[line])]
        for place, (row, label) in enumerate(rows):
            item = known.get(store.ids[row], Item(store.ids[row]))
            left = _GAP + place * width + (apart if place else 0)
            _draw(sheet, (left, top), item, label, items)
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(target, format="PNG")


def nearest(
    store: FeatureStore, queries: NDArray[np.int64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the rows nearest to some rows by cosine, without themselves.

    Args:
        store: The features; only rows that are present count.
        queries: int64 ``[q]``.
        k: Neighbours of each.

    Returns:
        Rows int64 ``[q, k]``, best first, -1 where there are no more; cosines ``[q, k]``.
    """
    wanted = _unit(store.features[queries])
    best = np.full((len(queries), k), -np.inf, dtype=np.float32)
    rows = np.full((len(queries), k), -1, dtype=np.int64)
    for start in range(0, len(store.ids), _ROWS):
        block = np.arange(start, min(start + _ROWS, len(store.ids)))
        scores = wanted @ _unit(store.features[block]).T  # [q, block]
        scores[:, ~store.present[block]] = -np.inf
        scores[queries[:, None] == block] = -np.inf
        scores = np.concatenate([best, scores], axis=1)
        among = np.concatenate([rows, np.broadcast_to(block, (len(queries), len(block)))], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(scores, order, 1)
        rows = np.take_along_axis(among, order, 1)
    return np.where(np.isfinite(best), rows, -1), best


def _spread(present: NDArray[np.bool_]) -> NDArray[np.int64]:
    rows = np.flatnonzero(present)
    chosen: NDArray[np.int64] = rows[np.linspace(0, len(rows) - 1, ITEMS).round().astype(int)]
    return np.unique(chosen)


def _unit(features: NDArray[Any]) -> NDArray[np.float32]:
    values = features.astype(np.float32)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    unit: NDArray[np.float32] = values / np.maximum(norms, np.finfo(np.float32).tiny)
    return unit


def _labelled(rows: Sequence[int], cosines: Sequence[float]) -> list[tuple[int, str]]:
    pairs = zip(rows, cosines, strict=True)
    return [(int(row), f"{cosine:.3f}") for row, cosine in pairs if row >= 0]


def _draw(
    sheet: Image.Image,
    corner: tuple[int, int],
    item: Item,
    label: str,
    items: ItemSource | None,
) -> None:
    left, top = corner
    draw = ImageDraw.Draw(sheet)
    try:
        if not item.pictures or items is None:
            raise InputError("no picture")
        picture = decode_image(items.files(IMAGE).find(item.pictures[0]))
        tile = ImageOps.contain(picture, (_SIDE, _SIDE))
        sheet.paste(tile, (left + (_SIDE - tile.width) // 2, top + (_SIDE - tile.height) // 2))
    except InputError as error:
        draw.rectangle((left, top, left + _SIDE, top + _SIDE), outline=_PALE)
        draw.text((left + 8, top + _SIDE // 2 - 8), str(error)[:24], fill=_PALE, font=_font())
    name = item.id if not item.text else f"{item.id}: {item.text}"
    lines = [*islice(_wrapped(name), _LINES - bool(label)), *([label] if label else [])]
    for number, line in enumerate(lines):
        at = (left, top + _SIDE + 3 + number * _LINE_HEIGHT)
        draw.text(at, line, fill=_PALE if line is label else _INK, font=_font())


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font with the letters of many languages, where there is one; Pillow's own has few."""
    matplotlib = find_spec("matplotlib")  # it carries DejaVu
    folders = (matplotlib and matplotlib.submodule_search_locations) or []
    carried = [f"{folder}/mpl-data/fonts/ttf/DejaVuSans.ttf" for folder in folders]
    for name in ("DejaVuSans.ttf", "Arial.ttf", *carried):
        with suppress(OSError):
            return ImageFont.truetype(name, _FONT_SIZE)
    return ImageFont.load_default(_FONT_SIZE)


def _wrapped(text: str) -> list[str]:
    """Break a text into lines as wide as a picture."""
    lines, rest = [], text
    while rest:
        count = len(rest)
        while _font().getlength(rest[:count]) > _SIDE:
            count = min(count - 1, int(count * _SIDE / _font().getlength(rest[:count])) or 1)
        space = rest.rfind(" ", 0, count + 1) if count < len(rest) else -1
        cut = space if space > 0 else count
        lines.append(rest[:cut])
        rest = rest[cut:].strip()
    return lines
