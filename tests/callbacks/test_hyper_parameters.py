from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from slifmr_pl.callbacks.hyper_parameters import HyperParameters
from slifmr_pl.datamodule import SlifMrDataModule
from tests.tiny_runs import Metrics, demo_data, every_epoch, full_model, trainer

MONITOR = "val/recall@20"


@pytest.fixture(scope="module")
def data(catalogue: Path) -> SlifMrDataModule:
    return demo_data(catalogue)


def fitted(folder: Path, data: SlifMrDataModule, epochs: int, **options: Any) -> Metrics:
    noted = Metrics()
    saver = every_epoch(folder, monitor=MONITOR, mode="max")
    loggers = [CSVLogger(folder, name="csv", version=""), tensorboard(folder)]
    run = trainer(folder, epochs, noted, saver, HyperParameters(), logger=loggers)
    run.fit(full_model(), datamodule=data, **options)
    return noted


def tensorboard(folder: Path) -> TensorBoardLogger:
    return TensorBoardLogger(folder, name="tb", version="", default_hp_metric=False)


def events(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder / "tb"))
    accumulator.Reload()
    return accumulator


def content(accumulator: EventAccumulator, name: str) -> HParamsPluginData:
    metadata = accumulator.summary_metadata[f"_hparams_/{name}"]
    return HParamsPluginData.FromString(metadata.plugin_data.content)


def test_run_is_a_row_of_settings_and_its_best_metrics(
    data: SlifMrDataModule, tmp_path: Path
) -> None:
    noted = fitted(tmp_path, data, 3)
    logged = events(tmp_path)
    best = max(noted.epochs.values(), key=lambda epoch: epoch[MONITOR])
    for name in ("recall@20", "ndcg@5"):
        (scalar,) = logged.Scalars(f"best/{name}")
        assert scalar.value == pytest.approx(best[f"val/{name}"])
    rates = [scalar.value for scalar in logged.Scalars("learning_rate")]
    assert rates == pytest.approx([0.02] * 3)
    settings = content(logged, "session_start_info").session_start_info.hparams
    assert settings["model.optimizer.learning_rate"].number_value == 0.02
    assert settings["model.class"].string_value == "slifmr_pl.module.SlifMrModule"
    assert settings["data.filters.keep_cold_items"].number_value == 1
    shown = {info.name.tag for info in content(logged, "experiment").experiment.metric_infos}
    assert {"best/recall@20", "test/recall@20"} <= shown
    assert "hp_metric" not in logged.Tags()["scalars"]
    header = (tmp_path / "csv" / "metrics.csv").read_text().partition("\n")[0].split(",")
    assert "learning_rate" in header
    assert not [name for name in header if name.startswith("best/")]


def test_run_that_goes_on_remembers_its_best_epoch(data: SlifMrDataModule, tmp_path: Path) -> None:
    first = fitted(tmp_path / "first", data, 2)
    saved = tmp_path / "first" / "epoch=1.ckpt"
    second = Metrics()
    more = [second, ModelCheckpoint(tmp_path, monitor=MONITOR, mode="max"), HyperParameters()]
    run = trainer(tmp_path, 3, *more, logger=tensorboard(tmp_path))
    run.fit(full_model(), datamodule=data, ckpt_path=saved)
    values = [epoch[MONITOR] for epoch in (first.epochs | second.epochs).values()]
    (best,) = events(tmp_path).Scalars("best/recall@20")
    assert best.value == pytest.approx(max(values))
