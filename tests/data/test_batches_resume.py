"""Training that is killed and resumed by Lightning sees the batches of an unbroken run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from slifmr_pl.data.batches import EvalBatch, EvalBatches, TrainBatch, TrainBatches
from slifmr_pl.data.interactions import Interactions, UserItems
from slifmr_pl.data.sampler import UniformSampler

EPOCHS, BATCHES = 3, 5
Seen = tuple[int, list[int], list[list[int]]]


class Killed(Exception):
    pass


class Recorder(pl.LightningModule):
    """Notes the epoch, pairs and negatives of each step; may die after a number of them."""

    def __init__(self, die_after: int | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[Seen] = []
        self.die_after = die_after

    def training_step(self, batch: TrainBatch, batch_idx: int) -> Tensor:
        if len(self.seen) == self.die_after:
            raise Killed
        pairs = (batch.users * 100 + batch.positives).tolist()
        self.seen.append((self.current_epoch, pairs, batch.negatives.tolist()))
        return self.weight * batch_idx

    def validation_step(self, batch: EvalBatch, batch_idx: int) -> None:
        self.log("users", float(len(batch.users)), batch_size=1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def loaders() -> tuple[TrainBatches, EvalBatches]:
    flat = np.sort(np.random.default_rng(0).choice(80, 40, replace=False))
    train = Interactions(flat // 10, flat % 10)
    items = UserItems.of(8, train)
    return (
        TrainBatches(train, UniformSampler().built(items, 10), batch_size=8, n_negatives=2),
        EvalBatches(np.arange(8), items, items, batch_size=4),
    )


def fit(
    model: Recorder,
    folder: Path,
    checkpoint: ModelCheckpoint | None,
    resume: Path | None = None,
    **options: Any,
) -> list[Seen]:
    trainer = pl.Trainer(
        **{"max_epochs": EPOCHS, **options},
        accelerator="cpu",
        callbacks=[checkpoint] if checkpoint else [],
        enable_checkpointing=checkpoint is not None,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    train, valid = loaders()
    if resume is None:
        trainer.fit(model, train, valid)
    else:
        trainer.fit(model, train, valid, ckpt_path=resume, weights_only=True)
    return model.seen


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> list[Seen]:
    seen = fit(Recorder(), tmp_path_factory.mktemp("unbroken"), None)
    assert [epoch for epoch, _, _ in seen] == [0] * BATCHES + [1] * BATCHES + [2] * BATCHES
    assert len({str(pairs) for _, pairs, _ in seen}) == len(seen)
    return seen


@pytest.mark.parametrize("steps", range(1, EPOCHS * BATCHES))
def test_killed_after_any_batch_resumes_at_the_next(
    tmp_path: Path, unbroken: list[Seen], steps: int
) -> None:
    every_step = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    with pytest.raises(Killed):
        fit(Recorder(die_after=steps), tmp_path, every_step)
    resumed = fit(Recorder(), tmp_path, None, tmp_path / f"step={steps}.ckpt")
    assert resumed == unbroken[steps:]


# Not here: max_steps with a checkpoint saved on_train_epoch_end. Lightning 2.6 resumes that with
# an epoch without batches, which calls the epoch hooks once more and skips an epoch number.
@pytest.mark.parametrize(
    ("on_train_end", "options"),
    [(True, {}), (False, {}), (False, {"max_steps": EPOCHS * BATCHES, "max_epochs": -1})],
)
@pytest.mark.parametrize("epochs", [1, 2])
def test_end_of_epoch_checkpoint_resumes_at_the_next_epoch(
    tmp_path: Path, unbroken: list[Seen], epochs: int, on_train_end: bool, options: dict[str, int]
) -> None:
    at_end = ModelCheckpoint(
        tmp_path, "{epoch}", save_top_k=-1, save_on_train_epoch_end=on_train_end
    )
    with pytest.raises(Killed):
        fit(Recorder(die_after=epochs * BATCHES), tmp_path, at_end, **options)
    resumed = fit(Recorder(), tmp_path, None, tmp_path / f"epoch={epochs - 1}.ckpt", **options)
    assert resumed == unbroken[epochs * BATCHES :]


def test_checkpoint_of_a_validation_within_the_epoch_resumes_there(
    tmp_path: Path, unbroken: list[Seen]
) -> None:
    after_validation = ModelCheckpoint(
        tmp_path, "{step}", save_top_k=-1, save_on_train_epoch_end=False
    )
    with pytest.raises(Killed):
        fit(Recorder(die_after=8), tmp_path, after_validation, val_check_interval=2)
    resumed = fit(Recorder(), tmp_path, None, tmp_path / "step=7.ckpt", val_check_interval=2)
    assert resumed == unbroken[7:]


def test_fewer_batches_an_epoch_are_the_first_of_each(tmp_path: Path, unbroken: list[Seen]) -> None:
    seen = fit(Recorder(), tmp_path, None, limit_train_batches=2)
    assert seen == [row for first in (0, 5, 10) for row in unbroken[first : first + 2]]
