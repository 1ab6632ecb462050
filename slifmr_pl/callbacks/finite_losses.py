"""Ends training at the first loss that is not finite, and keeps the batch that gave it."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor

from slifmr_pl.data.batches import TrainBatch
from slifmr_pl.distributed.agreement import largest
from slifmr_pl.errors import DivergenceError, StorageError
from slifmr_pl.models.base import RecommenderModule
from slifmr_pl.runs.atomic_files import write_json, write_whole

_CHECK_EVERY = 50  # batches; each check of losses on a GPU waits for the GPU
_GROWTH = 1e4  # no loss that is still learned from grows to so many times the first one


class _Step(NamedTuple):
    """A batch: its number in the epoch, the optimizer's steps before it, and its losses by name.

    The first of the losses is what is minimised.
    """

    number: int
    step: int
    batch: TrainBatch
    losses: Mapping[str, Tensor]


class FiniteLosses(Callback):
    """Ends training at the first loss that is NaN, infinite or 10,000 times the first one.

    In a single process on a CPU, each loss is checked before its gradients are computed, so the
    weights are still those that gave it. Otherwise a check makes the host wait for the device (and
    the processes for each other), so losses are checked every 50 batches and at the end of an
    epoch. A run that diverges leaves a folder `diverged` in its folder: the batch and the module
    as safetensors, the losses as JSON. Each of several processes writes its own, with its rank in
    the names.

    Lightning's own checks do not do this: `EarlyStopping(check_finite=True)` sees what is logged
    once a validation, and `detect_anomaly` waits for the device after every operation.
    """

    def __init__(self) -> None:
        self._folder = Path()
        self._batch: tuple[int, int, TrainBatch] | None = None
        self._first: float | None = None  # loss
        self._unchecked: list[_Step] = []  # since the last check
        self._diverged: list[_Step] = []  # from the first wrong loss of any process

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets an earlier run."""
        self._folder = Path(trainer.strategy.broadcast(trainer.default_root_dir)) / "diverged"
        self._unchecked, self._diverged, self._first = [], [], None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keeps the batch until its loss has been checked."""
        self._batch = batch_idx, trainer.global_step, batch

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        """Checks the loss, or notes it for the next check.

        Raises:
            DivergenceError: If it is not finite, or far above the first one.
        """
        assert self._batch is not None
        losses = pl_module.losses if isinstance(pl_module, RecommenderModule) else None
        self._unchecked.append(_Step(*self._batch, losses or {"loss": loss.detach()}))
        at_once = loss.device.type == "cpu" and trainer.world_size == 1
        if at_once or len(self._unchecked) == _CHECK_EVERY:
            self._check(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Checks the losses since the last check, before the epoch is saved.

        Raises:
            DivergenceError: If one is not finite, or far above the first one.
        """
        self._check(trainer)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Writes the batch, the losses and the module where training diverged."""
        if not isinstance(exception, DivergenceError):
            return
        together = bool(self._diverged)
        self._diverged = self._diverged or self._unchecked[self._first_wrong() :]
        rank = f"-{trainer.global_rank}" if trainer.world_size > 1 else ""
        try:
            self._write(rank, trainer.current_epoch, pl_module)
        except StorageError as error:
            rank_zero_info(f"The batch that diverged could not be kept: {error}")
        else:
            rank_zero_info(f"The batch, the losses and the weights are kept in {self._folder}")
        if together:  # the others write too, and end with the first process that ends
            trainer.strategy.barrier()

    def _check(self, trainer: pl.Trainer) -> None:
        if not self._unchecked:
            return
        first = int(-largest(trainer, -self._first_wrong()))
        steps, self._unchecked = self._unchecked, []
        if first == len(steps):
            return
        self._diverged = steps[first:]
        number, step, _, losses = self._diverged[0]
        values = {name: float(value) for name, value in losses.items()}
        wrong = [f"{name} {value}" for name, value in values.items() if not math.isfinite(value)]
        total = next(iter(values.items()))
        if not wrong and total[1] > self._limit:
            wrong = [f"{total[0]} {total[1]:.3g}, and {self._first:.3g} in the first batch"]
        raise DivergenceError(
            f"training diverged in epoch {trainer.current_epoch}, batch {number} (step {step}): "
            f"{', '.join(wrong) or 'a loss of another process is not finite, or too large'}",
            expected="finite losses, below 10,000 times the first one",
            fix="train anew with a lower learning_rate; or go on from last.ckpt, "
            "which was saved before, with trainer.gradient_clip_val",
        )

    def _write(self, rank: str, epoch: int, module: pl.LightningModule) -> None:
        from safetensors.torch import save

        state = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
        write_whole(self._folder / f"module{rank}.safetensors", save(state))
        if not self._diverged:  # the losses are finite, but not what was computed from them
            return
        number, step, batch, losses = self._diverged[0]
        tensors = {name: getattr(batch, name) for name in ("users", "positives", "negatives")}
        write_whole(self._folder / f"batch{rank}.safetensors", save(tensors))
        record = {
            "epoch": epoch,
            "batch": number,
            "step": step,
            "batches_since": len(self._diverged) - 1,  # trained on before the check
            "losses": {name: _plain(float(value)) for name, value in losses.items()},
        }
        write_json(self._folder / f"losses{rank}.json", record)

    @property
    def _limit(self) -> float:
        """What no loss may exceed."""
        return math.inf if self._first is None else _GROWTH * max(abs(self._first), 1.0)

    def _first_wrong(self) -> int:
        """Place of the first unchecked loss that is not finite or too large; else their number."""
        if not self._unchecked:
            return 0
        # One wait for the device.
        losses = [next(iter(step.losses.values())) for step in self._unchecked]
        totals = torch.stack(losses).tolist()
        if self._first is None and math.isfinite(totals[0]):
            self._first = totals[0]
        return [*(math.isfinite(loss) and loss <= self._limit for loss in totals), False].index(
            False
        )


def _plain(value: float) -> float | str:
    """JSON knows no NaN and no infinity."""
    return value if math.isfinite(value) else str(value)
