"""Two gloo processes against one: the same model, graphs, metrics and lists."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from slifmr_pl.callbacks.per_user import PerUserWriter
from tests.ddp_run import without_alignment
from tests.runs import demo_data, trainer

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def runs(catalogue: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Folders of the same run in one and in two processes."""
    folders = []
    for processes in (1, 2):
        out = tmp_path_factory.mktemp(f"processes{processes}")
        command = [sys.executable, "-m", "tests.ddp_run", str(catalogue), str(out), str(processes)]
        result = subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert result.returncode == 0, result.stderr[-4000:]
        folders.append(out)
    return folders


def load(path: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
    return tensors


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_both_ranks_end_with_the_same_weights_and_graphs(runs: list[Path]) -> None:
    first, second = (load(runs[1] / f"state-{rank}.pt") for rank in range(2))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_two_processes_train_the_model_of_one(runs: list[Path]) -> None:
    """The global batches are the same; only the order of sums differs."""
    one, two = load(runs[0] / "state-0.pt"), load(runs[1] / "state-0.pt")
    for name in one:
        if name.startswith("network."):
            torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-4)
    metrics = [read(run / "metrics.json") for run in runs]
    for epoch, values in metrics[0].items():
        assert metrics[1][epoch]["val/n_users"] == values["val/n_users"]
        assert metrics[1][epoch]["val/ndcg@20"] == pytest.approx(values["val/ndcg@20"], abs=0.02)


@pytest.mark.parametrize("epoch", [0, 2])
def test_metrics_of_a_checkpoint_are_the_same_for_one_and_two_processes(
    runs: list[Path], catalogue: Path, tmp_path: Path, epoch: int
) -> None:
    again = trainer(tmp_path, 1).validate(
        without_alignment(),
        datamodule=demo_data(catalogue, batch_size=131),
        ckpt_path=str(runs[1] / "epochs" / f"epoch={epoch}.ckpt"),
        verbose=False,
    )[0]
    assert again == pytest.approx(read(runs[1] / "metrics.json")[str(epoch)], rel=1e-12)


def test_predict_ranks_each_user_once_over_all_processes(runs: list[Path]) -> None:
    shares = [read(runs[1] / f"lists-{rank}.json") for rank in range(2)]
    assert [len(share) for share in shares] == [45, 45]
    assert len(read(runs[0] / "lists-0.json")) == 90


def test_values_of_users_are_the_same_for_one_and_two_processes(
    runs: list[Path], catalogue: Path, tmp_path: Path
) -> None:
    trainer(tmp_path, 1, PerUserWriter()).test(
        without_alignment(),
        datamodule=demo_data(catalogue, batch_size=131),
        ckpt_path=str(runs[1] / "epochs" / "epoch=2.ckpt"),
        verbose=False,
    )
    one, two = (pq.read_table(folder / "per_user.parquet") for folder in (tmp_path, runs[1]))
    assert one.equals(two)
    assert not list(runs[1].glob("*partial*"))


def test_two_processes_report_one_test_result(runs: list[Path]) -> None:
    users = pq.read_table(runs[1] / "per_user.parquet")
    metrics = read(runs[1] / "test.json")["metrics"]
    assert metrics["test/n_users"] == users.num_rows == len(set(users["user_id"].to_pylist()))
    for name in users.column_names[2:]:
        assert metrics[f"test/{name}"] == pytest.approx(np.mean(users[name]), rel=1e-12)
