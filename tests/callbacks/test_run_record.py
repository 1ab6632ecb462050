import json
import os
import platform
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from slifmr_pl.callbacks.run_record import RunRecorder
from slifmr_pl.errors import ConfigError
from tests.tiny_runs import demo_data, every_epoch, full_model, trainer


def read(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "run.json").read_text("utf-8"))
    return record


class Stop(Callback):
    """Ends training at the first batch of the second epoch."""

    def __init__(self, folder: Path, how: BaseException | signal.Signals) -> None:
        self.folder = folder
        self.how = how
        self.record: dict[str, Any] = {}

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.current_epoch == 1:
            self.record = read(self.folder)
            if isinstance(self.how, BaseException):
                raise self.how
            os.kill(os.getpid(), self.how)


def test_finished_run_is_recorded(catalogue: Path, tmp_path: Path) -> None:
    data = demo_data(catalogue)
    best = every_epoch(tmp_path / "checkpoints", monitor="val/recall@20", mode="max")
    recorder = RunRecorder(7, f"slifmr fit --config {Path.home() / 'my.yaml'}")
    fit = trainer(tmp_path, 2, recorder, best)
    fit.fit(full_model(), datamodule=data)
    record = read(tmp_path)
    assert (record["outcome"], record["error"], record["epochs"]) == ("finished", None, 2)
    assert record["seed"] == 7
    assert record["command"] == "slifmr fit --config ~/my.yaml"
    assert record["resumed_from"] is None
    assert record["data"]["fingerprint"] == data.model_inputs.fingerprint
    checkpoint = tmp_path / record["best"]["checkpoint"]
    assert str(checkpoint) == best.best_model_path
    assert record["best"]["score"] == float(best.best_model_score)
    assert record["best"]["monitor"] == "val/recall@20"
    assert record["trainer"] == {
        "accelerator": "CPUAccelerator",
        "processes": 1,
        "precision": "32-true",
        "deterministic": False,
    }
    assert record["environment"]["packages"]["torch"] == torch.__version__
    assert record["environment"]["hardware"]["threads"] == torch.get_num_threads()
    assert record["started"] <= record["ended"]
    assert record["seconds"] > 0
    assert not list(tmp_path.glob("*.partial*"))


def test_record_names_no_machine_and_nothing_of_the_environment(
    catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "s3cr3t")
    monkeypatch.setattr(platform, "node", lambda: "my-host")
    trainer(tmp_path, 1, RunRecorder()).fit(full_model(), datamodule=demo_data(catalogue))
    text = (tmp_path / "run.json").read_text()
    assert "s3cr3t" not in text
    assert "my-host" not in text
    assert read(tmp_path)["command"] is None


@pytest.mark.parametrize(
    ("how", "outcome", "error"),
    [
        (ConfigError("diverged", expected="", fix=""), "failed", "ConfigError"),
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
        (signal.SIGTERM, "interrupted", "SIGTERMException"),
    ],
)
def test_record_of_a_run_that_ends_early_has_its_outcome(
    catalogue: Path,
    tmp_path: Path,
    how: BaseException | signal.Signals,
    outcome: str,
    error: str,
) -> None:
    stop = Stop(tmp_path, how)
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises((ConfigError, SystemExit)):
            trainer(tmp_path, 3, RunRecorder(), stop).fit(
                full_model(), datamodule=demo_data(catalogue)
            )
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning shuts its ears while it stops
    assert (stop.record["outcome"], stop.record["ended"]) == ("running", None)
    record = read(tmp_path)
    assert (record["outcome"], record["error"], record["epochs"]) == (outcome, error, 1)
    assert record["ended"] is not None


class DiskFills(Callback):
    """No file of this process may grow any more, and training ends with an error."""

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        raise ConfigError("what went wrong", expected="", fix="")


def test_record_that_cannot_be_written_hides_no_error(catalogue: Path, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    run = trainer(tmp_path, 1, RunRecorder(), DiskFills())
    try:
        with pytest.raises(ConfigError, match="what went wrong"):
            run.fit(full_model(), datamodule=demo_data(catalogue))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert read(tmp_path)["outcome"] == "running"


def test_resumed_run_names_its_checkpoint_relative_to_its_folder(
    catalogue: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    data = demo_data(catalogue)
    trainer(first, 1, every_epoch(first)).fit(full_model(), datamodule=data)
    resumed = trainer(second, 2, RunRecorder())
    resumed.fit(full_model(), datamodule=data, ckpt_path=str(first / "epoch=0.ckpt"))
    assert read(second)["resumed_from"] == "../first/epoch=0.ckpt"
