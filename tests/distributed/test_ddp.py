"""Two and three gloo processes against one: the same model, graphs, losses, metrics and lists."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from slifmr_pl.callbacks.per_user import PerUserWriter
from tests.distributed.ddp_run import (
    BATCH_SIZE,
    fit_and_predict,
    fit_corrupted,
    lists,
    load,
    measured_model,
    read,
)
from tests.processes import in_processes
from tests.tiny_runs import demo_data, trainer

Runs = dict[int, Path]
several = pytest.mark.parametrize("processes", [2, 3])


@pytest.fixture(scope="module")
def runs(catalogue: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Folders of the same run, by the number of its processes."""
    folders = {n: tmp_path_factory.mktemp(f"processes{n}") for n in (1, 2, 3)}
    fit_and_predict(catalogue, folders[1])
    for n in (2, 3):
        in_processes(n, fit_and_predict, catalogue, folders[n])
    return folders


@several
def test_all_ranks_end_with_the_same_weights_and_graphs(runs: Runs, processes: int) -> None:
    first, *others = (load(runs[processes] / f"state-{rank}.pt") for rank in range(processes))
    for other in others:
        assert first.keys() == other.keys()
        for name, tensor in first.items():
            assert torch.equal(tensor, other[name]), name


@several
def test_several_processes_train_the_model_of_one(runs: Runs, processes: int) -> None:
    """The global batches are the same; only the order of sums differs."""
    one, other = (load(runs[n] / "state-0.pt") for n in (1, processes))
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(
                other[name], tensor, rtol=1e-4, atol=5e-5, msg=lambda text, n=name: f"{n}: {text}"
            )
        else:
            assert torch.equal(other[name], tensor), name


@several
def test_losses_and_metrics_do_not_depend_on_the_number_of_processes(
    runs: Runs, processes: int
) -> None:
    for file, tolerance in (("losses.json", 1e-6), ("metrics.json", 1e-9)):
        one, other = (read(runs[n] / file) for n in (1, processes))
        assert one.keys() == other.keys() == {"0", "1", "2"}
        for epoch, values in one.items():
            assert other[epoch] == pytest.approx(values, rel=tolerance), (file, epoch)
    assert all(epoch["train/alignment"] > 1 for epoch in read(runs[1] / "losses.json").values())


@pytest.mark.parametrize("epoch", [0, 2])
def test_metrics_of_a_checkpoint_are_the_same_for_one_and_two_processes(
    runs: Runs, catalogue: Path, tmp_path: Path, epoch: int
) -> None:
    again = trainer(tmp_path, 1).validate(
        measured_model(),
        datamodule=demo_data(catalogue, batch_size=BATCH_SIZE),
        ckpt_path=str(runs[2] / "epochs" / f"epoch={epoch}.ckpt"),
        verbose=False,
    )[0]
    assert again == pytest.approx(read(runs[2] / "metrics.json")[str(epoch)], rel=1e-12)


def test_predict_ranks_each_user_once_over_all_processes(runs: Runs) -> None:
    assert [len(share) for share in lists(runs[2], 2)] == [45, 45]
    joined = [row for share in lists(runs[3], 3) for row in share]
    assert joined == lists(runs[1], 1)[0]


def test_a_rank_with_other_weights_is_reported_at_the_end_of_the_epoch(
    catalogue: Path, cache: Path, tmp_path: Path
) -> None:
    errors = in_processes(2, fit_corrupted, catalogue, tmp_path, 1)
    assert errors[0] == errors[1]
    assert errors[0].startswith("epoch 1: ")
    assert "item_embedding on rank 1 unlike rank 0" in errors[0]
    # Other parameters drift apart only as far as their own gradients; the graph comes from rank 0.
    assert "neighbours" not in errors[0]


@several
def test_values_of_users_are_the_same_for_one_and_for_several_processes(
    runs: Runs, catalogue: Path, tmp_path: Path, processes: int
) -> None:
    trainer(tmp_path, 1, PerUserWriter()).test(
        measured_model(),
        datamodule=demo_data(catalogue, batch_size=BATCH_SIZE),
        ckpt_path=str(runs[processes] / "epochs" / "epoch=2.ckpt"),
        verbose=False,
    )
    one, several = (
        pq.read_table(folder / "per_user.parquet") for folder in (tmp_path, runs[processes])
    )
    assert one.equals(several)
    assert {"diversity@5", "diversity@20"} <= set(one.column_names)
    assert not list(runs[processes].glob("*partial*"))


def test_two_processes_report_one_test_result(runs: Runs) -> None:
    users = pq.read_table(runs[2] / "per_user.parquet")
    metrics = read(runs[2] / "test.json")["metrics"]
    assert metrics["test/n_users"] == users.num_rows == len(set(users["user_id"].to_pylist()))
    for name in users.column_names[2:]:
        assert metrics[f"test/{name}"] == pytest.approx(np.mean(users[name]), rel=1e-12)
