import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slifmr_pl.errors import RunError
from slifmr_pl.runs.reading import read_evaluation, read_record, read_settings
from tests.studies.run_folders import write_run

VALUES = {"recall@5": np.array([0.0, 0.5, 1.0]), "ndcg@5": np.array([0.1, 0.2, 0.3])}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", VALUES, seed=3)


def test_results_are_read_with_the_values_of_the_users(run: Path) -> None:
    evaluation = read_evaluation(run, "test")
    assert evaluation.columns == ("recall@5", "ndcg@5")
    np.testing.assert_array_equal(evaluation.values, np.stack([*VALUES.values()], axis=1))
    assert evaluation.users.to_pylist() == ["u000", "u001", "u002"]
    assert evaluation.metrics == {
        "recall@5": 0.5,
        "ndcg@5": pytest.approx(0.2),
        "coverage@5": 0.5,
    }
    assert evaluation.seed == 3


def test_run_without_configuration_has_no_seed(run: Path) -> None:
    (run / "config.yaml").unlink()
    evaluation = read_evaluation(run, "test")
    assert (evaluation.settings, evaluation.seed) == (None, None)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("test.json", None, "the run has no test.json"),
        ("test.json", "{", r"test\.json cannot be read"),
        ("test.json", "[]", "no entry checkpoint, metrics, masks, data"),
        ("test.json", '{"metrics": {}}', "no entry checkpoint, masks, data"),
        ("per_user.parquet", None, "the run has no per_user.parquet"),
        ("per_user.parquet", "not parquet", r"per_user\.parquet cannot be read"),
        ("config.yaml", "a: [", r"config\.yaml cannot be read"),
        ("config.yaml", "text", r"config\.yaml cannot be read: it is a str"),
    ],
)
def test_missing_or_damaged_file_is_named(
    run: Path, name: str, content: str | None, message: str
) -> None:
    if content is None:
        (run / name).unlink()
    else:
        (run / name).write_text(content)
    with pytest.raises(RunError, match=message) as error:
        read_evaluation(run, "test")
    assert str(run) in str(error.value)


def test_users_of_an_older_test_are_refused(run: Path) -> None:
    table = pq.read_table(run / "per_user.parquet").slice(1)
    pq.write_table(table, run / "per_user.parquet")
    with pytest.raises(RunError, match=r"mean recall@5 of 0\.75.*reports 0\.5"):
        read_evaluation(run, "test")


def test_foreign_columns_are_refused(run: Path) -> None:
    pq.write_table(pa.table({"user": ["a"], "recall@5": [0.5]}), run / "per_user.parquet")
    with pytest.raises(RunError, match=r"columns user, recall@5"):
        read_evaluation(run, "test")


def test_result_without_data_is_refused(run: Path) -> None:
    record = json.loads((run / "test.json").read_text())
    (run / "test.json").write_text(json.dumps(record | {"data": None}))
    with pytest.raises(RunError, match="does not say on which data"):
        read_evaluation(run, "test")


@pytest.mark.parametrize("read", [read_record, read_settings])
def test_absent_folder_is_refused(tmp_path: Path, read) -> None:
    with pytest.raises(RunError, match="no such folder"):
        read(tmp_path / "nowhere")


def test_run_without_record_is_refused(run: Path) -> None:
    with pytest.raises(RunError, match=r"the run has no run\.json"):
        read_record(run)
