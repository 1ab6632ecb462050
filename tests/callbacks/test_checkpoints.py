from pathlib import Path

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.demos.boring_classes import BoringModel

from slifmr_pl.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from slifmr_pl.run_folders import last_path


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
