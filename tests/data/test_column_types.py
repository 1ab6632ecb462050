"""All columns, with values of types that they are not made for: taken, or refused in words."""

import datetime
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from slifmr_pl.data.canonical import INTERACTION_COLUMNS, REQUIRED, Kind, canonical
from slifmr_pl.data.formats import frames
from slifmr_pl.data.table_columns import FileRows, whole_numbers
from slifmr_pl.datamodule import SlifMrDataModule
from slifmr_pl.errors import DataError, UserFacingError

DAY = datetime.date(2024, 1, 1)
TYPES: dict[str, pa.Array] = {
    "date32": pa.array([DAY]),
    "date64": pa.array([DAY], pa.date64()),
    "duration": pa.array([datetime.timedelta(seconds=1)]),
    "time32": pa.array([datetime.time(1)], pa.time32("ms")),
    "time64": pa.array([datetime.time(1)]),
    "timestamp": pa.array([datetime.datetime(2024, 1, 1)]),
    "list": pa.array([[1]]),
    "fixed list": pa.array([[1]], pa.list_(pa.int64(), 1)),
    "struct": pa.array([{"$date": "2024-01-01"}]),
    "map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
    "bool": pa.array([True]),
    "null": pa.nulls(1),
    "binary": pa.array([b"\xff"]),
    "decimal": pa.array([Decimal("1.50")]),
    "decimal256": pa.array([Decimal("1.50")], pa.decimal256(50, 10)),
    "half": pa.array(np.array([1.5], np.float16)),
    "string view": pa.array(["1"], pa.string_view()),
    "large string": pa.array(["1"], pa.large_string()),
    "category": pa.array(["1"]).dictionary_encode(),
    "category of views": pa.DictionaryArray.from_arrays(
        pa.array([0], pa.uint32()), pa.array(["1"], pa.string_view())
    ),
    "category of floats": pa.array([1.0]).dictionary_encode(),
    "category of booleans": pa.array([True]).dictionary_encode(),
    "category of lists": pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), pa.array([[1]])),
    "runs": pa.RunEndEncodedArray.from_arrays([1], ["1"]),
    "union": pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array(["1"])]),
    "interval": pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
    "large list": pa.array([[1]], pa.large_list(pa.int64())),
    "binary view": pa.array([b"\xff"], pa.binary_view()),
    "uuid": pa.array([b"a" * 16], pa.uuid()),
    "tensor": pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.int32(), [2]), pa.array([[1, 2]], pa.list_(pa.int32(), 2))
    ),
    "category of times": pa.array([DAY]).dictionary_encode(),
    "empty category": pa.DictionaryArray.from_arrays(
        pa.array([None], pa.int8()), pa.array([], pa.string())
    ),
}
TABLES: dict[Kind, dict[str, str]] = {
    "interactions": {
        "user_id": "a",
        "item_id": "1",
        "rating": "1",
        "timestamp": "1",
        "split": "test",
    },
    "items": {"item_id": "1", "title": "t"},
    "kg": {"head_id": "a", "relation_id": "r", "tail_id": "b"},
    "links": {"item_id": "1", "entity_id": "e"},
}
COLUMNS = [(kind, name) for kind, columns in TABLES.items() for name in columns]
COLUMNS.append(("interactions", "x_label"))  # in place of split


@pytest.mark.parametrize("kind_of_value", TYPES)
@pytest.mark.parametrize(("kind", "name"), COLUMNS)
def test_every_column_takes_a_type_or_refuses_it_in_words(
    kind: Kind, name: str, kind_of_value: str
) -> None:
    columns: dict[str, Any] = {key: [value] for key, value in TABLES[kind].items()}
    columns[name] = TYPES[kind_of_value]
    if name == "x_label":
        del columns["split"]
    place = FileRows(Path("x.parquet"))
    table, said = None, ("", "", "")
    try:
        table = canonical(kind, pa.table(columns), place)
    except UserFacingError as error:
        said = error.found, error.expected, error.fix
    if table is None:
        assert name in said[0]
        assert all(said)
    else:
        number = name in ("rating", "timestamp")
        read = table["split" if name == "x_label" else name]
        assert read.type == (pa.float64() if number else pa.string())
        assert read.null_count == 0


def test_every_column_that_is_read_is_among_them() -> None:
    assert {name for kind, name in COLUMNS if kind == "interactions"} == {
        *INTERACTION_COLUMNS,
        "x_label",
    }
    for kind, required in REQUIRED.items():
        assert set(required) <= {name for one, name in COLUMNS if one == kind}


def one(name: str, values: Any) -> list[Any]:
    rows = len(values)
    table = pa.table({"user_id": ["a"] * rows, "item_id": ["1"] * rows, name: values})
    return canonical("interactions", table, FileRows(Path("x.parquet")))[name].to_pylist()


