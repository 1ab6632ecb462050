from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slifmr_pl.cli import main
from slifmr_pl.data.formats.layout import LayoutReader
from slifmr_pl.errors import ConfigError, TableError
from tests.data.formats.folders import imported, write

COLUMNS = {"user_column": "who", "item_column": "what", "rating_column": "stars"}
ROWS = [{"user_id": "007", "item_id": "a, b", "rating": 4.0}]
CASES: dict[str, str | bytes] = {
    "x.csv": 'stars,who,what,more\n4,007,"a, b",y\n',
    "x.tsv.gz": "stars\twho\twhat\n4\t007\ta, b\n",
    "x.jsonl": '{"who": "007", "what": "a, b", "stars": 4}\n\n',
}


@pytest.mark.parametrize("file", CASES)
def test_columns_are_mapped(tmp_path: Path, file: str) -> None:
    raw, _ = imported(tmp_path, "table", {file: CASES[file]}, file, **COLUMNS)
    assert raw.interactions.to_pylist() == ROWS


def test_parquet_of_several_row_groups_is_mapped(tmp_path: Path) -> None:
    table = pa.table({"who": [1, 2, 3], "item_id": ["x", "y", "z"], "split": ["train"] * 3})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=1)
    options = ["--user-column", "who"]
    out = tmp_path / "out"
    assert main(["import", "table", str(tmp_path / "x.parquet"), str(out), *options]) == 0
    raw = LayoutReader().read(out)
    assert raw.interactions["user_id"].to_pylist() == ["1", "2", "3"]
    assert raw.interactions["split"].to_pylist() == ["train"] * 3


def test_item_knowledge_and_link_files_come_along(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "x.csv": "who,asin\na,1\n",
        "items.jsonl": '{"asin": "1", "title": "T"}\n{"asin": "2", "year": 1999}\n',
        "kg.tsv": "s\tp\to\ne1\tr\te2\n",
        "links.csv": "asin,e\n1,e1\n",
    }
    write(tmp_path / "source", files)
    flags = ["--user-column", "who", "--item-column", "asin", "--head-column", "s"]
    flags += ["--relation-column", "p", "--tail-column", "o", "--entity-column", "e"]
    for kind, file in (("items", "items.jsonl"), ("kg", "kg.tsv"), ("links", "links.csv")):
        flags += [f"--{kind}", str(tmp_path / "source" / file)]
    source, out = tmp_path / "source" / "x.csv", tmp_path / "out"
    assert main(["import", "table", str(source), str(out), *flags]) == 0
    raw = LayoutReader().read(out)
    assert raw.items is not None
    assert raw.kg is not None
    assert raw.links is not None
    assert raw.items.to_pylist() == [
        {"item_id": "1", "title": "T", "year": ""},
        {"item_id": "2", "title": "", "year": "1999"},
    ]
    assert raw.kg.to_pylist() == [{"head_id": "e1", "relation_id": "r", "tail_id": "e2"}]
    assert raw.links.to_pylist() == [{"item_id": "1", "entity_id": "e1"}]


def test_nested_columns_of_items_are_left_out_and_noted(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "x.csv": "user_id,item_id\na,1\n",
        "items.jsonl": '{"item_id": "1", "tags": ["x"], "title": "T", "size": {"cm": 1}}\n',
    }
    items = tmp_path / "source" / "items.jsonl"
    raw, report = imported(tmp_path, "table", files, "x.csv", items=items)
    assert raw.items is not None
    assert raw.items.to_pylist() == [{"item_id": "1", "title": "T"}]
    assert report.notes == ["items.jsonl: tags, size hold lists or objects and are left out"]


def test_separator_is_for_text_files(tmp_path: Path) -> None:
    interactions = '{"user_id": "a", "item_id": "1"}\n'
    files: dict[str, str | bytes] = {"x.jsonl": interactions, "i.csv": "item_id;t\n1;T\n"}
    with pytest.raises(ConfigError, match="a separator ';', and no file of text"):
        imported(tmp_path, "table", files, "x.jsonl", sep=";")
    items = tmp_path / "source" / "i.csv"
    raw, _ = imported(tmp_path, "table", files, "x.jsonl", sep=";", items=items)
    assert raw.items is not None
    assert raw.items.to_pylist() == [{"item_id": "1", "t": "T"}]


def test_mapped_column_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="column 'stars' is missing"):
        imported(tmp_path, "table", {"x.csv": "who,what\n1,2\n"}, "x.csv", **COLUMNS)
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
