import datetime
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_extraction.errors import TableError
from slifmr_pl.data.canonical import RawData
from slifmr_pl.data.formats.data_folder import read
from slifmr_pl.data.formats.recbole import RecBoleReader
from slifmr_pl.errors import DataError

INTERACTIONS = "user_id,item_id,rating,timestamp,extra\n007,1,4,10,x\n8,2,5.5,11,y\n"
RECBOLE = {
    "toy.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n007\t1\t4\t10\n",
    "toy.item": 'item_id:token\ttitle:token_seq\n1\t"A\n',
    "toy.kg": "head_id:token\trelation_id:token\ttail_id:token\nm.1\tr\tm.2\n",
    "toy.link": "item_id:token\tentity_id:token\n1\tm.1\n",
}


def folder(root: Path, **files: str) -> Path:
    for name, text in files.items():
        (root / name).write_text(text)
    return root


def test_layout_of_three_suffixes_is_read(tmp_path: Path) -> None:
    folder(
        tmp_path,
        **{
            "interactions.csv": INTERACTIONS,
            "kg.tsv": "head_id\trelation_id\ttail_id\nm.1\tr\tm.2\n",
            "links.csv": "item_id,entity_id\n1,m.1\n",
        },
    )
    items = pa.table({"item_id": [1, 2], "title": ["A", None], "year": [1999, 2000]})
    pq.write_table(items, tmp_path / "items.parquet")
    raw = read(tmp_path)
    assert raw.interactions.to_pylist() == [
        {"user_id": "007", "item_id": "1", "rating": 4.0, "timestamp": 10.0},
        {"user_id": "8", "item_id": "2", "rating": 5.5, "timestamp": 11.0},
    ]
    assert raw.items is not None
    assert raw.items.to_pylist() == [
        {"item_id": "1", "title": "A", "year": "1999"},
        {"item_id": "2", "title": "", "year": "2000"},
    ]
    assert raw.kg is not None
    assert raw.kg.to_pylist() == [{"head_id": "m.1", "relation_id": "r", "tail_id": "m.2"}]
    assert raw.links is not None
    assert raw.links.to_pylist() == [{"item_id": "1", "entity_id": "m.1"}]


def test_recbole_folder_is_read(tmp_path: Path) -> None:
    raw = read(folder(tmp_path, **RECBOLE))
    assert raw.interactions.to_pylist() == [
        {"user_id": "007", "item_id": "1", "rating": 4.0, "timestamp": 10.0}
    ]
    assert raw.items is not None
    assert raw.items.to_pylist() == [{"item_id": "1", "title": '"A'}]
    assert raw.kg is not None
    assert raw.links is not None


def test_only_interactions_are_required(tmp_path: Path) -> None:
    raw = read(folder(tmp_path, **{"interactions.csv": "user_id,item_id\na,b\n"}))
    assert (raw.items, raw.kg, raw.links) == (None, None, None)
    assert raw.interactions.column_names == ["user_id", "item_id"]


@pytest.mark.parametrize(
    ("column", "values"),
    [("split", ["train", "val", "validation", "valid", "test"]), ("x_label", [0, 1, 1, 1, 2])],
)
def test_given_split_is_read(tmp_path: Path, column: str, values: list[object]) -> None:
    rows = "".join(f"{i},1,{value}\n" for i, value in enumerate(values))
    raw = read(folder(tmp_path, **{"interactions.csv": f"user_id,item_id,{column}\n{rows}"}))
    assert raw.interactions["split"].to_pylist() == ["train", "valid", "valid", "valid", "test"]


