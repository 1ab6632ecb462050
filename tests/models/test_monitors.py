"""What early stopping and checkpoints watch is refused before data are read, if it is not there."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint

from slifmr_pl.cli import main
from slifmr_pl.data.canonical import RawData
from slifmr_pl.errors import ConfigError
from slifmr_pl.module import SlifMrModule
from slifmr_pl.recommendation_datamodule import RecommendationDataModule
from tests.tiny_runs import trainer


class ReadError(Exception):
    """Data were read."""


class Untouched(RecommendationDataModule):
    """Data that nobody may read."""

    def tables(self) -> RawData:
        raise ReadError


class Logs(Callback):
    """May log anything."""


def started(folder: Path, *callbacks: Callback) -> None:
    trainer(folder, 1, *callbacks).fit(SlifMrModule(ks=(5, 50)), datamodule=Untouched())


@pytest.mark.parametrize(
    ("monitor", "fix"),
    [
        ("val/ndcg@100", "add 100 to model.ks, or monitor val/ndcg@50"),
        ("val/recal@50", "for example val/recall@50"),
        ("test/recall@5", "for example val/recall@5"),
        ("val_loss", "for example val/"),
    ],
)
def test_monitor_that_is_not_measured(tmp_path: Path, monitor: str, fix: str) -> None:
    for callback, key in (
        (EarlyStopping(monitor), "early_stopping"),
        (ModelCheckpoint(monitor=monitor), "checkpoint"),
    ):
        with pytest.raises(ConfigError, match=f"{key}.monitor is {monitor}") as refused:
            started(tmp_path, callback)
        assert fix in refused.value.fix


@pytest.mark.parametrize("monitor", ["val/ndcg@50", "val/n_users", "recall", "train/loss"])
def test_monitor_that_is_measured(tmp_path: Path, monitor: str) -> None:
    with pytest.raises(ReadError):
        started(
            tmp_path,
            EarlyStopping(monitor, mode="max"),
            ModelCheckpoint(monitor=monitor, mode="max"),
        )


@pytest.mark.parametrize(
    ("callback", "section"),
    [
        (EarlyStopping("val/ndcg@50"), "early_stopping"),
        (ModelCheckpoint(monitor="val/ndcg@50"), "checkpoint"),
    ],
)
def test_the_worst_epoch_is_not_kept(tmp_path: Path, callback: Callback, section: str) -> None:
    expected = f"{section}.mode is 'min'\n  expected: max: of ndcg, more is better"
    with pytest.raises(ConfigError, match=expected):
        started(tmp_path, callback)


def test_what_a_callback_of_ones_own_may_log_is_not_refused(tmp_path: Path) -> None:
    with pytest.raises(ReadError):
        started(tmp_path, EarlyStopping("val/mine"), Logs())
    with pytest.raises(ConfigError, match="val/recall@7"):
        started(tmp_path, EarlyStopping("val/recall@7"), Logs())


@pytest.mark.parametrize(
    ("options", "named"),
    [({"patience": -1}, "patience is -1"), ({"min_delta": float("nan")}, "nan")],
)
def test_early_stopping_that_cannot_be(tmp_path: Path, options: dict[str, int], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        started(tmp_path, EarlyStopping("val/recall@5", mode="max", **options))


def test_evaluation_needs_no_monitor(tmp_path: Path) -> None:
    with pytest.raises(ReadError):
        trainer(tmp_path, 1, ModelCheckpoint(monitor="x")).test(SlifMrModule(), Untouched())


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--early_stopping.monitor", "val/ndcg@100"], "early_stopping.monitor is val/ndcg@100"),
        (["--model.ks", "[5]"], "monitor is val/recall@20"),
        (["--model.ks", "[0]"], "model.ks is [0]"),
        (["--model.optimizer.learning_rate", "-1"], "model.optimizer.learning_rate is -1"),
        (["--data.batch_size", "0"], "data.batch_size is 0"),
        (["--data.filters.k_core", "-1"], "data.filters.k_core is -1"),
        (["--seed_everything", "-1"], "seed_everything is -1"),
    ],
)
def test_contradiction_on_the_command_line_ends_the_run_before_data_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], named: str
) -> None:
    root = ["--data.root", str(tmp_path / "absent"), "--trainer.default_root_dir", str(tmp_path)]
    assert main(["fit", *root, "--trainer.accelerator", "cpu", *flags]) == 2
    printed = capsys.readouterr().err
    assert named in printed
    assert "fix:" in printed
    assert not list(tmp_path.glob("slifmr/version_*"))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"accumulate_grad_batches": 0}, "trainer.accumulate_grad_batches is 0"),
        ({"accumulate_grad_batches": -1}, "trainer.accumulate_grad_batches is -1"),
        ({"check_val_every_n_epoch": 0}, "trainer.check_val_every_n_epoch is 0"),
        ({"val_check_interval": 0}, "trainer.val_check_interval is 0"),
        ({"gradient_clip_val": -1.0}, "trainer.gradient_clip_val is -1.0"),
        ({"gradient_clip_val": float("nan")}, "trainer.gradient_clip_val is nan"),
        ({"log_every_n_steps": -1}, "trainer.log_every_n_steps is -1"),
        ({"limit_train_batches": 0}, "trainer.limit_train_batches is 0"),
        ({"limit_val_batches": 0}, "EarlyStopping watches val/recall@5"),
    ],
)
def test_trainer_that_would_fail_later_or_train_backwards(
    tmp_path: Path, options: dict[str, Any], named: str
) -> None:
    fit = trainer(tmp_path, 1, EarlyStopping("val/recall@5"), **options)
    with pytest.raises(ConfigError, match=named):
        fit.fit(SlifMrModule(), datamodule=Untouched())


@pytest.mark.parametrize(
    "options",
    [
        {"gradient_clip_val": 0},
        {"gradient_clip_val": 1.5, "accumulate_grad_batches": 2, "log_every_n_steps": 0},
        {"val_check_interval": 0.5},
        {"val_check_interval": 5, "check_val_every_n_epoch": None},
        {"val_check_interval": "00:00:05:00"},
        {"fast_dev_run": True},
        {"limit_val_batches": 0},
    ],
)
def test_settings_of_a_trainer_that_can_be(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ReadError):
        trainer(tmp_path, 1, **options).fit(SlifMrModule(), datamodule=Untouched())


def test_trainer_of_lightning_alone_is_checked_too(tmp_path: Path) -> None:
    fit = pl.Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=[EarlyStopping("val/x")],
        default_root_dir=tmp_path,
    )
    with pytest.raises(ConfigError, match="val/x"):
        fit.fit(SlifMrModule(), datamodule=Untouched())
