"""Training that is no longer finite ends at once, with what is needed to see why."""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor

from slifmr_pl.callbacks.storage import write_whole
from slifmr_pl.data.batches import TrainBatch
from slifmr_pl.errors import DivergenceError, StorageError
from slifmr_pl.losses.objective import Losses
from slifmr_pl.module import SlifMrModule

_BLOCK = 50  # batches whose losses are read from a GPU at a time; each reading waits for the GPU


class _Seen(NamedTuple):
    """A batch, its number in the epoch, the optimizer's steps before it, and its losses."""

    number: int
    step: int
    batch: TrainBatch
    losses: Losses


class FiniteLosses(Callback):
    """Ends training at the first loss that is NaN or infinite.

    On one CPU process each loss is looked at before its gradients are computed, so the weights are
    still those that gave it. Elsewhere looking costs a wait of the host for the device (and of
    the processes for each other), so the losses of 50 batches are looked at together, and at the
    end of the epoch. Whatever ends as divergence leaves a folder `diverged` in the run's folder:
    the batch and the module as safetensors, the losses as JSON.
    """

    def __init__(self) -> None:
        self._batch: tuple[int, int, TrainBatch] | None = None
        self._seen: list[_Seen] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets an earlier run."""
        self._seen = []

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
        assert isinstance(pl_module, SlifMrModule)
        assert self._batch is not None
        assert pl_module.losses is not None
        self._seen.append(_Seen(*self._batch, pl_module.losses))
        at_once = loss.device.type == "cpu" and trainer.world_size == 1
        if at_once or len(self._seen) == _BLOCK:
            self._look(trainer, loss.device)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Looks at the losses since the last look, before anything of the epoch is saved.

        Raises:
            DivergenceError: If one is not finite.
        """
        self._look(trainer, pl_module.device)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Keeps what led to a divergence."""
        if isinstance(exception, DivergenceError) and trainer.is_global_zero:
            assert isinstance(pl_module, SlifMrModule)
            folder = Path(trainer.default_root_dir) / "diverged"
            try:
                self._keep(folder, trainer.current_epoch, pl_module)
            except StorageError as error:
                rank_zero_info(f"What led to it could not be kept: {error}")
            else:
                rank_zero_info(f"The batch, the losses and the weights are kept in {folder}")

    def _look(self, trainer: pl.Trainer, device: torch.device) -> None:
        if not self._seen:
            return
        finite = torch.stack([seen.losses.total for seen in self._seen]).isfinite()
        all_finite = finite.all().float()
        if trainer.world_size > 1:  # all processes stop, whichever found it
            all_finite = trainer.strategy.reduce(all_finite.to(device), reduce_op="mean")
        if float(all_finite) == 1.0:
            self._seen = []
            return
        first = int((~finite).int().argmax())  # 0 where another process found it
        self._seen = self._seen[first:]
        number, step, _, losses = self._seen[0]
        values = {name: float(value) for name, value in losses._asdict().items()}
        wrong = [f"{name} {value}" for name, value in values.items() if not math.isfinite(value)]
        raise DivergenceError(
            f"training diverged in epoch {trainer.current_epoch}, batch {number} (step {step}): "
            f"{', '.join(wrong) or 'a loss of another process is not finite'}",
            expected="finite losses",
            fix="train anew with a lower model.optimizer.learning_rate; or go on from last.ckpt, "
            "which is of before, with trainer.gradient_clip_val",
        )

    def _keep(self, folder: Path, epoch: int, module: SlifMrModule) -> None:
        from safetensors.torch import save

        state = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
        write_whole(folder / "module.safetensors", save(state))
        if not self._seen:  # finite losses, and weights that are not
            return
        number, step, batch, losses = self._seen[0]
        tensors = {name: getattr(batch, name) for name in ("users", "positives", "negatives")}
        write_whole(folder / "batch.safetensors", save(tensors))
        record = {
            "epoch": epoch,
            "batch": number,
            "step": step,
            "batches_since": len(self._seen) - 1,  # that the weights were trained on meanwhile
            "losses": {name: _json(float(value)) for name, value in losses._asdict().items()},
        }
        write_whole(folder / "losses.json", (json.dumps(record, indent=1) + "\n").encode())


def _json(value: float) -> float | str:
    """JSON knows no NaN and no infinity."""
    return value if math.isfinite(value) else str(value)
