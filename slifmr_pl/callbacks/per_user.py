"""Metrics of single users, for significance tests and for looking closer."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

from slifmr_pl.data.batches import EvalBatch
from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.models.base import RecommenderModule, catalogue_of
from slifmr_pl.runs.run_folders import USERS_FILES, Stage


class PerUserWriter(Callback):
    """Writes what each user contributes to the means that `test` and `validate` report.

    The file has a row for each user who counts (one without relevant items does not), in the order
    of the user ids: `user_id`, `n_relevant`, and `METRIC@K` as float64. It is the same for every
    number of processes: the first one gathers all rows, and names the file when it is whole.

    Args:
        test: Whether `test` writes `per_user.parquet`.
        validate: Whether `validate` writes `per_user-val.parquet`.
    """

    def __init__(self, test: bool = True, validate: bool = False) -> None:
        self.test = test
        self.validate = validate
        self._counts: list[Tensor] = []  # [b, 2]: user, relevant items
        self._values: list[Tensor] = []  # [b, metrics · cut-offs]
        self._columns: list[str] = []

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets an evaluation that was interrupted."""
        self._clear()

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps the values of a batch."""
        if self.test:
            self._keep(pl_module, outputs, batch, "test")

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the file."""
        if self.test:
            self._write(trainer, pl_module, "test")

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets an evaluation that was interrupted."""
        self._clear()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps the values of a batch; not inside `fit`."""
        if self.validate and trainer.state.fn == "validate":
            self._keep(pl_module, outputs, batch, "val")

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the file; not inside `fit`."""
        if self.validate and trainer.state.fn == "validate":
            self._write(trainer, pl_module, "val")

    def _clear(self) -> None:
        self._counts, self._values, self._columns = [], [], []

    def _keep(self, pl_module: pl.LightningModule, ranked: Any, batch: Any, stage: Stage) -> None:
        assert isinstance(pl_module, RecommenderModule)
        assert isinstance(batch, EvalBatch)
        metrics = pl_module.metrics[stage]
        users = metrics.user_values(
            ranked, batch.relevant_offsets, batch.relevant_items, batch.users
        )
        counts = torch.stack([users.users, users.relevant], dim=1)
        self._counts.append(counts.cpu())
        self._values.append(torch.cat([*users.metrics.values()], dim=1).cpu())
        self._columns = [f"{name}@{k}" for name in users.metrics for k in metrics.ks]

    def _write(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: Stage) -> None:
        assert isinstance(pl_module, RecommenderModule)
        users = catalogue_of(pl_module).users
        counts, values = torch.cat(self._counts), torch.cat(self._values)
        columns = self._columns
        self._clear()
        if trainer.world_size > 1:
            counts, values = (
                torch.cat(gather_all_tensors(part.to(pl_module.device))).cpu()
                for part in (counts, values)
            )
        folder = trainer.log_dir  # asks all processes
        if not trainer.is_global_zero or folder is None:
            return
        target = Path(folder) / USERS_FILES[stage]
        table = _table(users, counts.numpy(), values.numpy(), columns)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(f".partial-{os.getpid()}")
        pq.write_table(table, partial)
        partial.replace(target)
        rank_zero_info(f"Metrics of {table.num_rows} users: {target}")


def _table(users: Vocabulary, counts: Any, values: Any, columns: list[str]) -> pa.Table:
    order = np.argsort(counts[:, 0], kind="stable")
    counts, values = counts[order], values[order]
    table = {"user_id": users.decode(counts[:, 0]), "n_relevant": counts[:, 1]}
    table |= {name: values[:, column] for column, name in enumerate(columns)}
    return pa.table(table)
