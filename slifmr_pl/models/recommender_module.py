"""Full-ranking evaluation: the hooks of `validate`, `test` and `predict`."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import pytorch_lightning as pl
from torch import Tensor

from slifmr_pl.data.batches import EvalBatch
from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.inputs import ModelInputs
from slifmr_pl.graphs.sparse.topk import TopK
from slifmr_pl.metrics.definitions import built_in_metrics
from slifmr_pl.metrics.full_ranking import ItemRanking
from slifmr_pl.metrics.metric import RankingMetric, check_metrics
from slifmr_pl.metrics.metric_inputs import MetricInputs
from slifmr_pl.metrics.ranking_metrics import RankingMetrics

DEFAULT_KS = (5, 10, 20, 50)
"""Cut-offs k of the metrics, unless others are asked for."""


class Scoring(Protocol):
    """Anything with vectors of all users and items whose products are scores."""

    @property
    def users(self) -> Tensor:
        """Float [U, d]."""

    @property
    def items(self) -> Tensor:
        """Float [I, d]."""


class Vectors(NamedTuple):
    """Vectors of all users and items whose products are scores.

    Attributes:
        users: float [U, d].
        items: float [I, d].
    """

    users: Tensor
    items: Tensor


def inputs_of(trainer: pl.Trainer) -> ModelInputs:
    """Graphs and features of a trainer's data module.

    Raises:
        ConfigError: If it has none.
    """
    data = getattr(trainer, "datamodule", None)
    inputs = getattr(data, "model_inputs", None)
    if not isinstance(inputs, ModelInputs):
        name = "the Trainer has no data module"
        if data is not None:
            name = f"the data module is a {type(data).__name__} without model_inputs"
        stage = "fit" if trainer.state.fn is None else trainer.state.fn.value
        raise ConfigError(
            name,
            expected="a SlifMrDataModule: graphs and features besides the batches",
            fix=f"call Trainer.{stage}(module, datamodule=SlifMrDataModule(…))",
        )
    return inputs


def validation_sample(trainer: pl.Trainer) -> Iterable[EvalBatch]:
    """The users to choose for, of the trainer's data module.

    Raises:
        ConfigError: If it has none.
    """
    data = trainer.datamodule  # type: ignore[attr-defined]  # of one that has a data module
    sample: Iterable[EvalBatch] | None = getattr(data, "validation_sample", None)
    if sample is None:
        raise ConfigError(
            f"the data module is a {type(data).__name__} without validation_sample",
            expected="users to choose the regression's weight for, as SlifMrDataModule has them",
            fix="set network.regression.weight, or use a SlifMrDataModule",
        )
    return sample


class RecommenderModule(pl.LightningModule):
    """A module that is evaluated by ranking the whole catalogue for each user.

    Args:
        ks: Cut-offs k of the metrics.
        top_k: Length of the lists that `predict` gives.
        memory_budget_mb: Working memory of scoring, in MiB.
        metrics: What `validate` and `test` report besides the built-in metrics.

    Attributes:
        metrics: States of the metrics by stage, `val` and `test`, once it has begun.
        recommendable: bool [I], items that `predict` may recommend; None for all.

    Raises:
        ConfigError: If a metric has no name, or that of another one.
    """

    def __init__(
        self,
        ks: Sequence[int],
        top_k: int,
        memory_budget_mb: int,
        metrics: Sequence[RankingMetric] = (),
    ) -> None:
        super().__init__()
        self.ks = tuple(ks)
        self.top_k = top_k
        self.memory_budget_mb = memory_budget_mb
        self.extra_metrics = tuple(metrics)
        check_metrics([*built_in_metrics(), *metrics])
        self.metrics: dict[str, RankingMetrics] = {}
        self.recommendable: Tensor | None = None
        self._users: Tensor | None = None
        self._ranking: ItemRanking | None = None

    def representations(self) -> Scoring:
        """Vectors of all users and items."""
        raise NotImplementedError

    def on_validation_start(self) -> None:
        """Opens the metrics."""
        self._open_metrics("val")

    def on_test_start(self) -> None:
        """Opens the metrics."""
        self._open_metrics("test")

    def _open_metrics(self, stage: str) -> None:
        """Makes the metrics for the data at hand, or begins anew with those that are there."""
        inputs = inputs_of(self.trainer)
        there = self.metrics.get(stage)
        if (
            there is not None
            and there.inputs.model_inputs is inputs
            and there.inputs.device == self.device
        ):
            there.reset()
            return
        # Anew for a stage, so that both may be built for data of their own.
        metrics = [*built_in_metrics(), *(metric.fresh() for metric in self.extra_metrics)]
        self.metrics[stage] = RankingMetrics(
            metrics, self.ks, MetricInputs.of(inputs).to(self.device)
        )

    def on_validation_epoch_start(self) -> None:
        """Propagates once for all users and items."""
        self._open_ranking(max(self.ks))

    def on_test_epoch_start(self) -> None:
        """Propagates once for all users and items."""
        self._open_ranking(max(self.ks))

    def on_predict_epoch_start(self) -> None:
        """Propagates once for all users and items."""
        self._open_ranking(self.top_k, self.recommendable)

    def validation_step(self, batch: EvalBatch, batch_idx: int) -> Tensor:
        """Ranks the whole catalogue for some users; callbacks get the item rows [b, k']."""
        return self._rank_and_count(batch, "val")

    def test_step(self, batch: EvalBatch, batch_idx: int) -> Tensor:
        """Ranks the whole catalogue for some users; callbacks get the item rows [b, k']."""
        return self._rank_and_count(batch, "test")

    def predict_step(self, batch: EvalBatch, batch_idx: int) -> TopK:
        """The `top_k` best items of some users, but those that the batch masks."""
        return self._rank(batch)

    def on_validation_epoch_end(self) -> None:
        """Logs val/recall@20 and its like."""
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Logs test/recall@20 and its like."""
        self._log_metrics("test")

    def on_predict_epoch_end(self) -> None:
        """Frees the propagated representations."""
        self._close_ranking()

    def _open_ranking(self, k: int, allowed: Tensor | None = None) -> None:
        self._rank_by(self.representations(), k, allowed)

    def _rank_by(self, views: Scoring, k: int, allowed: Tensor | None = None) -> None:
        self._users = views.users
        self._ranking = ItemRanking(
            views.items, k, allowed=allowed, memory_budget_mb=self.memory_budget_mb
        )

    def _close_ranking(self) -> None:
        self._users = self._ranking = None

    def _rank(self, batch: EvalBatch) -> TopK:
        assert self._users is not None
        assert self._ranking is not None
        users = self._users[batch.users]
        return self._ranking.recommend(users, batch.known_offsets, batch.known_items)

    def _rank_and_count(self, batch: EvalBatch, stage: str) -> Tensor:
        ranked = self._rank(batch)
        self.metrics[stage].update(
            ranked.indices, batch.relevant_offsets, batch.relevant_items, batch.users
        )
        return ranked.indices

    def _log_metrics(self, stage: str) -> None:
        metrics = self.metrics[stage]
        values = metrics.compute()
        metrics.reset()
        self._close_ranking()
        named = {f"{stage}/{name}": value for name, value in values.items()}
        self.log_dict(named)
        if stage == "val":
            shown = f"val/recall@{20 if 20 in self.ks else max(self.ks)}"
            self.log("recall", named[shown], prog_bar=True, logger=False)
