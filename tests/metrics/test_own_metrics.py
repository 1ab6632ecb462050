"""Metrics of the user's own get what built-in ones get."""

import json
import math
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from pytorch_lightning.callbacks import EarlyStopping
from torch import Tensor
from torch.nn.functional import cosine_similarity

from slifmr_pl.callbacks.per_user import PerUserWriter
from slifmr_pl.callbacks.results import ResultTable
from slifmr_pl.config import plugins
from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.model_inputs import ItemFeatures
from slifmr_pl.metrics.definitions import available_metrics, built_in_metrics
from slifmr_pl.metrics.metric import CatalogueMetric, RankingMetric, UserMetric
from slifmr_pl.metrics.metric_inputs import MetricInputs
from slifmr_pl.metrics.ranked_lists import RankedLists
from slifmr_pl.metrics.ranking_metrics import RankingMetrics
from slifmr_pl.models.ranking_module import RankingModule
from slifmr_pl.module import SlifMrModule
from tests.metrics.measured import (
    Users,
    as_users,
    assert_same,
    random_users,
    users_from_to,
    values_of_two_processes,
)
from tests.metrics.own_metrics import GiniOfExposure, IntraListDiversity, own_metrics
from tests.models.tiny import inputs_of_matrix, random_matrix
from tests.tiny_runs import Metrics, demo_data, every_epoch, full_model, trainer

KS = (10, 2)
N_ITEMS = 40


def features() -> ItemFeatures:
    """Of 40 items, every fifth of which has none."""
    values = torch.randn(N_ITEMS, 6, generator=torch.Generator().manual_seed(5))
    return ItemFeatures(values, torch.arange(N_ITEMS) % 5 > 0)


def opened(ks: tuple[int, ...] = KS) -> RankingMetrics:
    inputs = inputs_of_matrix(random_matrix(30, N_ITEMS), {"text": features()})
    return RankingMetrics(own_metrics(), ks, MetricInputs.of(inputs))


def diversity(ranked: list[int], k: int) -> float:
    values, present = features()
    known = [item for item in ranked[:k] if item >= 0 and present[item]]
    distances = [
        1 - cosine_similarity(values[one].double(), values[other].double(), dim=0).item()
        for one, other in combinations(known, 2)
    ]
    return sum(distances) / len(distances) if distances else 0.0


@pytest.fixture(scope="module")
def users() -> Users:
    return random_users(23, N_ITEMS, 10, seed=3)


@pytest.fixture(scope="module")
def whole(users: Users) -> dict[str, Tensor]:
    metrics = opened()
    metrics.update(*users)
    return metrics.compute()


def test_values_equal_plain_python_definitions(users: Users, whole: dict[str, Tensor]) -> None:
    lists, relevant = users[0].tolist(), users[1].diff().tolist()
    counted = [row for row, wanted in enumerate(relevant) if wanted]
    assert 0 < len(counted) < len(relevant)
    values = opened().user_values(*users)
    assert values.users.tolist() == counted
    assert list(values.metrics) == ["diversity"]  # the only one with values of users
    for column, k in enumerate(KS):
        expected = [diversity(lists[row], k) for row in counted]
        assert values.metrics["diversity"][:, column].tolist() == pytest.approx(expected)
        assert whole[f"diversity@{k}"].item() == pytest.approx(sum(expected) / len(expected))
        exposure = [0] * N_ITEMS
        for row in counted:
            for item in lists[row][:k]:
                exposure[item] += item >= 0
        # Mean absolute difference of all pairs, divided by twice the mean.
        differences = sum(abs(a - b) for a in exposure for b in exposure)
        assert whole[f"gini@{k}"].item() == pytest.approx(
            differences / (2 * N_ITEMS * sum(exposure))
        )


def test_updates_in_parts_and_merged_objects_give_the_same_values(
    users: Users, whole: dict[str, Tensor]
) -> None:
    first, second = opened(), opened()
    for metrics, start, end in ((first, 0, 1), (first, 1, 15), (second, 15, 15), (second, 15, 23)):
        metrics.update(*users_from_to(users, start, end))
    first.merge_state(second)
    assert_same(first.compute(), whole)
    first.reset()
    first.update(*users)
    assert_same(first.compute(), whole)


def test_empty_lists_have_the_values_that_their_edges_say() -> None:
    metrics = opened((2,))
    metrics.update(*as_users([[], [3]], [[1], [2]], 2))
    values = metrics.compute()
    assert values["diversity@2"].item() == 0
    assert values["pooled_recall@2"].item() == 0
    nobody = opened((2,))
    nobody.update(*as_users([[]], [[1]], 2))
    assert math.isnan(nobody.compute()["gini@2"].item())


def test_two_processes_with_uneven_users_give_the_values_of_one(
    tmp_path: Path, users: Users, whole: dict[str, Tensor]
) -> None:
    cuts = (16, 1, 23)  # the last one leaves the second process without users
    for values in values_of_two_processes(opened, users, cuts, tmp_path):
        assert_same(values, whole)


