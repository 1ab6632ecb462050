"""Training that is no longer finite ends at once, with what is needed to see why."""

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

_BLOCK = 50  # batches whose losses are read from a GPU at a time; each reading waits for the GPU


class _Seen(NamedTuple):
    """A batch, its number in the epoch, the optimizer's steps before it, and its losses by name.

    The first of the losses is what is minimised.
    """

    number: int
    step: int
    batch: TrainBatch
    losses: Mapping[str, Tensor]


class FiniteLosses(Callback):
    """Ends training at the first loss that is NaN or infinite.

    On one CPU process each loss is looked at before its gradients are computed, so the weights are
    still those that gave it. Elsewhere looking costs a wait of the host for the device (and of
    the processes for each other), so the losses of 50 batches are looked at together, and at the
    end of the epoch. Whatever ends as divergence leaves a folder `diverged` in the run's folder:
    the batch and the module as safetensors, the losses as JSON. Of several processes each leaves
    its own, with its rank in the names.
    """

    def __init__(self) -> None:
        self._folder = Path()
        self._batch: tuple[int, int, TrainBatch] | None = None
        self._seen: list[_Seen] = []  # since the last look
        self._wrong: list[_Seen] = []  # from the first batch of which a process has a wrong loss

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets an earlier run."""
        self._folder = Path(trainer.strategy.broadcast(trainer.default_root_dir)) / "diverged"
        self._seen, self._wrong = [], []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Holds on to the batch until its loss is known to be finite."""
        self._batch = batch_idx, trainer.global_step, batch

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        """Looks at the loss, or notes it for later.

        Raises:
            DivergenceError: If it is not finite.
        """
        assert self._batch is not None
        losses = pl_module.losses if isinstance(pl_module, RecommenderModule) else None
        self._seen.append(_Seen(*self._batch, losses or {"loss": loss.detach()}))
        at_once = loss.device.type == "cpu" and trainer.world_size == 1
        if at_once or len(self._seen) == _BLOCK:
            self._look(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Looks at the losses since the last look, before anything of the epoch is saved.

        Raises:
            DivergenceError: If one is not finite.
        """
        self._look(trainer)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Keeps what led to a divergence."""
        if not isinstance(exception, DivergenceError):
            return
        together = bool(self._wrong)
        self._wrong = self._wrong or self._seen[_first_wrong(self._seen) :]
        rank = f"-{trainer.global_rank}" if trainer.world_size > 1 else ""
        try:
            self._keep(rank, trainer.current_epoch, pl_module)
        except StorageError as error:
            rank_zero_info(f"What led to it could not be kept: {error}")
        else:
            rank_zero_info(f"The batch, the losses and the weights are kept in {self._folder}")
        if together:  # the end of one process ends the others
            trainer.strategy.barrier()

    def _look(self, trainer: pl.Trainer) -> None:
        if not self._seen:
            return
        first = int(-largest(trainer, -_first_wrong(self._seen)))
        seen, self._seen = self._seen, []
        if first == len(seen):
            return
        self._wrong = seen[first:]
        number, step, _, losses = self._wrong[0]
        values = {name: float(value) for name, value in losses.items()}
        wrong = [f"{name} {value}" for name, value in values.items() if not math.isfinite(value)]
        raise DivergenceError(
            f"training diverged in epoch {trainer.current_epoch}, batch {number} (step {step}): "
            f"{', '.join(wrong) or 'a loss of another process is not finite'}",
            expected="finite losses",
            fix="train anew with a lower learning_rate; or go on from last.ckpt, "
            "which is of before, with trainer.gradient_clip_val",
        )

    def _keep(self, rank: str, epoch: int, module: pl.LightningModule) -> None:
        from safetensors.torch import save

        state = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
        write_whole(self._folder / f"module{rank}.safetensors", save(state))
        if not self._wrong:  # finite losses, and weights that are not
            return
        number, step, batch, losses = self._wrong[0]
        tensors = {name: getattr(batch, name) for name in ("users", "positives", "negatives")}
        write_whole(self._folder / f"batch{rank}.safetensors", save(tensors))
        record = {
            "epoch": epoch,
            "batch": number,
            "step": step,
            "batches_since": len(self._wrong) - 1,  # that the weights were trained on meanwhile
            "losses": {name: _json(float(value)) for name, value in losses.items()},
        }
        write_json(self._folder / f"losses{rank}.json", record)


def _first_wrong(seen: list[_Seen]) -> int:
    """Place of the first loss that is not finite; behind the last one where all are."""
    if not seen:
        return 0
    totals = torch.stack(
        [next(iter(one.losses.values())) for one in seen]
    )  # one wait for the device
    return [*totals.isfinite().tolist(), False].index(False)


def _json(value: float) -> float | str:
    """JSON knows no NaN and no infinity."""
    return value if math.isfinite(value) else str(value)
