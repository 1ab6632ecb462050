"""What goes wrong in one of two processes, and what both of them make of it."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from safetensors.torch import load_file

from slifmr_pl.callbacks.checkpoints import LastCheckpoint
from slifmr_pl.callbacks.finite_losses import FiniteLosses
from slifmr_pl.callbacks.graceful_stop import GracefulStop, StoppedError
from slifmr_pl.cli import main
from slifmr_pl.errors import DivergenceError
from slifmr_pl.module import SlifMrModule
from slifmr_pl.nn.optimizer import OptimizerConfig
from slifmr_pl.runs.run_folders import last_path
from tests.checkpoints.faults import rows_of, small_config
from tests.distributed.ddp_run import VARIANTS, load, options, read
from tests.processes import in_processes
from tests.tiny_runs import Metrics, demo_data, full_model, trainer

BATCH_SIZE = 19  # 53 batches an epoch, so that the processes look around once, after 50 of them
MOMENT = 50
Found = list[dict[str, Any]]


class OnRankOne(Callback):
    """Something happens after a few batches, in the second process alone.

    Args:
        what: A signal to itself, a clock that is late, or weights that are not finite.
    """

    def __init__(self, what: str, last: LastCheckpoint | None = None) -> None:
        self.what = what
        self.last = last

    @torch.no_grad()
    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_rank != 1 or (trainer.current_epoch, batch_idx) != (0, 7):
            return
        if self.what == "signal":
            os.kill(os.getpid(), signal.SIGTERM)
        elif self.what == "clock":
            assert self.last is not None
            self.last._saved_at -= 600
        else:
            assert isinstance(pl_module, SlifMrModule)
            pl_module.network.user_embedding.fill_(torch.nan)


class Saves(LastCheckpoint):
    """Notes after how many steps it saved."""

    def __init__(self) -> None:
        super().__init__(minutes=5)
        self.steps: list[int] = []

    def save(self, trainer: pl.Trainer) -> None:
        super().save(trainer)
        self.steps.append(trainer.global_step)


def model(variant: str = "early") -> SlifMrModule:
    return full_model(optimizer=OptimizerConfig(learning_rate=2e-3), **VARIANTS[variant])


def fit(
    catalogue: Path, out: Path, shared: dict[str, Any], what: str, variant: str
) -> dict[str, Any]:
    """How one epoch ended. Each process is told a folder of its own; the first one's counts."""
    last, metrics = Saves(), Metrics()
    safety = [FiniteLosses(), GracefulStop(last), OnRankOne(what, last), last, metrics]
    folder = out / what / f"told-{os.environ.get('RANK', 0)}"
    run = trainer(folder, 1, *safety, **shared)
    error = None
    try:
        run.fit(model(variant), datamodule=demo_data(catalogue, batch_size=BATCH_SIZE))
    except (StoppedError, DivergenceError) as ended:
        error = str(ended)
    return {"error": error, "steps": last.steps, "losses": metrics.losses}


def fits(catalogue: Path, out: Path) -> dict[str, dict[str, Any]]:
    shared = options("ddp")  # a trainer takes the environment down that it found
    return {
        what: fit(catalogue, out, shared, what, variant)
        for what, variant in (("clock", "early"), ("signal", "early"), ("divergence", "lightgcn"))
    }


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def found(catalogue: Path, cache: Path, out: Path) -> Found:
    """What each process says of its three runs."""
    return in_processes(2, fits, catalogue, out)


def test_all_processes_save_when_the_clock_of_one_asks_for_it(found: Found, out: Path) -> None:
    assert [of_rank["clock"]["steps"] for of_rank in found] == [[MOMENT, 53], [MOMENT, 53]]
    assert last_path(out / "clock" / "told-0").is_file()
    assert not (out / "clock" / "told-1").exists()


def test_all_stop_together_when_one_is_asked_to(found: Found, out: Path) -> None:
    path = last_path(out / "signal" / "told-0")
    for of_rank in found:
        assert of_rank["signal"]["steps"] == [MOMENT]
        assert of_rank["signal"]["error"] == f"stopped by SIGTERM; resume from {path}"
    assert torch.load(path, weights_only=True)["global_step"] == MOMENT


def test_all_end_when_the_loss_of_one_is_not_finite(found: Found, out: Path) -> None:
    errors = [of_rank["divergence"]["error"] for of_rank in found]
    assert all("diverged in epoch 0, batch 7 (step 7): " in error for error in errors)
    assert "a loss of another process is not finite" in errors[0]
    assert "ranking nan" in errors[1]
    assert [of_rank["divergence"]["steps"] for of_rank in found] == [[], []]
    folder = out / "divergence" / "told-0" / "diverged"
    records = [json.loads((folder / f"losses-{rank}.json").read_text()) for rank in range(2)]
    assert [record["batch"] for record in records] == [7, 7]
    assert [isinstance(record["losses"]["ranking"], float) for record in records] == [True, False]
    batches = [load_file(folder / f"batch-{rank}.safetensors")["users"] for rank in range(2)]
    assert [len(users) for users in batches] == [9, 10]
    assert all((folder / f"module-{rank}.safetensors").is_file() for rank in range(2))


