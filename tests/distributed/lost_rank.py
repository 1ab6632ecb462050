"""A process that is killed, or that hangs, in the middle of a run."""

import os
import signal
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback


class Dies(Callback):
    """Kills one process in its second epoch.

    Args:
        rank: Which.
        hangs: It sleeps instead.
    """

    def __init__(self, rank: int, hangs: bool = False) -> None:
        self.rank = rank
        self.hangs = hangs

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        if trainer.global_rank == self.rank and trainer.current_epoch == 1:
            if self.hangs:
                time.sleep(600)
            os.kill(os.getpid(), signal.SIGKILL)
