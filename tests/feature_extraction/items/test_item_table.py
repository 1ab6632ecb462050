import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_extraction import FeatureError, Item, TableError
from feature_extraction.items.item_table import ItemTable


def table(tmp_path: Path, text: str, name: str = "items.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def texts(items: ItemTable) -> list[str | None]:
    return [item.text for item in items]


def test_text_columns_are_joined_and_empty_ones_skipped(tmp_path: Path) -> None:
    path = table(tmp_path, "id,title,plot\n007, Hat ,Red\n2,,Blue\n3,Shoe,  \n4,,\n")
    items = ItemTable(path, id_column="id", text_columns=["title", "plot"])
    assert [item.id for item in items] == ["007", "2", "3", "4"]
    assert texts(items) == ["Hat. Red", "Blue", "Shoe", None]


def test_template_puts_columns_into_a_text(tmp_path: Path) -> None:
    path = table(tmp_path, "id,title,a b\n1,<b>Hat</b>,red\n2,,\n3,Shoe,\n")
    items = ItemTable(path, id_column="id", text_template="{title}: {a b} {{x}}")
    assert texts(items) == ["Hat: red {x}", None, "Shoe: {x}"]
    with pytest.raises(FeatureError, match="one of the two"):
        ItemTable(path, id_column="id", text_template="{title}", text_columns=["title"])


@pytest.mark.parametrize("template", ["{title.__class__}", "{0}", "{title!r}", "{title:>9}"])
def test_template_reads_columns_and_no_attributes(tmp_path: Path, template: str) -> None:
    items = ItemTable(table(tmp_path, "id,title\n1,x\n"), id_column="id", text_template=template)
    with pytest.raises(TableError, match="is missing"):
        list(items)


def test_all_formats_give_the_same_items(tmp_path: Path) -> None:
    rows = [{"id": "1", "title": "Häuser & Hüte"}, {"id": "2", "title": None}]
    lines = "\n\n".join(map(json.dumps, rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "items.parquet")
    paths = [
        table(tmp_path, "id\ttitle\n1\tHäuser & Hüte\n2\t\n", "items.tsv"),
        table(tmp_path, 'id,title\n1,"Häuser & Hüte"\n2,\n'),
        table(tmp_path, lines, "items.jsonl"),
        tmp_path / "items.parquet",
    ]
    for path in paths:
        items = ItemTable(path, id_column="id", text_columns=["title"])
        assert list(items) == list(items) == [Item("1", "Häuser & Hüte"), Item("2")]


def test_images_are_found_by_item_id(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.PNG", "a.jpg", "b.c.webp", "d.txt", "e.jpeg"):
        (folder / name).touch()
    (tmp_path / "secret.png").touch()
    path = table(tmp_path, "id\na\nb.c\nd\ne\n../secret\n")
    items = ItemTable(path, id_column="id", images=[folder])
    assert [item.pictures for item in items] == [
        ("a.PNG",),
        ("b.c.webp",),
        (),
        ("e.jpeg",),
        (),
    ]


def test_images_are_named_by_columns(tmp_path: Path) -> None:
    path = table(tmp_path, 'id,front,back\na,x/1.png,2.png\nb,"",3.png\n')
    items = ItemTable(path, id_column="id", images=[tmp_path], image_columns=["front", "back"])
    assert [item.pictures for item in items] == [("x/1.png", "2.png"), ("3.png",)]
    unplaced = ItemTable(path, id_column="id", image_columns=["front"])
    with pytest.raises(TableError, match="there is no folder"):
        list(unplaced)


@pytest.mark.parametrize(
    ("values", "pictures"),
    [
        ([b"x", None], [(b"x",), ()]),
        ([[b"x", b"y"], []], [(b"x", b"y"), ()]),
        ([{"bytes": b"x", "path": "a.png"}, {"bytes": None, "path": None}], [(b"x",), ()]),
    ],
)
def test_parquet_carries_pictures(tmp_path: Path, values: Any, pictures: Any) -> None:
    path = tmp_path / "items.parquet"
    pq.write_table(pa.table({"id": ["a", "b"], "image": values}), path)
    items = ItemTable(path, id_column="id", image_columns=["image"])
    assert [item.pictures for item in items] == pictures


def test_numbers_are_read_as_text(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    pq.write_table(pa.table({"id": [3, 1], "year": [1995, None], "title": [None, "Hat"]}), path)
    items = ItemTable(path, id_column="id", text_columns=["title", "year"])
    assert list(items) == [Item("3", "1995"), Item("1", "Hat")]


@pytest.mark.parametrize(
    ("rows", "message", "row"),
    [
        ('{"id": "a"}\n{"id": "b", "t": ["x"]}\n', "holds a list", 2),
        ('{"id": 1.0}\n', "is a float", 1),
        ('{"id": true}\n', "is a bool", 1),
        ('{"id": "a", "t": "\\ud800"}\n', "surrogate", 1),
        ('{"id": "a", "p": 3}\n', "'p' holds a int", 1),
        ('{"id": "a"}\n["b"]\n', "holds no object", 2),
        ('{"id": "a"}\n{"id":\n', "the line cannot be read", 2),
        ('{"id": "a"}\n\xff\n', "0xff is not UTF-8", 2),
        ("[" * 100_000 + "\n", "the line cannot be read", 1),
        ('{"id": "a", "p": "x.png"}\n', "column 't' is missing", None),
        ('{"id": "a"}\n\n{"id": "a"}\n', "repeated", 3),
        ('{"t": "x"}\n', "id is empty", 1),
    ],
)
def test_bad_json_line_is_named_with_its_row(
    tmp_path: Path, rows: str, message: str, row: int | None
) -> None:
    path = tmp_path / "items.jsonl"
    path.write_bytes(rows.encode("latin1"))
    items = ItemTable(
        path, id_column="id", text_columns=["t"], image_columns=["p"], images=[tmp_path]
    )
    with pytest.raises(TableError, match=message) as caught:
        list(items)
    assert caught.value.row == row


@pytest.mark.parametrize(
    ("rows", "message", "row"),
    [("id\na\nb\na\n", "repeated", 4), ("id,t\na,\n,x\n", "empty", 3), ("id,t\na\n", "1 field", 2)],
)
def test_bad_row_is_named_with_its_line(tmp_path: Path, rows: str, message: str, row: int) -> None:
    with pytest.raises(TableError, match=message) as caught:
        list(ItemTable(table(tmp_path, rows), id_column="id"))
    assert caught.value.row == row


def test_damaged_parquet_and_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    pq.write_table(pa.table({"id": [str(row) for row in range(9)]}), path)
    path.write_bytes(path.read_bytes()[:-20])
    latin = tmp_path / "latin.csv"
    latin.write_bytes(b"id,t\n1,x\n2,caf\xe9\n")
    for damaged, message in ((path, "Parquet"), (latin, "not UTF-8")):
        with pytest.raises(TableError, match=message):
            list(ItemTable(damaged, id_column="id"))


def test_table_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no items"):
        list(ItemTable(table(tmp_path, "id\n"), id_column="id"))


def test_absent_image_folder_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path, "id\na\n")
    for images in ([tmp_path / "absent"], [tmp_path, tmp_path]):
        with pytest.raises(FeatureError, match="image folder"):
            ItemTable(path, id_column="id", images=images)
