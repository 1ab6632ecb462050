"""Files that begin with a row: recognised, and read with the names that are given."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from feature_extraction.tables.missing_columns import require_columns
from slifmr_pl.cli import main
from slifmr_pl.data.formats import frames
from slifmr_pl.data.formats.data_folder import read
from slifmr_pl.data.formats.layout import LayoutReader
from slifmr_pl.data.formats.table import TableReader
from slifmr_pl.errors import ConfigError, TableError, UserFacingError
from tests.data.formats.folders import imported, write

PLAIN = "user_id,item_id,rating\nu1,a,5\nu2,b,4\n"
FILES: dict[str, str | bytes] = {
    "r.csv": "u1,10,5\nu2,11,4\n",
    "i.tsv": "10\tTen\n11\tEleven\n",
    "k.csv": "e1,genre,g1\ne2,genre,g1\n",
    "l.csv": "10,e1\n11,e2\n",
}
OPTIONS = {
    "items": "i.tsv",
    "kg": "k.csv",
    "links": "l.csv",
    "no_header": True,
    "columns": "user,item,rating",
    "items_columns": "item,title",
    "kg_columns": "head,relation,tail",
    "links_columns": "item,entity",
}


@pytest.mark.parametrize("names", ["user,item,rating,time", "user_id,item_id,rating,timestamp"])
def test_file_without_a_header_is_read(tmp_path: Path, names: str) -> None:
    rows = "A1,0000031852,5.0,1370304000\nA2,B001,1.0,1370304001\n"
    source, out = write(tmp_path / "source", {"r.csv": rows}) / "r.csv", tmp_path / "out"
    flags = ["--no-header", "--columns", names]
    assert main(["import", "table", str(source), str(out), *flags]) == 0
    assert LayoutReader().read(out).interactions.to_pylist() == [
        {"user_id": "A1", "item_id": "0000031852", "rating": 5.0, "timestamp": 1370304000.0},
        {"user_id": "A2", "item_id": "B001", "rating": 1.0, "timestamp": 1370304001.0},
    ]


def test_rows_without_a_header_are_counted_from_the_first_line(tmp_path: Path) -> None:
    options = {"no_header": True, "columns": "user,item,stars", "rating_column": "stars"}
    with pytest.raises(UserFacingError, match="rating is 'x'") as caught:
        imported(tmp_path, "table", {"r.csv": "a,1,5\nb,2,x\n"}, "r.csv", **options)
    assert caught.value.row == 2
    with pytest.raises(UserFacingError, match="2 fields: 'a,1'"):
        imported(tmp_path, "table", {"r.csv": "a,1\nb,2\n"}, "r.csv", **options)
    with pytest.raises(UserFacingError, match="no_header without columns"):
        imported(tmp_path, "table", {"r.csv": "a,1\n"}, "r.csv", no_header=True)


def test_no_table_needs_a_header(tmp_path: Path) -> None:
    source = write(tmp_path / "source", FILES)
    flags = []
    for name, value in OPTIONS.items():
        value = source / str(value) if name in ("items", "kg", "links") else value
        flags += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    assert main(["import", "table", str(source / "r.csv"), str(tmp_path / "out"), *flags]) == 0
    raw = LayoutReader().read(tmp_path / "out")
    assert raw.interactions["rating"].to_pylist() == [5.0, 4.0]
    tables = [raw.items, raw.kg, raw.links]
    assert [None if table is None else table.to_pylist()[1] for table in tables] == [
        {"item_id": "11", "title": "Eleven"},
        {"head_id": "e2", "relation_id": "genre", "tail_id": "g1"},
        {"item_id": "11", "entity_id": "e2"},
    ]


def test_folder_of_files_without_headers_is_inspected_and_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"u{n % 5},{10 + n % 2 + 2 * (n % 3)},5\n" for n in range(30))
    items = "".join(f"{item}\tTitle {item}\n" for item in range(10, 16))
    source = write(tmp_path / "source", {**FILES, "r.csv": rows, "i.tsv": items})
    options = {**OPTIONS, "interactions": "r.csv"}
    data = {"root": str(source), "format": {"class_path": "TableReader", "init_args": options}}
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump({"data": data}))
    out = ["--out", str(tmp_path / "inspection")]
    assert main(["inspect", str(source), "--config", str(config), *out]) == 0
    assert "30 interactions read, 30 kept\nratings: 5 (100%)" in capsys.readouterr().out
    assert main(["export-data", "recbole", str(config), str(tmp_path / "mine")]) == 0
    links = (tmp_path / "mine" / "mine.link").read_text().splitlines()
    assert links[0] == "item_id:token\tentity_id:token"
    assert len(links) == 3


@pytest.mark.parametrize(
    ("kind", "name", "column", "option"),
    [
        ("items", "i.tsv", "item_id", "--items-columns item,title"),
        ("kg", "k.csv", "head_id", "--kg-columns head,relation,tail"),
        ("links", "l.csv", "item_id", "--links-columns item,entity"),
    ],
)
def test_table_without_a_header_names_its_option(
    tmp_path: Path, kind: str, name: str, column: str, option: str
) -> None:
    files = {**FILES, "r.csv": PLAIN}
    path = tmp_path / "source" / name
    with pytest.raises(UserFacingError, match=f"column '{column}' is missing") as caught:
        imported(tmp_path, "table", files, "r.csv", **{kind: path})
    assert option in caught.value.fix
    suffix = path.suffix
    folder = write(tmp_path / "folder", {"interactions.csv": PLAIN, f"{kind}{suffix}": files[name]})
    with pytest.raises(UserFacingError, match=f"column '{column}' is missing") as caught:
        read(folder)
    assert f"`slifmr import table` {option}" in caught.value.fix


def test_iris_in_the_first_line_are_a_row(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "r.csv": PLAIN,
        "kg.tsv": "http://x/a\thttp://x/r\thttp://x/b\n",
    }
    with pytest.raises(UserFacingError, match="is missing") as caught:
        imported(tmp_path, "table", files, "r.csv", kg=tmp_path / "source" / "kg.tsv")
    assert caught.value.fix == (
        "the first line seems to be a row and no header: add one, or give "
        "--kg-columns head,relation,tail"
    )


def test_bad_row_of_another_table_is_counted_from_the_first_line(tmp_path: Path) -> None:
    files = {**FILES, "r.csv": PLAIN, "l.csv": "10,e1\n11,\n"}
    options = {"links": tmp_path / "source" / "l.csv", "links_columns": "item,entity"}
    with pytest.raises(UserFacingError, match="entity_id is empty") as caught:
        imported(tmp_path, "table", files, "r.csv", **options)
    assert caught.value.row == 2


@pytest.mark.parametrize("name", ["kg.parquet", "kg.jsonl"])
def test_names_for_a_file_that_has_them_are_refused(tmp_path: Path, name: str) -> None:
    kg = write(tmp_path / "source", {"kg.jsonl": '{"head_id": "a"}\n'}) / name
    if name == "kg.parquet":
        pq.write_table(pa.table({"head_id": ["a"]}), kg)
    options: dict[str, Any] = {"kg": kg, "kg_columns": "head,relation,tail"}
    with pytest.raises(TableError, match="names of columns for a file that has them"):
        imported(tmp_path, "table", {"r.csv": PLAIN}, "r.csv", **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kg_columns": "head,relation,tail"}, "kg_columns without kg"),
        ({"links_columns": "item,entity"}, "links_columns without links"),
        ({"items_columns": "item"}, "items_columns without items"),
        ({"head_column": "s", "tail_column": "o"}, "head_column, tail_column without kg"),
        ({"entity_column": "e"}, "entity_column without links"),
    ],
)
def test_options_about_files_that_are_not_given_are_refused(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        TableReader(**options)


def test_numbers_are_names_where_a_file_always_has_names() -> None:
    for name in ("x.parquet", "x.arrow", "x.jsonl", "x.json.gz"):
        with pytest.raises(TableError) as caught:
            require_columns(["0", "1"], ["item_id"], Path(name))
        assert caught.value.fix == "add the column 'item_id'"
    with pytest.raises(TableError, match="seems to be a row and no header"):
        require_columns(["0", "1"], ["item_id"], Path("x.csv.gz"))


def test_nearest_name_is_none_that_is_needed_itself() -> None:
    with pytest.raises(TableError) as caught:
        require_columns(["user_id", "venue_id"], ["user_id", "item_id"], Path("x.csv"))
    assert caught.value.fix == "rename 'venue_id' to 'item_id'"


def test_frame_without_a_column_is_told_to_rename_it() -> None:
    with pytest.raises(TableError, match="'user_id' is missing") as caught:
        frames.raw_data(pa.table({"customer": ["a"], "item_id": ["1"]}))
    assert caught.value.fix == "rename 'customer' to 'user_id'"
