"""Checkpoints of a run: the best one, also across resumes, and always the last one."""

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint

from slifmr_pl.config.bounds import is_number
from slifmr_pl.distributed.agreement import largest
from slifmr_pl.errors import ConfigError
from slifmr_pl.runs.run_folders import last_path

_CHECK_EVERY = 50  # batches; at each check several processes wait for each other


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
    """Saves `last.ckpt` at the end of every epoch, and every few minutes within a long one.

    A run resumes exactly from each save. Within an epoch it therefore saves only after a batch
    with an optimizer step, and not where a validation follows. `save_last` of Lightning 2.6 saves
    only in epochs whose checkpoint is among the best.

    Args:
        minutes: Time between saves within an epoch; 0 saves after each step. Several processes
            check the clock every 50 batches.
    """

    def __init__(self, minutes: float = 5.0) -> None:
        if not is_number(minutes, least=0):
            raise ConfigError(
                f"last_checkpoint.minutes is {minutes}", expected="at least 0", fix="for example 5"
            )
        self.minutes = minutes
        self.path = Path()
        self._saved_at = 0.0
        self._steps_before = 0
        self._batches = 0  # since the last check

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Sets the path of the file, which the first process decides."""
        folder = trainer.strategy.broadcast(str(Path(trainer.default_root_dir).absolute()))
        self.path = last_path(Path(folder))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        self._saved_at, self._batches = time.monotonic(), 0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Notes the optimizer's steps so far."""
        self._steps_before = trainer.global_step
        self._batches += 1

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Saves if enough time has passed."""
        if self.can_interrupt(trainer, batch_idx):
            self._batches = 0
            if largest(trainer, time.monotonic() - self._saved_at) >= 60 * self.minutes:
                self.save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves after every epoch, when the next graph is built and the metrics are known."""
        if not _is_fast_dev_run(trainer):
            self.save(trainer)

    def may_save(self, trainer: pl.Trainer, batch_idx: int) -> bool:
        """Whether a run that is resumed from the end of this batch equals one that goes on."""
        every = trainer.val_check_batch
        within_epoch = trainer.check_val_every_n_epoch is not None
        seen = batch_idx if within_epoch else trainer.fit_loop.total_batch_idx
        validation_follows = isinstance(every, int) and (seen + 1) % every == 0
        return (
            not _is_fast_dev_run(trainer)
            and trainer.global_step > self._steps_before
            and batch_idx + 1 < trainer.num_training_batches
            and not validation_follows
        )

    def can_interrupt(self, trainer: pl.Trainer, batch_idx: int) -> bool:
        """Whether the run may be saved or stopped after this batch; the same in all processes."""
        is_due = trainer.world_size == 1 or self._batches >= _CHECK_EVERY
        return is_due and self.may_save(trainer, batch_idx)

    def save(self, trainer: pl.Trainer) -> None:
        """Writes the file, in all processes together."""
        trainer.save_checkpoint(self.path)
        self._saved_at = time.monotonic()


def _is_fast_dev_run(trainer: pl.Trainer) -> bool:
    return bool(trainer.fast_dev_run)  # type: ignore[attr-defined]  # set while it is built
