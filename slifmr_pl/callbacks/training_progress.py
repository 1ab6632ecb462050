"""What a run says while it computes: a bar in a terminal, a line an epoch elsewhere."""

import sys
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from slifmr_pl.callbacks.epoch_facts import (
    EpochFacts,
    better_value,
    early_stopping_of,
    last_epoch,
    monitored,
    numbered,
    seconds_left,
    why_ended,
)
from slifmr_pl.models.closed_form import ClosedForm
from slifmr_pl.runs.time_left import clock

_RECENT = 10  # epochs whose mean is taken for how long the next ones take


class TrainingProgress(ProgressBar):
    """Says how a training goes, and why it ended.

    In a terminal it is a bar with the facts of the latest epoch below it; elsewhere, such as in a
    file or below SLURM, a line an epoch. All of it goes to standard error. A model in closed form
    has no epochs to show. Nothing is read from a GPU while an epoch runs.

    Another progress bar in `trainer.callbacks` takes its place, and `--trainer.enable_progress_bar
    false` leaves it out.
    """

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._bar: _Bar | None = None
        self._begin = self._epoch_begin = 0.0
        self._seconds: deque[float] = deque(maxlen=_RECENT)
        self._running: int | None = None  # the epoch that has begun and is not told yet
        self._ended = False  # whether its last batch is over
        self._epochs = 0  # that have been told
        self._best: tuple[float, int] | None = None

    def disable(self) -> None:
        """Says nothing from now on."""
        self._enabled = False
        self._close()

    def enable(self) -> None:
        """Says what there is from now on."""
        self._enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Prints beside the bar."""
        print(*args, **{"file": sys.stderr, **kwargs})

    def state_dict(self) -> dict[str, Any]:
        """The best value and its epoch, for a run that goes on."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with the best value of a checkpoint."""
        best = state_dict["best"]
        self._best = None if best is None else (float(best[0]), int(best[1]))

    # Training

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins to count time."""
        self._begin = self._epoch_begin = time.monotonic()
        self._seconds.clear()
        self._running, self._epochs = None, 0
        if isinstance(pl_module, ClosedForm):
            self._say("Computing the weights, which follow from the data in closed form")

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tells the epoch before: only now all of its values are logged."""
        self._tell(trainer)
        if isinstance(pl_module, ClosedForm):
            return
        self._running, self._ended = trainer.current_epoch, False
        self._show(_current_epoch(trainer), self.total_train_batches)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Moves the bar, in training and evaluation alike."""
        if self._bar is not None:
            self._bar.move_to(batch_idx + 1)

    on_validation_batch_end = on_test_batch_end = on_predict_batch_end = on_train_batch_end

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Notes that the epoch is over, whatever comes next."""
        self._ended = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tells the last epoch, and why it was the last one."""
        self._tell(trainer)
        self._close()
        spent = clock(time.monotonic() - self._begin)
        if isinstance(pl_module, ClosedForm):
            self._say(f"Done in {spent}")
        else:
            self._say(f"Ended after {self._epochs} epochs in {spent}: {why_ended(trainer)}")

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Tells an epoch that was over; what happened is said by whoever ends the run."""
        if self._ended:
            self._tell(trainer)
        self._close()

    def _tell(self, trainer: pl.Trainer) -> None:
        """Says what is known of the epoch that has ended."""
        if self._running is None:
            return
        now = time.monotonic()
        seconds, self._epoch_begin = now - self._epoch_begin, now
        self._seconds.append(seconds)
        self._epochs += 1
        facts = self._facts(trainer, self._running, seconds)
        self._running = None
        if self._bar is not None:
            self._bar.tell(facts)
        else:
            self._say(str(facts))

    def _facts(self, trainer: pl.Trainer, epoch: int, seconds: float) -> EpochFacts:
        values, watched = trainer.callback_metrics, monitored(trainer)
        value = None
        if watched is not None and watched[0] in values:
            value = float(values[watched[0]])
        stopping, loss = early_stopping_of(trainer), values.get("train/loss")
        mean = sum(self._seconds) / len(self._seconds)
        return EpochFacts(
            epoch=epoch,
            last=last_epoch(trainer),
            loss=None if loss is None else float(loss),
            monitor=None if watched is None else watched[0],
            value=value,
            best=None if self._best is None else self._best[0],
            best_epoch=None if self._best is None else self._best[1],
            patience=None if stopping is None else max(0, stopping.patience - stopping.wait_count),
            seconds=seconds,
            left=seconds_left(trainer, epoch, mean),
        )

    # Evaluation

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Shows the validation, within a training too."""
        inside = trainer.state.fn == "fit" and not isinstance(pl_module, ClosedForm)
        what = f"{_current_epoch(trainer)}, validating" if inside else "validating"
        self._show(what, sum(trainer.num_val_batches))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Notes the best value, before a checkpoint is saved; only a training keeps the bar."""
        if trainer.state.fn != "fit":
            self._close()
            return
        value = better_value(trainer, None if self._best is None else self._best[0])
        if value is not None:
            self._best = value, trainer.current_epoch

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Shows the test."""
        self._show("testing", sum(trainer.num_test_batches))

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes the bar away, before results are printed."""
        self._close()

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Shows the prediction."""
        self._show("predicting", sum(trainer.num_predict_batches))

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Takes the bar away."""
        self._close()

    # What is seen

    @property
    def _speaks(self) -> bool:
        return self._enabled and self.trainer.is_global_zero

    def _say(self, line: str) -> None:
        if self._speaks:
            print(line, file=sys.stderr, flush=True)

    def _show(self, what: str, total: float) -> None:
        """Begins the bar anew, where there is a terminal."""
        if self._bar is None:
            console = Console(stderr=True)
            if not (self._speaks and console.is_terminal):
                return
            self._bar = _Bar(console)
            self._bar.start()
        self._bar.begin(what, None if total == float("inf") else total)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            if self._bar.facts is not None:
                self._say(self._bar.facts.measured)
            self._bar = None


class _Bar(Progress):
    """One bar as wide as the terminal, and a line of facts below it."""

    def __init__(self, console: Console) -> None:
        self.facts: EpochFacts | None = None
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[times]}"),
            console=console,
            refresh_per_second=5,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # what goes to a file stays there
            expand=True,
        )
        self._task = self.add_task("", visible=False, times="")

    def begin(self, what: str, total: float | None) -> None:
        """Begins at 0."""
        self.reset(self._task, total=total, description=what, visible=True)

    def move_to(self, done: int) -> None:
        """Shows how much is done."""
        self.update(self._task, completed=done)

    def tell(self, facts: EpochFacts) -> None:
        """Shows the facts of an epoch that has ended."""
        self.facts = facts
        self.update(self._task, times=facts.times)

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar and the facts."""
        yield self.make_tasks_table(self.tasks)
        if self.facts is not None:
            yield Text(self.facts.measured, no_wrap=True, overflow="ellipsis")


def _current_epoch(trainer: pl.Trainer) -> str:
    return numbered(trainer.current_epoch, last_epoch(trainer))