@pytest.mark.parametrize(
    ("name", "type", "said"),
    [
        ("rating", "date32", "the column 'rating' holds date32[day]"),
        ("rating", "duration", "the column 'rating' holds duration[us]"),
        ("timestamp", "duration", "the column 'timestamp' holds duration[us]"),
        ("timestamp", "time32", "the column 'timestamp' holds time32[ms]"),
        ("timestamp", "list", "the column 'timestamp' holds list<"),
        ("timestamp", "struct", "the column 'timestamp' holds struct<$date: string>"),
        ("timestamp", "bool", "the column 'timestamp' holds bool"),
        ("timestamp", "category of booleans", "the column 'timestamp' holds bool"),
    ],
)
def test_type_that_is_no_number_or_time_is_named(name: str, type: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        one(name, TYPES[type])
    assert said in caught.value.found


def test_dates_and_categories_are_times_and_numbers() -> None:
    assert one("timestamp", TYPES["date32"]) == [1704067200.0]
    assert one("timestamp", pa.array(["2024-01-01"]).dictionary_encode()) == [1704067200.0]
    assert one("rating", TYPES["category of views"]) == [1.0]
    assert one("rating", TYPES["runs"]) == [1.0]
    assert one("rating", TYPES["decimal256"]) == [1.5]


def test_times_with_and_without_offsets_are_read_each_as_it_is() -> None:
    texts = [
        "2023-01-05 10:00:00",
        "2023-01-05T10:00:00Z",
        "2023-01-05T10:00:00+02:00",
        "2023-01-05 10:00:00.5-0500",
        "2023-01-05 10:00:00 UTC",
        "2023-01-05",
    ]
    ten = 1672912800.0
    assert one("timestamp", texts) == [ten, ten, ten - 7200, ten + 18000.5, ten, ten - 36000]


def test_numbers_among_times_are_told_from_what_is_no_time() -> None:
    with pytest.raises(DataError) as caught:
        one("timestamp", ["1688321696", "2023-01-05"])
    assert caught.value.found == "timestamp is '2023-01-05', and '1688321696' in the first row"
    assert caught.value.row == 2
    with pytest.raises(DataError, match="'06/02/2014', which is no number or ISO 8601 time"):
        one("timestamp", ["2014-06-01", "06/02/2014"])


@pytest.mark.parametrize(
    ("ids", "whole"),
    [([1.0, 2.0], True), ([1.0, None], True), ([1.5, 2.0], False), ([2.0**60, 1.0], False)],
)
def test_whole_ids_are_offered_where_they_help(ids: list[float], whole: bool) -> None:
    table = pa.table({"user_id": pa.array(ids, pa.float64()), "item_id": ["1", "2"]})
    with pytest.raises(DataError, match="'user_id' holds double") as caught:
        canonical("interactions", table, FileRows(Path("x.parquet")))
    assert ("--whole-ids" in caught.value.fix) is whole
    assert pa.types.is_string(whole_numbers(table["user_id"]).type) is whole


def test_numbers_of_parts_are_told_their_column() -> None:
    with pytest.raises(DataError, match="split is '0'") as caught:
        one("split", [0, 1])
    assert caught.value.fix == "call the column x_label, where 0, 1, 2 are train, valid, test"
    table = pa.table({"user_id": ["a"], "item_id": ["1"], "x_label": [2]})
    read = canonical("interactions", table, FileRows(Path("x.parquet")))
    assert read["split"].to_pylist() == ["test"]


def test_time_that_is_not_finite_is_told_what_is_one() -> None:
    with pytest.raises(DataError, match="timestamp is None") as caught:
        one("timestamp", [1.0, None])
    assert caught.value.expected == "a finite number or ISO 8601 time in every row"


def test_decimal_comma_is_named() -> None:
    with pytest.raises(DataError, match="rating is '4,5'") as caught:
        one("rating", ["3", "4,5"])
    assert caught.value.fix == "write a point in place of the comma: 4.5"


def test_categories_of_polars_and_pandas_and_uuids_are_taken() -> None:
    users = [uuid.UUID(int=n) for n in (1, 2)]
    frame = pl.DataFrame({"user_id": ["a", "b"], "item_id": ["1", "2"]})
    category = frame.with_columns(pl.col("user_id").cast(pl.Categorical))
    enum = frame.with_columns(pl.col("item_id").cast(pl.Enum(["1", "2"])))
    for one_of_them in (category, enum, frame.to_pandas().astype("category")):
        rows = frames.raw_data(one_of_them).interactions
        assert rows.to_pylist() == frame.to_dicts()
    texts = pd.DataFrame({"user_id": users, "item_id": ["1", "2"]})
    found = frames.raw_data(texts).interactions["user_id"].to_pylist()
    assert found == [str(user) for user in users]


def test_bytes_of_fixed_length_are_no_text() -> None:
    table = pa.table({"user_id": pa.array([b"a" * 16], pa.binary(16)), "item_id": ["1"]})
    with pytest.raises(DataError, match=r"'user_id' holds fixed_size_binary\[16\]"):
        frames.raw_data(table)


def test_lazy_frame_is_told_to_collect() -> None:
    lazy = pl.LazyFrame({"user_id": ["a"], "item_id": ["1"]})
    with pytest.raises(DataError, match="has not computed its rows") as caught:
        SlifMrDataModule.from_frames(lazy)
    assert caught.value.fix == "give what .collect() returns"
