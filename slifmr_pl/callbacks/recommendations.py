"""Recommendations of `predict`, written with raw ids."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytorch_lightning as pl
from pytorch_lightning.callbacks import BasePredictionWriter
from pytorch_lightning.utilities import rank_zero_info

from slifmr_pl.data.batches import EvalBatch
from slifmr_pl.datamodule import SlifMrDataModule
from slifmr_pl.graphs.topk import TopK

SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("rank", pa.int32()),
        ("score", pa.float32()),
    ]
)


class RecommendationWriter(BasePredictionWriter):
    """Streams the lists of `predict` to Parquet: user_id, item_id, rank (from 1), score.

    Each process writes `recommendations-RANK.parquet`; a file gets its name when it is whole.

    Args:
        folder: Where to; default the run's log folder.
    """

    def __init__(self, folder: str | None = None) -> None:
        super().__init__(write_interval="batch")
        self.folder = folder
        self._writer: pq.ParquetWriter | None = None
        self._target = Path()

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Opens this process's file."""
        folder = Path(self.folder or trainer.log_dir or trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        if trainer.is_global_zero:
            for stale in folder.glob("recommendations-*.parquet"):
                stale.unlink()  # an earlier run may have had more processes
        self._target = folder / f"recommendations-{trainer.global_rank}.parquet"
        self._writer = pq.ParquetWriter(self._partial, SCHEMA)

    def write_on_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Appends the lists of one batch."""
        data = getattr(trainer, "datamodule", None)
        assert isinstance(data, SlifMrDataModule)
        assert isinstance(prediction, TopK)
        assert isinstance(batch, EvalBatch)
        assert self._writer is not None
        items = prediction.indices.cpu().numpy()
        users, ranks = np.nonzero(items >= 0)
        self._writer.write_table(
            pa.table(
                {
                    "user_id": data.data.users.decode(batch.users.cpu().numpy()[users]),
                    "item_id": data.data.items.decode(items[users, ranks]),
                    "rank": (ranks + 1).astype(np.int32),
                    "score": prediction.values.float().cpu().numpy()[users, ranks],
                },
                schema=SCHEMA,
            )
        )

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gives the file its name."""
        assert self._writer is not None
        self._writer.close()
        self._partial.rename(self._target)
        rank_zero_info(f"Recommendations: {self._target}")

    @property
    def _partial(self) -> Path:
        return self._target.with_suffix(".partial")
