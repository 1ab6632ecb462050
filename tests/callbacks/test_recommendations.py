from pathlib import Path

import pyarrow.parquet as pq
import pytest

from slifmr_pl.callbacks.recommendations import SCHEMA, RecommendationWriter
from tests.runs import demo_data, full_model, trainer


def test_lists_are_written_whole_with_raw_ids(catalogue: Path, tmp_path: Path) -> None:
    data, module = demo_data(catalogue, eval_batch_size=40), full_model(top_k=3)
    trainer(tmp_path, 1, RecommendationWriter(str(tmp_path))).predict(module, datamodule=data)
    table = pq.read_table(tmp_path / "recommendations-0.parquet")
    assert table.schema == SCHEMA
    assert table.num_rows == 90 * 3
    assert set(table["user_id"].to_pylist()) == set(data.data.users.ids.to_pylist())
    assert set(table["item_id"].to_pylist()) <= set(data.data.items.ids.to_pylist())


def test_parts_of_an_earlier_prediction_do_not_stay(catalogue: Path, tmp_path: Path) -> None:
    stale = tmp_path / "recommendations-1.parquet"
    stale.write_bytes(b"of another model, by a second process")
    writer = RecommendationWriter(str(tmp_path))
    trainer(tmp_path, 1, writer).predict(full_model(), datamodule=demo_data(catalogue))
    assert [path.name for path in tmp_path.glob("*.parquet")] == ["recommendations-0.parquet"]


def test_interrupted_prediction_leaves_no_file_of_that_name(
    catalogue: Path, tmp_path: Path
) -> None:
    class Broken(RecommendationWriter):
        def write_on_batch_end(self, *arguments: object, **options: object) -> None:
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        trainer(tmp_path, 1, Broken(str(tmp_path))).predict(
            full_model(), datamodule=demo_data(catalogue)
        )
    assert not list(tmp_path.glob("*.parquet"))