class Named(UserMetric):
    """Whatever a test gives it."""

    def __init__(self, name: str = "named", values: Callable[..., Tensor] | None = None) -> None:
        self.name = name
        self._values = values

    def values(self, lists: RankedLists) -> Tensor:
        return lists.n_hits if self._values is None else self._values(lists)


class Pooled(CatalogueMetric):
    """Whatever a test gives it."""

    name = "pooled"

    def __init__(
        self,
        sums: Callable[..., Tensor] = lambda lists: lists.n_hits.sum(dim=0),
        value: Callable[..., Tensor] = lambda sums: sums,
    ) -> None:
        self._sums, self._value = sums, value

    def sums(self, lists: RankedLists) -> Tensor:
        return self._sums(lists)

    def value(self, sums: Tensor) -> Tensor:
        return self._value(sums)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (Named(values=lambda lists: lists.n_hits[:, 0]), r"Named.values is .* shape \(2,\)"),
        (Named(values=lambda lists: lists.n_hits.float()), "Named.values is torch.float32"),
        (Named(values=lambda lists: lists.n_hits / 0), r"nan, .*for the items \[0, 1\]"),
        (Pooled(lambda lists: lists.n_hits.sum(dim=0) + 1), "no users .* and not 0"),
        (Pooled(lambda lists: lists.n_hits.sum(dim=0).float()), "no users is torch.float32"),
        (Pooled(lambda lists: lists.n_hits), r"shape \(2, 2\), and for no users .* \(0, 2\)"),
        (Pooled(value=lambda sums: sums.sum()), r"Pooled.value is torch.float64 of shape \(\)"),
    ],
)
def test_a_metric_that_breaks_its_contract_is_refused_with_the_reason(
    metric: RankingMetric, message: str
) -> None:
    def evaluate() -> None:
        metrics = RankingMetrics([metric], (1, 2), MetricInputs(torch.tensor([1, 1, 1])))
        metrics.update(*as_users([[0, 1], [1, 2]], [[2], [1]], 2))
        metrics.compute()

    with pytest.raises(ConfigError, match=message):
        evaluate()


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ([Named("recall")], r"accuracy.Recall and .*Named are both called recall"),
        ([GiniOfExposure(), Named("gini")], "both called gini"),
        ([Named("")], "has the name ''"),
        ([Named("a@b")], "has the name 'a@b'"),
        ([RankingMetric()], "a UserMetric, with `values`, or a CatalogueMetric"),
    ],
)
def test_metrics_that_cannot_be_told_apart_are_refused_before_anything_is_computed(
    metrics: list[RankingMetric], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        RankingModule((5,), 5, 1024, metrics)


def test_a_modality_that_is_not_there_is_refused_by_name() -> None:
    inputs = MetricInputs.of(inputs_of_matrix(random_matrix(4, N_ITEMS), {"text": features()}))
    with pytest.raises(ConfigError, match="needs the modality sound"):
        RankingMetrics([IntraListDiversity("sound")], KS, inputs)


def test_metrics_of_plugins_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_named", [])  # a test before may have loaded some
    assert available_metrics() == [type(metric) for metric in built_in_metrics()]
    monkeypatch.setattr(plugins, "_named", ["tests.metrics.own_metrics"])
    names = [kind.name for kind in available_metrics()]
    assert {"diversity", "gini", "pooled_recall", "recall"} <= set(names)
    assert len(names) == len(set(available_metrics()))


def test_a_run_logs_monitors_and_writes_them(catalogue: Path, tmp_path: Path) -> None:
    noted = Metrics()
    module = full_model(metrics=own_metrics())
    stop = EarlyStopping("val/diversity@20", mode="max", patience=9)
    run = trainer(tmp_path, 2, noted, stop, every_epoch(tmp_path / "epochs"))
    run.fit(module, datamodule=demo_data(catalogue))
    reported = [noted.epochs[epoch]["val/diversity@20"] for epoch in (0, 1)]
    assert float(stop.best_score) == max(reported) > 0
    result = trainer(tmp_path, 1, ResultTable(), PerUserWriter())
    # What is measured is no part of what was trained.
    path = tmp_path / "epochs" / "epoch=1.ckpt"
    again = SlifMrModule.load_from_checkpoint(
        path, metrics=[IntraListDiversity("image"), GiniOfExposure()]
    )
    result.test(again, datamodule=demo_data(catalogue), verbose=False)
    metrics = json.loads((tmp_path / "test.json").read_text())["metrics"]
    users = pq.read_table(tmp_path / "per_user.parquet")
    assert {"test/diversity@5", "test/gini@20"} <= set(metrics)
    assert "test/pooled_recall@5" not in metrics
    assert users.column_names[-2:] == ["diversity@5", "diversity@20"]
    mean = users["diversity@5"].to_numpy().mean()
    assert mean == pytest.approx(metrics["test/diversity@5"], rel=1e-12)
    # Who uses a model needs nothing of what measured it.
    assert not SlifMrModule.load_from_checkpoint(path).extra_metrics
    assert module.hparams["metrics"] == [metric.settings for metric in own_metrics()]
