from collections.abc import Callable
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from slifmr_pl.data.formats.frames import raw_data
from slifmr_pl.datamodule import SlifMrDataModule
from slifmr_pl.errors import DataError

KINDS: dict[str, Callable[[dict[str, list[Any]]], Any]] = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "pyarrow": pa.table,
}
COLUMNS: dict[str, list[Any]] = {
    "user_id": ["007", "a", "a"],
    "item_id": [1, 2, 1],
    "rating": [4.0, 5.0, 1.5],
}


@pytest.mark.parametrize("kind", KINDS)
def test_frame_of_any_kind_is_taken(kind: str) -> None:
    raw = raw_data(KINDS[kind](COLUMNS), items=KINDS[kind]({"item_id": [1], "title": ["T"]}))
    assert raw.interactions.to_pydict() == {**COLUMNS, "item_id": ["1", "2", "1"]}
    assert raw.items is not None
    assert raw.items.to_pylist() == [{"item_id": "1", "title": "T"}]


def test_index_of_pandas_is_left_out() -> None:
    items = pd.DataFrame({"item_id": ["a", "b"]}, index=["x", "y"])
    raw = raw_data(pd.DataFrame(COLUMNS), items=items)
    assert raw.items is not None
    assert raw.items.column_names == ["item_id"]


def test_data_module_takes_frames() -> None:
    rows = [(f"u{u}", f"i{i}") for u in range(8) for i in range(6) if (u + i) % 2]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")
    module = SlifMrDataModule.from_frames(frame, batch_size=4)
    assert (len(module.data.users), len(module.data.items)) == (8, 6)
    assert module.model_inputs.graph.n_users == 8


@pytest.mark.parametrize(
    ("frame", "found"),
    [
        ([1, 2], "list is no table"),
        (pd.DataFrame({"user_id": ["a", 1], "item_id": ["x", "y"]}), "DataFrame is no table"),
        (pd.DataFrame({"user_id": ["a", None], "item_id": ["x", "y"]}), "row 2: user_id is empty"),
        (pl.DataFrame({"user_id": [1.0], "item_id": ["x"]}), "id column 'user_id' holds double"),
        (
            pl.DataFrame({"user_id": [], "item_id": []}, schema_overrides={"user_id": pl.String}),
            "no",
        ),
    ],
)
def test_bad_frame_is_an_error(frame: Any, found: str) -> None:
    with pytest.raises(DataError, match=found):
        raw_data(frame)
