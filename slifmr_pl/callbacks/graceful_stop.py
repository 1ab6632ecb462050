"""Ctrl-C and SIGTERM end a run at a point from which it can be resumed."""

import signal
import threading
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities import rank_zero_info

from slifmr_pl.callbacks.checkpoints import LastCheckpoint
from slifmr_pl.distributed.agreement import largest

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppedError(Exception):
    """A run stopped because a signal asked it to.

    Args:
        signum: The signal.
        checkpoint: The checkpoint to resume from.
    """

    def __init__(self, signum: int, checkpoint: str) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}; resume from {checkpoint}")
        self.signum = signum
        self.checkpoint = checkpoint


class GracefulStop(Callback):
    """Saves `last.ckpt` and stops after the batch in which SIGINT or SIGTERM came.

    After an epoch's last batch it stops when the epoch has been validated and saved. A second
    signal stops at once. Several processes check every 50 batches whether any of them got a signal,
    and stop together. Under SLURM, signals are left to Lightning.

    Args:
        last: Writes the checkpoint.
    """

    def __init__(self, last: LastCheckpoint) -> None:
        self.last = last
        self._received = 0
        self._handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replaces the signal handlers; Lightning restores its own at the end."""
        self._received = 0
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and not SLURMEnvironment.detect():
            self._handlers = {signum: signal.signal(signum, self._receive) for signum in _SIGNALS}

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Saves and stops, at a batch from which resuming is exact.

        Raises:
            StoppedError: If a signal came.
        """
        if self.last.can_interrupt(trainer, batch_idx) and self._signal_received(trainer):
            self.last.save(trainer)
            self._stop()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops between epochs, if the epoch before has been saved.

        Raises:
            StoppedError: If a signal came.
        """
        saved = trainer.strategy.broadcast(self.last.path.is_file())
        if saved and self._signal_received(trainer):
            self._stop()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Restores the signal handlers."""
        self._restore_handlers()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Restores the signal handlers."""
        self._restore_handlers()

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if self._received:
            self._restore_handlers()
            raise KeyboardInterrupt(signum)
        self._received = signum
        rank_zero_info("\nStopping where the run can go on; once more to stop at once …")

    def _signal_received(self, trainer: pl.Trainer) -> bool:
        self._received = int(largest(trainer, self._received))
        return self._received > 0

    def _stop(self) -> None:
        raise StoppedError(self._received, str(self.last.path))

    def _restore_handlers(self) -> None:
        for signum, handler in self._handlers.items():
            signal.signal(signum, handler)
        self._handlers = {}