class AtMoment(Callback):
    """Saves where two processes would."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, i: int
    ) -> None:
        if i + 1 == MOMENT:
            trainer.save_checkpoint(self.path)


def run(
    catalogue: Path, out: Path, shared: dict[str, Any], checkpoint: Path | None = None
) -> dict[str, Any]:
    """Losses and metrics of the epoch, from its start or from a checkpoint within it."""
    metrics, module = Metrics(), model()
    saves = AtMoment(out / "middle.ckpt")
    fit = trainer(out, 1, metrics, saves, enable_checkpointing=False, **shared)
    data = demo_data(catalogue, batch_size=BATCH_SIZE)
    fit.fit(module, datamodule=data, ckpt_path=None if checkpoint is None else str(checkpoint))
    fit.save_checkpoint(out / "end.ckpt")
    return {"losses": metrics.losses[0], "metrics": metrics.epochs[0]}


def runs(catalogue: Path, out: Path, checkpoint: Path) -> dict[str, dict[str, Any]]:
    """By two processes: resumed in both strategies, and one that others go on from."""
    ddp, columns = options("ddp"), options("columns")
    return {
        "one, then ddp": run(catalogue, out / "one, then ddp", ddp, checkpoint),
        "one, then columns": run(catalogue, out / "one, then columns", columns, checkpoint),
        "columns": run(catalogue, out / "columns", columns),
    }


def test_an_epoch_resumed_in_its_middle_equals_an_uninterrupted_one(
    found: Found, out: Path, catalogue: Path
) -> None:
    """Losses of the whole epoch, metrics, weights and graphs; sums differ in their order."""
    expected = run(catalogue, out / "one", {})
    by_two = in_processes(2, runs, catalogue, out, out / "one" / "middle.ckpt")
    assert by_two[0] == by_two[1]
    paths = {
        "ddp, then one": last_path(out / "signal" / "told-0"),
        "columns, then one": out / "columns" / "middle.ckpt",
    }
    ways = by_two[0] | {name: run(catalogue, out / name, {}, path) for name, path in paths.items()}
    state = load(out / "one" / "end.ckpt")["state_dict"]
    for name, way in ways.items():
        assert way["losses"] == pytest.approx(expected["losses"], rel=1e-6), name
        assert way["metrics"] == pytest.approx(expected["metrics"], rel=1e-9), name
        ended = load(out / name / "end.ckpt")["state_dict"]
        assert ended.keys() == state.keys()
        for tensor, value in state.items():
            torch.testing.assert_close(
                ended[tensor], value, rtol=1e-4, atol=5e-5, msg=lambda text, n=name: f"{n}: {text}"
            )


def command(arguments: list[str]) -> int:
    return main(arguments)


def test_two_processes_of_the_command_line_share_one_folder(
    catalogue: Path, cache: Path, tmp_path: Path
) -> None:
    """They start at once, as `torchrun` starts them; one is asked to stop, and they are resumed."""
    arguments = [
        *small_config(catalogue),
        *("--config", "configs/trainer/ddp.yaml", "--trainer.devices", "2"),
        *("--trainer.accelerator", "cpu", "--data.batch_size", str(BATCH_SIZE)),
        *("--trainer.max_epochs", "2", "--trainer.default_root_dir", str(tmp_path)),
    ]
    asked = [
        "--trainer.callbacks+=tests.distributed.test_ddp_faults.OnRankOne",
        "--trainer.callbacks.what=signal",
    ]
    assert in_processes(2, command, [*arguments, *asked]) == [128 + signal.SIGTERM, 0]
    folder = tmp_path / "demo" / "version_0"
    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["version_0"]
    assert read(folder / "run.json")["outcome"] == "interrupted"
    assert torch.load(last_path(folder), weights_only=True)["global_step"] == MOMENT
    assert in_processes(2, command, [*arguments, "--ckpt_path", "last"]) == [0, 0]
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {"version_0", "version_1"}
    folder = tmp_path / "demo" / "version_1"
    assert read(folder / "run.json")["outcome"] == "finished"
    rows = [(row["epoch"], "train/loss" in row) for row in rows_of(folder / "metrics.csv")]
    assert rows == [("0", False), ("0", True), ("1", False), ("1", True)]
