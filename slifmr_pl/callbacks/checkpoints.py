"""Checkpoints of a run: the best one, also across resumes, and always the last one."""

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint

from slifmr_pl.errors import ConfigError
from slifmr_pl.run_folders import last_path

_SHARED_CLOCK = 50  # batches from one agreement of several processes on the time to the next


class BestCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint that remembers the best checkpoint of a resumed run.

    A resumed run writes into a folder of its own. Lightning then forgets which checkpoint was best
    before, and would end with a worse one.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the best score and path, wherever that checkpoint lies."""
        if Path(state_dict.get("best_model_path") or ".").is_file():
            state_dict = {**state_dict, "dirpath": self.dirpath}
        super().load_state_dict(state_dict)


class LastCheckpoint(Checkpoint):
    """Keeps `last.ckpt`: of the end of every epoch, and of every few minutes within a long one.

    All of its states resume exactly. Within an epoch it therefore saves only after a batch that
    the optimizer stepped with and that no validation follows. `save_last` of Lightning 2.6 saves
    only in epochs whose checkpoint is among the best.

    Args:
        minutes: Time between saves within an epoch; 0 saves after each step. Several processes
            look at the clock every 50 batches.
    """

    def __init__(self, minutes: float = 5.0) -> None:
        if minutes < 0:
            raise ConfigError(
                f"last_checkpoint.minutes is {minutes}", expected="at least 0", fix="for example 5"
            )
        self.minutes = minutes
        self.path = Path()
        self._saved_at = 0.0
        self._steps_before = 0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Settles where the file lies."""
        self.path = last_path(Path(trainer.default_root_dir).absolute())

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        self._saved_at = time.monotonic()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Notes the optimizer's steps so far."""
        self._steps_before = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Saves if it is time."""
        if self.may_save(trainer, batch_idx) and self._is_time(trainer, batch_idx):
            self.save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves after every epoch, when the next graph is built and the metrics are known."""
        if not _is_trial(trainer):
            self.save(trainer)

    def may_save(self, trainer: pl.Trainer, batch_idx: int) -> bool:
        """Whether a run that is resumed from the end of this batch equals one that goes on."""
        every = trainer.val_check_batch
        within_epoch = trainer.check_val_every_n_epoch is not None
        seen = batch_idx if within_epoch else trainer.fit_loop.total_batch_idx
        validation_follows = isinstance(every, int) and (seen + 1) % every == 0
        return (
            not _is_trial(trainer)
            and trainer.global_step > self._steps_before
            and batch_idx + 1 < trainer.num_training_batches
            and not validation_follows
        )

    def save(self, trainer: pl.Trainer) -> None:
        """Writes the file, in all processes together."""
        trainer.save_checkpoint(self.path)
        self._saved_at = time.monotonic()

    def _is_time(self, trainer: pl.Trainer, batch_idx: int) -> bool:
        if trainer.world_size > 1 and (batch_idx + 1) % _SHARED_CLOCK:
            return False
        due = time.monotonic() - self._saved_at >= 60 * self.minutes
        return bool(trainer.strategy.broadcast(due)) if trainer.world_size > 1 else due


def _is_trial(trainer: pl.Trainer) -> bool:
    return bool(trainer.fast_dev_run)  # type: ignore[attr-defined]  # set while it is built
