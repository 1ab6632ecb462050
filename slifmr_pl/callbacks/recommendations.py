"""Recommendations of `predict`, written with raw ids."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import BasePredictionWriter
from pytorch_lightning.utilities import rank_zero_info

from slifmr_pl.data.batches import EvalBatch
from slifmr_pl.data.catalogue import Catalogue
from slifmr_pl.data.selection import PredictRequest, allowed_items, read_rows
from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.sparse.topk import TopK
from slifmr_pl.models.base import RecommenderModule, catalogue_of
from slifmr_pl.recommendation_datamodule import data_module_of

FILE = "recommendations.parquet"
SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("rank", pa.int32()),
        ("score", pa.float32()),
    ]
)


class RecommendationWriter(BasePredictionWriter):
    """Streams the lists of `predict` to `recommendations.parquet`: user_id, item_id, rank, score.

    Ranks begin at 1; users come in the order of their ids. Several processes write parts into the
    same folder, which the first one joins: the file is that of one process. It gets its name when
    it is whole.

    Args:
        folder: Where to; default the run's folder.
        exclude_seen: Leave out what a user has interacted with, in any part of the data.
        candidates: Table with a column `item_id`: nothing else is recommended.
        blocked: Table with a column `item_id`: never recommended, candidates or not.
        users: Table with a column `user_id`: who gets a list; default everybody.
    """

    def __init__(
        self,
        folder: str | None = None,
        exclude_seen: bool = True,
        candidates: str | None = None,
        blocked: str | None = None,
        users: str | None = None,
    ) -> None:
        super().__init__(write_interval="batch")
        self.folder = folder
        self.exclude_seen = exclude_seen
        self.candidates = candidates
        self.blocked = blocked
        self.users = users
        self._writer: pq.ParquetWriter | None = None
        self._target = Path()
        self._rank = 0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Tells the data module whom to rank for, and the module what."""
        if stage != "predict":
            return
        assert isinstance(pl_module, RecommenderModule)
        catalogue = _catalogue(trainer)
        users, items = catalogue.users, catalogue.items
        candidates, blocked = (
            None if path is None else read_rows(path, "item_id", items)
            for path in (self.candidates, self.blocked)
        )
        request = PredictRequest(
            users=None if self.users is None else read_rows(self.users, "user_id", users),
            items=allowed_items(len(items), candidates, blocked),
            exclude_seen=self.exclude_seen,
        )
        data_module_of(trainer).predict_request = request
        allowed = request.items
        pl_module.recommendable = None if allowed is None else torch.from_numpy(allowed)

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Opens this process's part."""
        folder = Path(self.folder or trainer.log_dir or trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        self._target, self._rank = folder / FILE, trainer.global_rank
        self._writer = pq.ParquetWriter(self._part(self._rank), SCHEMA)

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
        assert isinstance(pl_module, RecommenderModule)
        catalogue = catalogue_of(pl_module)
        assert isinstance(prediction, TopK)
        assert isinstance(batch, EvalBatch)
        assert self._writer is not None
        items = prediction.indices.cpu().numpy()
        users, ranks = np.nonzero(items >= 0)
        self._writer.write_table(
            pa.table(
                {
                    "user_id": catalogue.users.decode(batch.users.cpu().numpy()[users]),
                    "item_id": catalogue.items.decode(items[users, ranks]),
                    "rank": (ranks + 1).astype(np.int32),
                    "score": prediction.values.float().cpu().numpy()[users, ranks],
                },
                schema=SCHEMA,
            )
        )

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Joins the parts and gives the file its name."""
        assert self._writer is not None
        self._writer.close()
        trainer.strategy.barrier("recommendations are written")
        if not trainer.is_global_zero:
            return
        parts = [self._part(rank) for rank in range(trainer.world_size)]
        if len(parts) > 1:
            whole = self._target.with_name(f"{FILE}.partial")
            with pq.ParquetWriter(whole, SCHEMA) as writer:
                for table in _row_groups(parts):
                    writer.write_table(table)
            for part in parts:
                part.unlink()
        else:
            (whole,) = parts
        whole.replace(self._target)
        rank_zero_info(f"Recommendations: {self._target}")

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Removes this process's part."""
        if self._writer is not None:
            self._writer.close()
            self._part(self._rank).unlink(missing_ok=True)

    def _part(self, rank: int) -> Path:
        return self._target.with_name(f"{FILE}.partial-{rank}")


def _catalogue(trainer: pl.Trainer) -> Catalogue:
    """Raw ids of the data module's rows, before the model has them."""
    catalogue = data_module_of(trainer).model_inputs.catalogue
    if catalogue is None:
        raise ConfigError(
            "the data module gives model inputs without a catalogue",
            expected="raw ids of users and items",
            fix="set `catalogue` of its ModelInputs",
        )
    return catalogue


def _row_groups(parts: Sequence[Path]) -> Iterator[pa.Table]:
    for part in parts:
        with pq.ParquetFile(part) as file:
            for group in range(file.num_row_groups):
                yield file.read_row_group(group)
