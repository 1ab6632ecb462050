"""What a person wants to know after an epoch, and why a training ended."""

from dataclasses import dataclass

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, Timer
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason

from slifmr_pl.runs.time_left import clock


@dataclass(frozen=True)
class EpochFacts:
    """An epoch that has ended.

    Attributes:
        epoch: Its number, from 0, as in the names of checkpoints.
        last: The last epoch that `max_epochs` allows; None without a limit.
        loss: Mean of what was minimised; None where nothing was logged.
        monitor: What is watched; None where nothing is.
        value: Its latest value; None before the first validation.
        best: Its best value.
        best_epoch: When that was.
        patience: Validations without a better value until early stopping ends the run; None
            without early stopping.
        seconds: How long the epoch took, validation included.
        left: Seconds until the run ends: at least and at most; None where there is no end.
    """

    epoch: int
    last: int | None
    loss: float | None
    monitor: str | None
    value: float | None
    best: float | None
    best_epoch: int | None
    patience: int | None
    seconds: float
    left: tuple[float, float] | None

    @property
    def number(self) -> str:
        """The epoch, and the last one."""
        return numbered(self.epoch, self.last)

    @property
    def measured(self) -> str:
        """Loss, metric, the best one and when it was, and how much patience is left."""
        words = []
        if self.loss is not None:
            words.append(f"loss {self.loss:.4f}")
        if self.monitor is not None and self.value is not None:
            words.append(f"{self.monitor} {self.value:.4f}")
        if self.best is not None:
            when = "" if self.best_epoch is None else f" in epoch {self.best_epoch}"
            words.append(f"best {self.best:.4f}{when}")
        if self.patience is not None:
            words.append(f"patience {self.patience}")
        return "  ".join(words)

    @property
    def times(self) -> str:
        """How long the epoch took, and how long the run will."""
        words = [f"{self.seconds:.1f} s"]
        if self.left is not None:
            least, most = (clock(seconds) for seconds in self.left)
            words.append(f"left {most}" if least == most else f"left {least} to {most}")
        return "  ".join(words)

    def __str__(self) -> str:
        return "  ".join(filter(None, (self.number, self.measured, self.times)))


def early_stopping_of(trainer: pl.Trainer) -> EarlyStopping | None:
    """The first early stopping of a trainer."""
    return next((c for c in trainer.callbacks if isinstance(c, EarlyStopping)), None)  # type: ignore[attr-defined]


def monitored(trainer: pl.Trainer) -> tuple[str, bool] | None:
    """What early stopping or else the checkpoint watches, and whether more of it is better."""
    for callback in (early_stopping_of(trainer), *trainer.checkpoint_callbacks):
        if isinstance(callback, EarlyStopping | ModelCheckpoint) and callback.monitor is not None:
            return callback.monitor, callback.mode == "max"
    return None


def better_value(trainer: pl.Trainer, before: float | None) -> float | None:
    """The value that is watched, where a validation within a training gave a better one.

    Args:
        trainer: Of the run.
        before: The best value so far; None before the first one.
    """
    watched, values = monitored(trainer), trainer.callback_metrics
    if trainer.state.fn != "fit" or trainer.sanity_checking or watched is None:
        return None
    name, more_is_better = watched
    if name not in values:
        return None
    value = float(values[name])
    if before is None or (value > before if more_is_better else value < before):
        return value
    return None


def last_epoch(trainer: pl.Trainer) -> int | None:
    """The last epoch that `max_epochs` allows; None without a limit."""
    limit = trainer.max_epochs
    return None if limit is None or limit < 0 else limit - 1


def numbered(epoch: int, last: int | None) -> str:
    """An epoch, and the last one."""
    return f"epoch {epoch}" + ("" if last is None else f"/{last}")


def seconds_left(trainer: pl.Trainer, epoch: int, seconds: float) -> tuple[float, float] | None:
    """At least and at most how many seconds a run goes on.

    Args:
        trainer: Of the run.
        epoch: The one that has ended.
        seconds: That an epoch takes.

    Returns:
        None without a limit of epochs and of time.
    """
    timers = [c for c in trainer.callbacks if isinstance(c, Timer)]  # type: ignore[attr-defined]
    most = [left for timer in timers if (left := timer.time_remaining()) is not None]
    last = last_epoch(trainer)
    if last is not None:
        most.append(max(0, last - epoch) * seconds)
    if not most:
        return None
    stopping, least = early_stopping_of(trainer), min(most)
    if stopping is not None:
        checks = max(0, stopping.patience - stopping.wait_count)
        least = min(least, checks * (trainer.check_val_every_n_epoch or 1) * seconds)
    return least, min(most)


def why_ended(trainer: pl.Trainer) -> str:
    """Why a training ended that nothing interrupted."""
    stopping = early_stopping_of(trainer)
    last = last_epoch(trainer)
    if last is not None and last < trainer.current_epoch:
        return f"trainer.max_epochs {trainer.max_epochs} is reached"
    if trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps:
        return f"trainer.max_steps {trainer.max_steps} is reached"
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Timer) and (callback.time_remaining() or 1.0) <= 0:
            return "trainer.max_time is over"
    if stopping is None or stopping.stopping_reason == EarlyStoppingReason.NOT_STOPPED:
        return "a callback or the model asked for it"
    if stopping.stopping_reason == EarlyStoppingReason.PATIENCE_EXHAUSTED:
        return (
            f"{stopping.monitor} was not better in {stopping.wait_count} validations "
            "(early_stopping.patience)"
        )
    return f"early_stopping: {stopping.stopping_reason_message}"
