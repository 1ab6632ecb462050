import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slifmr_pl.callbacks.per_user import PerUserWriter
from slifmr_pl.callbacks.results import ResultTable
from tests.metrics.measured import ACCURACY
from tests.tiny_runs import demo_data, full_model, trainer


def test_means_of_the_users_are_the_reported_metrics(catalogue: Path, tmp_path: Path) -> None:
    data = demo_data(catalogue, eval_batch_size=40)
    callbacks = ResultTable(), PerUserWriter()
    trainer(tmp_path, 1, *callbacks).test(full_model(), datamodule=data, verbose=False)
    table = pq.read_table(tmp_path / "per_user.parquet")
    assert table.column_names == [
        "user_id",
        "n_relevant",
        *(f"{name}@{k}" for name in ACCURACY for k in (5, 20)),
    ]
    assert {str(column.type) for column in table.columns[2:]} == {"double"}
    reported = json.loads((tmp_path / "test.json").read_text())["metrics"]
    for name in table.column_names[2:]:
        assert np.mean(table[name]) == pytest.approx(reported[f"test/{name}"], rel=1e-12)
    # Every user who has test items, once, in the order of the ids.
    counts = np.bincount(data.data.test.users, minlength=90)
    assert table["user_id"].to_pylist() == data.data.users.decode(counts.nonzero()[0])
    assert table["n_relevant"].to_pylist() == counts[counts > 0].tolist()


@pytest.mark.parametrize("eval_batch_size", [1, 1000])
def test_file_does_not_depend_on_the_batches(
    catalogue: Path, tmp_path: Path, eval_batch_size: int
) -> None:
    tables = []
    for size in (7, eval_batch_size):
        folder = tmp_path / str(size)
        data = demo_data(catalogue, eval_batch_size=size)
        trainer(folder, 1, PerUserWriter()).test(full_model(), datamodule=data, verbose=False)
        tables.append(pq.read_table(folder / "per_user.parquet"))
    assert tables[0].equals(tables[1])


def test_validation_writes_on_request_and_not_inside_fit(catalogue: Path, tmp_path: Path) -> None:
    writer = PerUserWriter(test=False, validate=True)
    data, module = demo_data(catalogue), full_model()
    run = trainer(tmp_path, 1, writer)
    run.fit(module, datamodule=data)
    run.test(module, datamodule=data, verbose=False)
    assert not list(tmp_path.glob("*.parquet"))
    run.validate(module, datamodule=data, verbose=False)
    (path,) = tmp_path.glob("*.parquet")
    assert path.name == "per_user-val.parquet"
    users = np.unique(data.data.valid.users)
    assert pq.read_table(path)["user_id"].to_pylist() == data.data.users.decode(users)


def test_interrupted_writing_leaves_what_was_there(
    catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pa.table({"user_id": ["of an earlier test"]})
    pq.write_table(before, tmp_path / "per_user.parquet")

    def broken(table: pa.Table, path: Path) -> None:
        path.write_bytes(b"half a file")
        raise OSError("no space left on device")

    monkeypatch.setattr(pq, "write_table", broken)
    with pytest.raises(OSError, match="no space"):
        trainer(tmp_path, 1, PerUserWriter()).test(full_model(), datamodule=demo_data(catalogue))
    monkeypatch.undo()
    assert pq.read_table(tmp_path / "per_user.parquet").equals(before)
