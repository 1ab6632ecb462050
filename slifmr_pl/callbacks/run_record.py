"""The record of a training run: data, environment and outcome."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.utilities import rank_zero_info
from pytorch_lightning.utilities.exceptions import SIGTERMException

from slifmr_pl.callbacks.graceful_stop import StoppedError
from slifmr_pl.config import plugins
from slifmr_pl.config.parts import class_path
from slifmr_pl.errors import StorageError
from slifmr_pl.recommendation_datamodule import data_module_of
from slifmr_pl.runs.atomic_files import write_json
from slifmr_pl.runs.data_record import data_record
from slifmr_pl.runs.environment import environment, git_state, without_home
from slifmr_pl.runs.run_folders import RECORD_FILE

FORMAT = "slifmr-run-1"
Outcome = Literal["running", "finished", "interrupted", "failed"]


class RunRecorder(Callback):
    """Writes `run.json` into the folder of a run when `fit` starts and again when it ends.

    A run whose outcome stays `running` is running, or was killed.

    Args:
        seed: The run's seed.
        command: The command line.
    """

    def __init__(self, seed: int | None = None, command: str | None = None) -> None:
        self.seed = seed
        self.command = command
        self._path: Path | None = None
        self._record: dict[str, Any] = {}
        self._start = 0.0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the record at the start, with the outcome `running`."""
        folder = trainer.log_dir  # asks all processes
        if not trainer.is_global_zero or folder is None or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        self._start = time.monotonic()
        self._record = {
            "started": _now(),
            "command": None if self.command is None else without_home(self.command),
            "seed": self.seed,
            "model": class_path(type(pl_module)),
            "plugins": plugins.loaded(),
            "resumed_from": _relative(trainer.ckpt_path, Path(folder)),
            "data": data_record(data_module_of(trainer)),
            "trainer": {
                "accelerator": type(trainer.accelerator).__name__,
                "processes": trainer.world_size,
                "precision": str(trainer.precision),
                "deterministic": torch.are_deterministic_algorithms_enabled(),
            },
            "environment": environment(),
            "git": git_state(Path.cwd()),
        }
        self._path = Path(folder) / RECORD_FILE
        self._write(trainer, "running")

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the record again, with the outcome `finished`."""
        self._write(trainer, "finished")

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Writes the outcome of a run that ended early, if the disk is not full."""
        interrupted = isinstance(exception, KeyboardInterrupt | SIGTERMException | StoppedError)
        outcome: Outcome = "interrupted" if interrupted else "failed"
        try:
            self._write(trainer, outcome, type(exception).__name__)
        except StorageError as error:
            rank_zero_info(f"How the run ended could not be recorded: {error}")

    def _write(self, trainer: pl.Trainer, outcome: Outcome, error: str | None = None) -> None:
        if self._path is None:  # another process, or nothing had begun
            return
        ended = outcome != "running"
        record = {
            "format": FORMAT,
            "outcome": outcome,
            "error": error,
            "started": self._record["started"],
            "ended": _now() if ended else None,
            "seconds": round(time.monotonic() - self._start, 3) if ended else None,
            "epochs": trainer.current_epoch,
            "best": _best(trainer, self._path.parent),
        }
        write_json(self._path, record | self._record)
        if ended:
            self._path = None


def _best(trainer: pl.Trainer, folder: Path) -> dict[str, Any] | None:
    callback = trainer.checkpoint_callback
    if not isinstance(callback, ModelCheckpoint) or not callback.best_model_path:
        return None
    score = callback.best_model_score
    return {
        "checkpoint": _relative(callback.best_model_path, folder),
        "monitor": callback.monitor,
        "score": None if score is None else float(score),
    }


def _relative(path: Any, folder: Path) -> str | None:
    """A path relative to the run's folder, so that the folder can be moved."""
    return None if path is None else Path(os.path.relpath(path, folder)).as_posix()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
