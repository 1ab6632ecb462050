"""A data module of a user's own: arrays in memory, with facts and features."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import pytorch_lightning as pl
import torch

from slifmr_pl.callbacks.per_user import PerUserWriter
from slifmr_pl.callbacks.recommendations import RecommendationWriter
from slifmr_pl.callbacks.results import ResultTable
from slifmr_pl.callbacks.run_record import RunRecorder
from slifmr_pl.data.dataset import FilterConfig, RecommendationData, SplitConfig, build_dataset
from slifmr_pl.data.frozen_features import FrozenFeatures
from slifmr_pl.data.perturbations import Perturbations
from slifmr_pl.errors import ConfigError, DataError
from slifmr_pl.recommendation_datamodule import RecommendationDataModule, default_cache
from tests.extending.parts.clusters_data import N_ITEMS, N_USERS, ClustersDataModule
from tests.tiny_runs import every_epoch, full_model, state, trainer


def clusters(folder: Path, **options: Any) -> ClustersDataModule:
    options = {"batch_size": 64, "negatives": 4, "neighbours": 3, **options}
    return ClustersDataModule(cache_dir=str(folder / "cache"), **options)


def test_own_data_module_is_trained_tested_and_predicted_with(tmp_path: Path) -> None:
    data, module = clusters(tmp_path), full_model()
    results = [RunRecorder(1), ResultTable(), PerUserWriter()]
    run = trainer(tmp_path, 2, *results, logger=pl.loggers.CSVLogger(tmp_path))
    run.fit(module, datamodule=data)
    folder = Path(run.log_dir or "")
    assert list(data.model_inputs.features) == ["cluster"]
    assert data.model_inputs.graph.triples is not None
    run.test(module, datamodule=data)
    record, result = (json.loads((folder / name).read_text()) for name in ("run.json", "test.json"))
    assert record["data"] == result["data"]
    assert record["data"]["fingerprint"] == data.model_inputs.fingerprint
    assert result["metrics"]["test/recall@5"] > 0.4
    users = pq.read_table(folder / "per_user.parquet")["user_id"].to_pylist()
    assert set(users) <= set(data.data.users.ids.to_pylist())
    target = tmp_path / "recommendations.parquet"
    predicting = trainer(tmp_path, 1, RecommendationWriter(str(tmp_path)))
    predicting.predict(module, datamodule=data, return_predictions=False)
    assert set(pq.read_table(target)["user_id"].to_pylist()) == set(data.data.users.ids.to_pylist())


def test_own_data_module_resumes_exactly(tmp_path: Path) -> None:
    straight = full_model()
    trainer(tmp_path / "straight", 2).fit(straight, datamodule=clusters(tmp_path))
    first = trainer(tmp_path / "first", 1, every_epoch(tmp_path))
    first.fit(full_model(), datamodule=clusters(tmp_path))
    resumed = full_model()
    trainer(tmp_path / "second", 2).fit(
        resumed, datamodule=clusters(tmp_path), ckpt_path=tmp_path / "epoch=0.ckpt"
    )
    expected, actual = state(straight), state(resumed)
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


def test_own_data_module_is_shared_out_over_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [row for batch in clusters(tmp_path).val_dataloader() for row in batch.users.tolist()]
    shared = []
    for rank in range(2):
        monkeypatch.setattr(RecommendationDataModule, "_world_size", 2)
        monkeypatch.setattr(RecommendationDataModule, "_rank", rank)
        loader = clusters(tmp_path).val_dataloader()
        shared += [row for batch in loader for row in batch.users.tolist()]
    assert shared == users == list(range(N_USERS))


def test_what_changes_the_data_changes_the_fingerprint(tmp_path: Path) -> None:
    fingerprints = {
        clusters(tmp_path, **change).model_inputs.fingerprint
        for change in (
            {},
            {"clusters": 4},
            {"split": SplitConfig(seed=1)},
            {"filters": FilterConfig(k_core=7)},
            {"use_knowledge": False},
            {"perturbations": Perturbations(missing_features={"cluster": 0.5})},
        )
    }
    assert len(fingerprints) == 6
    assert clusters(tmp_path).model_inputs.fingerprint in fingerprints
    how = Perturbations(missing_features={"image": 0.5})
    with pytest.raises(ConfigError, match="names image"):
        _ = clusters(tmp_path, perturbations=how).model_inputs


class Numbered(RecommendationDataModule):
    """Has rows already."""

    def __init__(self, data: RecommendationData) -> None:
        super().__init__(batch_size=64)
        self._given = data

    def dataset(self) -> RecommendationData:
        return self._given


def test_numbered_data_are_taken_as_they_are(tmp_path: Path) -> None:
    given = build_dataset(clusters(tmp_path).tables(), FilterConfig(), SplitConfig())
    data = Numbered(given)
    assert data.data is given
    assert len(data.train_dataloader()) == -(-len(given.train) // 64)
    assert data.model_inputs.graph.n_items == N_ITEMS


@pytest.mark.parametrize(
    ("features", "found"),
    [
        (FrozenFeatures(np.ones((3, 2), np.float32), np.ones(3, np.bool_)), r"features \[3, 2\]"),
        (
            FrozenFeatures(np.zeros((N_ITEMS, 2), np.float32), np.zeros(N_ITEMS, np.bool_)),
            "none of the 24 items has features",
        ),
    ],
)
def test_features_that_do_not_fit_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, features: FrozenFeatures, found: str
) -> None:
    monkeypatch.setattr(ClustersDataModule, "features", lambda self, items: {"cluster": features})
    with pytest.raises(DataError, match=found):
        _ = clusters(tmp_path).model_inputs


@pytest.mark.parametrize("values", [np.ones((2, 2)), np.full((2, 2), np.nan, np.float32)])
def test_features_are_finite_single_precision(values: Any) -> None:
    with pytest.raises(DataError, match="not all finite float32"):
        FrozenFeatures(values, np.ones(2, np.bool_))


class Foreign(pl.LightningDataModule):
    def predict_dataloader(self) -> list[Any]:
        return []


def test_foreign_data_module_is_refused_in_words(tmp_path: Path) -> None:
    run = trainer(tmp_path, 1, RecommendationWriter(str(tmp_path)))
    with pytest.raises(ConfigError, match="Foreign"):
        run.predict(full_model(), datamodule=Foreign())


@pytest.mark.parametrize(
    ("own", "shared", "expected"),
    [
        ("/own", "/shared", "/own"),
        (None, "/shared", "/shared/slifmr_pl"),
        ("", "/shared", "/shared/slifmr_pl"),
        (None, None, "/home/me/.cache/slifmr_pl"),
        (None, "relative", "/home/me/.cache/slifmr_pl"),
    ],
)
def test_cache_is_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, own: str | None, shared: str | None, expected: str
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for name, value in (("SLIFMR_CACHE", own), ("XDG_CACHE_HOME", shared)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert default_cache() == Path(expected)


def test_place_of_the_cache_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    logging.getLogger("slifmr_pl").propagate = True  # the command line has its own handler
    clusters(tmp_path).setup("fit")
    assert f"Cache (data.cache_dir): {tmp_path / 'cache'}" in caplog.text