def test_parquet_categories_integers_and_times_are_read(tmp_path: Path) -> None:
    moment = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    table = pa.table(
        {
            "user_id": pa.array(["a", "b"]).dictionary_encode(),
            "item_id": pa.array([1, 2], pa.int32()),
            "timestamp": pa.array([moment, moment], pa.timestamp("ns", tz="UTC")),
        }
    )
    pq.write_table(table, tmp_path / "interactions.parquet")
    assert read(tmp_path).interactions.to_pylist() == [
        {"user_id": "a", "item_id": "1", "timestamp": moment.timestamp()},
        {"user_id": "b", "item_id": "2", "timestamp": moment.timestamp()},
    ]


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ("a,b,four,1", "rating is 'four'"),
        ("a,b,,1", "rating is ''"),
        ("a,b,4,nan", "timestamp is 'nan'"),
        ("a,b,inf,1", "rating is 'inf'"),
        (",b,4,1", "user_id is empty"),
        ("a,  ,4,1", "item_id is empty"),
    ],
)
def test_bad_value_names_its_line(tmp_path: Path, row: str, found: str) -> None:
    good = "u,i,1,1\n" * 5
    text = f"user_id,item_id,rating,timestamp\n{good}\n{row}\n{good}{row}\n"
    path = folder(tmp_path, **{"interactions.csv": text}) / "interactions.csv"
    with pytest.raises(DataError, match=found) as caught:
        read(tmp_path)
    assert (caught.value.path, caught.value.row) == (path, 8)


def test_missing_parquet_number_names_its_row(tmp_path: Path) -> None:
    table = pa.table({"user_id": ["a", "b"], "item_id": ["1", "2"], "rating": [1.0, None]})
    pq.write_table(table, tmp_path / "interactions.parquet")
    with pytest.raises(DataError, match="rating is None") as caught:
        read(tmp_path)
    assert caught.value.row == 2


def test_nested_item_column_is_an_error(tmp_path: Path) -> None:
    folder(tmp_path, **{"interactions.csv": INTERACTIONS})
    pq.write_table(pa.table({"item_id": ["1"], "box": [{"x": 1}]}), tmp_path / "items.parquet")
    with pytest.raises(DataError, match="column 'box' holds struct"):
        read(tmp_path)


def test_missing_folder_names_its_siblings(tmp_path: Path) -> None:
    (tmp_path / "ml-100k").mkdir()
    (tmp_path / "books").mkdir()
    with pytest.raises(DataError, match="does not exist") as caught:
        read(tmp_path / "ml100k")
    assert caught.value.expected.endswith("books, ml-100k")
    assert caught.value.fix == "did you mean 'ml-100k'?"


def test_file_in_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(DataError, match="this is a file"):
        read(tmp_path / "data")


@pytest.mark.parametrize("reader", [RecBoleReader().read, lambda root: read(root, "layout")])
def test_named_format_needs_its_files(tmp_path: Path, reader: Callable[[Path], RawData]) -> None:
    with pytest.raises(DataError, match="the folder is empty"):
        reader(tmp_path)


def test_recbole_data_set_is_chosen_by_name(tmp_path: Path) -> None:
    folder(tmp_path, **RECBOLE, **{"b.inter": "user_id:token\titem_id:token\nx\ty\n"})
    assert RecBoleReader("b").read(tmp_path).interactions["user_id"].to_pylist() == ["x"]
    with pytest.raises(DataError, match=r"c.inter does not exist"):
        read(tmp_path, RecBoleReader("c"))


@pytest.mark.parametrize(
    ("texts", "seconds"),
    [
        (["2020-09-13T12:00:00Z", "2020-09-13T14:00:00+02:00"], [1.6e9 - 1600, 1.6e9 - 1600]),
        (["2020-09-13 12:00:00", "2020-09-13"], [1.6e9 - 1600, 1.6e9 - 44800]),
        (["1600000000", "1.5"], [1.6e9, 1.5]),
    ],
)
def test_times_are_seconds_or_iso_8601(
    tmp_path: Path, texts: list[str], seconds: list[float]
) -> None:
    rows = "".join(f"{user},1,{text}\n" for user, text in enumerate(texts))
    (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\n" + rows)
    assert read(tmp_path, "auto").interactions["timestamp"].to_pylist() == seconds


@pytest.mark.parametrize("mark", [";", "|"])
def test_another_separator_is_named(tmp_path: Path, mark: str) -> None:
    (tmp_path / "interactions.csv").write_text(f"user_id{mark}item_id\na{mark}1\n")
    with pytest.raises(TableError, match=f"separated by '[{mark}]'"):
        read(tmp_path, "auto")
