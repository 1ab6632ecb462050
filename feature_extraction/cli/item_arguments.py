"""Arguments that say where items come from, and the item table of them."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feature_extraction.items.item_table import ItemTable
    from feature_extraction.items.raw_modality import RawModality

FLAGS = {
    "text": ("--text-columns", "--text-template"),
    "image": ("--images", "--image-column"),
    "": ("--columns", "--files"),  # of all other raw modalities
}


def add_items(parser: argparse.ArgumentParser, *, required: bool) -> Any:
    """Add the item table and its columns; returns the group of these arguments."""
    items = parser.add_argument_group("items")
    items.add_argument(
        "--items", type=Path, required=required, help="Parquet, Arrow, CSV, TSV or JSON lines file"
    )
    items.add_argument("--id-column", required=required, help="column of item ids")
    items.add_argument(
        "--text-columns", nargs="+", default=[], help="columns that make up the text"
    )
    items.add_argument(
        "--text-template", help="in their place, for example '{title}. {description}'"
    )
    items.add_argument(
        "--images", nargs="+", type=Path, default=[], help="folder of image files, or archives"
    )
    items.add_argument(
        "--image-column",
        nargs="+",
        default=[],
        help="columns of names inside it, or of bytes; without: <item id>.png, .jpg, ...",
    )
    return items


def item_table(options: argparse.Namespace, reads: "RawModality | None" = None) -> "ItemTable":
    """The item table; `reads` is what `--columns` and `--files` are of."""
    from feature_extraction.items.item_table import ItemTable, RawColumns

    other = reads is not None and reads.name not in FLAGS
    return ItemTable(
        options.items,
        id_column=options.id_column,
        text_columns=options.text_columns,
        text_template=options.text_template,
        image_columns=options.image_column,
        images=options.images,
        raw=[RawColumns(reads, options.columns, options.files)] if reads and other else [],
    )
