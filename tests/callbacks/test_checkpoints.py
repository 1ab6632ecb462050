import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.demos.boring_classes import BoringModel

from slifmr_pl.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from slifmr_pl.runs.run_folders import last_path
from tests.tiny_runs import Metrics, demo_data, full_model, state, trainer


class Scored(BoringModel):
    """Logs one score an epoch."""

    def __init__(self, scores: list[float]) -> None:
        super().__init__()
        self.scores = scores

    def on_validation_epoch_end(self) -> None:
        self.log("score", self.scores[self.current_epoch])


def fit(folder: Path, scores: list[float], resume: str | None = None) -> BestCheckpoint:
    best = BestCheckpoint(folder, monitor="score", mode="max", filename="{epoch}")
    trainer = Trainer(
        max_epochs=len(scores),
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_train_batches=2,
        limit_val_batches=1,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        callbacks=[best, LastCheckpoint()],
    )
    trainer.fit(Scored(scores), ckpt_path=resume)
    return best


def test_last_is_the_last_epoch_whatever_is_best(tmp_path: Path) -> None:
    best = fit(tmp_path, [3.0, 1.0, 2.0])
    assert best.best_model_path == str(tmp_path / "epoch=0.ckpt")
    assert torch.load(last_path(tmp_path), weights_only=True)["epoch"] == 2
    assert [path.name for path in tmp_path.glob("*.ckpt")] == ["epoch=0.ckpt"]
    assert [path.name for path in last_path(tmp_path).parent.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize(("later", "expected"), [(2.0, "a/epoch=0"), (4.0, "b/epoch=2")])
def test_best_of_the_whole_run_survives_a_resume_into_another_folder(
    tmp_path: Path, later: float, expected: str
) -> None:
    fit(tmp_path / "a", [3.0, 1.0])
    resumed = fit(tmp_path / "b", [3.0, 1.0, later], str(last_path(tmp_path / "a")))
    assert resumed.best_model_path == str(tmp_path / f"{expected}.ckpt")
    assert (tmp_path / "a" / "epoch=0.ckpt").is_file()


def test_resume_goes_on_where_the_best_checkpoint_was_removed(tmp_path: Path) -> None:
    fit(tmp_path / "a", [3.0, 1.0])
    (tmp_path / "a" / "epoch=0.ckpt").unlink()
    resumed = fit(tmp_path / "b", [3.0, 1.0, 0.5], str(last_path(tmp_path / "a")))
    assert resumed.best_model_path == str(tmp_path / "b" / "epoch=2.ckpt")


class Copies(LastCheckpoint):
    """Keeps a copy of each `last.ckpt`."""

    def save(self, trainer: Trainer) -> None:
        super().save(trainer)
        shutil.copyfile(self.path, self.path.with_name(f"{trainer.global_step:03d}.ckpt"))


SCHEDULES: list[dict[str, Any]] = [
    {},
    {"check_val_every_n_epoch": 2},
    {"val_check_interval": 0.5},
    {"accumulate_grad_batches": 3},
]


@pytest.mark.parametrize("options", SCHEDULES, ids=str)
def test_every_last_checkpoint_resumes_exactly_in_every_schedule(
    catalogue: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    module, metrics = full_model(), Metrics()
    run = trainer(tmp_path, 2, metrics, Copies(minutes=0), **options)
    run.fit(module, datamodule=demo_data(catalogue))
    saved = sorted(last_path(tmp_path).parent.glob("0*.ckpt"))
    assert any(torch.load(path, weights_only=True)["global_step"] % 8 for path in saved)
    for path in saved:
        again, later = full_model(), Metrics()
        resumed = trainer(tmp_path / "again", 2, later, **options)
        resumed.fit(again, datamodule=demo_data(catalogue), ckpt_path=str(path))
        for name, tensor in state(module).items():
            assert torch.equal(tensor, again.state_dict()[name]), (path.name, name)
        for epoch, values in later.epochs.items():
            assert values == metrics.epochs[epoch], path.name
