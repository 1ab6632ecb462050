from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_extraction import FeatureError, TableError
from feature_extraction.items import read_items


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "items.csv"
    path.write_text(text)
    return path


def test_text_columns_are_joined_and_empty_ones_skipped(tmp_path: Path) -> None:
    path = table(tmp_path, "id,title,plot\n007, Hat ,Red\n2,,Blue\n3,Shoe,  \n4,,\n")
    inputs = read_items(path, id_column="id", text_columns=["title", "plot"])
    assert inputs.ids == ["007", "2", "3", "4"]
    assert inputs.texts == ["Hat. Red", "Blue", "Shoe", None]
    assert inputs.images is None


def test_images_are_found_by_item_id(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.PNG", "a.jpg", "b.c.webp", "d.txt", "e.jpeg"):
        (folder / name).touch()
    (tmp_path / "secret.png").touch()
    path = table(tmp_path, "id\na\nb.c\nd\ne\n../secret\n")
    inputs = read_items(path, id_column="id", image_folder=folder)
    assert inputs.images == ["a.PNG", "b.c.webp", None, "e.jpeg", None]


def test_images_are_named_by_a_column(tmp_path: Path) -> None:
    path = table(tmp_path, 'id,file\na,x/1.png\nb,""\n')
    inputs = read_items(path, id_column="id", image_folder=tmp_path, image_column="file")
    assert inputs.present_images() == {0: "x/1.png"}
    assert inputs.image_root == tmp_path


def test_parquet_integers_and_nulls_are_read(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    pq.write_table(pa.table({"id": [3, 1], "year": [1995, None], "title": [None, "Hat"]}), path)
    inputs = read_items(path, id_column="id", text_columns=["title", "year"])
    assert (inputs.ids, inputs.texts) == (["3", "1"], ["1995", "Hat"])


@pytest.mark.parametrize(("column", "found"), [("id", "double"), ("tags", "list")])
def test_columns_of_other_types_are_refused(tmp_path: Path, column: str, found: str) -> None:
    path = tmp_path / "items.parquet"
    pq.write_table(pa.table({"id": [1.0], "tags": [["a"]]}), path)
    with pytest.raises(TableError, match=found):
        read_items(path, id_column=column)


@pytest.mark.parametrize(
    ("rows", "message", "row"),
    [("a\nb\na\n", "repeated", 4), ("a,\n,x\n", "empty", 3)],
)
def test_bad_id_is_named_with_its_row(tmp_path: Path, rows: str, message: str, row: int) -> None:
    header = "id,t\n" if "," in rows else "id\n"
    with pytest.raises(TableError, match=message) as caught:
        read_items(table(tmp_path, header + rows), id_column="id")
    assert caught.value.row == row


def test_table_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no items"):
        read_items(table(tmp_path, "id\n"), id_column="id")


def test_absent_image_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="image folder"):
        read_items(table(tmp_path, "id\na\n"), id_column="id", image_folder=tmp_path / "absent")
