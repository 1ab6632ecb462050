"""Item tables (CSV, TSV, Parquet) to extraction inputs."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from feature_extraction.errors import FeatureError, TableError
from feature_extraction.inputs import ItemInputs
from feature_extraction.tables import read_table, row_in_file

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
"""Suffixes of images that are found by item id; of several files the first of these wins."""

TEXT_SEPARATOR = ". "
"""What joins the text columns of an item."""


def read_items(
    table_path: Path,
    *,
    id_column: str,
    text_columns: Sequence[str] = (),
    image_folder: Path | None = None,
    image_column: str | None = None,
) -> ItemInputs:
    """Read item ids, texts and image files from a table.

    Args:
        table_path: CSV, TSV or Parquet file with one row per item.
        id_column: Column of item ids.
        text_columns: Columns that make up the text, joined by ``TEXT_SEPARATOR``; empty ones
            are skipped.
        image_folder: Folder of image files; no path may lead out of it.
        image_column: Column of paths relative to the folder. None finds the images by item id:
            ``<item id>.png``, ``.jpg`` and so on, directly in the folder.

    Raises:
        TableError: The table cannot be read, lacks a column, or an id is empty or repeated.
        FeatureError: The image folder does not exist.
    """
    images = [] if image_column is None else [image_column]
    table = read_table(table_path, required=[id_column, *text_columns, *images])
    ids = _ids(table, id_column, table_path)
    texts: list[str | None] | None = None
    if text_columns:
        columns = [_strings(table, name, table_path) for name in text_columns]
        texts = join_texts(columns)
    files: list[str | None] | None = None
    if image_column is not None:
        files = _strings(table, image_column, table_path)
    elif image_folder is not None:
        files = _files_by_id(ids, image_folder)
    return ItemInputs(ids=ids, texts=texts, images=files, image_root=image_folder)


def join_texts(columns: Sequence[Sequence[str | None]]) -> list[str | None]:
    """Join the text columns of each item by ``TEXT_SEPARATOR``, empty ones skipped.

    Args:
        columns: One or more columns with one entry per item.

    Returns:
        One text per item; None where all columns are empty.
    """
    return [
        TEXT_SEPARATOR.join(part.strip() for part in parts if part and part.strip()) or None
        for parts in zip(*columns, strict=True)
    ]


def _ids(table: pa.Table, column: str, path: Path) -> list[str]:
    kind = table.schema.field(column).type
    if pa.types.is_floating(kind):
        raise TableError(
            f"the id column {column!r} holds {kind} values",
            expected="strings or integers",
            fix="write the ids as strings",
            path=path,
        )
    rows: dict[str, int] = {}
    for index, item in enumerate(_strings(table, column, path)):
        if not item or item in rows:
            raise TableError(
                f"the item id {item!r} is repeated" if item else "the item id is empty",
                expected=f"distinct, non-empty ids in column {column!r}",
                fix="remove or rename the row",
                path=path,
                row=row_in_file(path, index),
            )
        rows[item] = index
    if not rows:
        raise TableError("no items", expected="at least one row", fix="add items", path=path)
    return list(rows)


def _strings(table: pa.Table, column: str, path: Path) -> list[str | None]:
    try:
        values: list[str | None] = table[column].cast(pa.string()).to_pylist()
    except pa.ArrowException as error:
        raise TableError(
            f"column {column!r} holds {table.schema.field(column).type} values",
            expected="strings or numbers",
            fix="write the column as strings",
            path=path,
        ) from error
    return values


def _files_by_id(ids: Sequence[str], folder: Path) -> list[str | None]:
    """Look each item up in one listing of the folder, so that no id can name a path outside."""
    if not folder.is_dir():
        raise FeatureError(
            "the image folder does not exist",
            expected="a folder of image files",
            fix="check the path",
            path=folder,
        )
    rank = {suffix: place for place, suffix in enumerate(IMAGE_SUFFIXES)}
    files = [file for file in folder.iterdir() if file.suffix.lower() in rank]
    files.sort(key=lambda file: (rank[file.suffix.lower()], file.name), reverse=True)
    by_id = {file.stem: file.name for file in files}
    return [by_id.get(item) for item in ids]
