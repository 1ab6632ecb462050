"""Full-ranking evaluation: the hooks of `validate`, `test` and `predict`.

U users, I items, b users of a batch, d size of a vector.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import pytorch_lightning as pl
import torch
from torch import Tensor

from slifmr_pl.config.bounds import is_number, require, require_counts
from slifmr_pl.data.batches import EvalBatch
from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.sparse.topk import TopK
from slifmr_pl.metrics.definitions import built_in_metrics
from slifmr_pl.metrics.full_ranking import ItemRanking, rank_scores
from slifmr_pl.metrics.metric import RankingMetric, check_metrics
from slifmr_pl.metrics.metric_inputs import MetricInputs
from slifmr_pl.metrics.ranking_metrics import RankingMetrics
from slifmr_pl.recommendation_datamodule import data_module_of

_BYTES_A_SCORE = 8  # the float32 that a model gives, and its copy without known items

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


class Ranker(Protocol):
    """Ranks the whole catalogue for some users."""

    def recommend(self, users: Tensor, known_offsets: Tensor, known_items: Tensor) -> TopK:
        """The best items of each user, best first; equal scores by the lower row.

        Args:
            users: int64 [b], rows.
            known_offsets: int64 [b + 1]; user b knows
                ``known_items[known_offsets[b]:known_offsets[b + 1]]``, which is left out.
            known_items: int64.
        """


class VectorRanker:
    """Ranks by the products of vectors, see `ItemRanking`."""

    def __init__(
        self,
        vectors: Scoring,
        k: int,
        *,
        allowed: Tensor | None = None,
        memory_budget_mb: int = 1024,
    ) -> None:
        self._users = vectors.users
        self._ranking = ItemRanking(
            vectors.items, k, allowed=allowed, memory_budget_mb=memory_budget_mb
        )

    def recommend(self, users: Tensor, known_offsets: Tensor, known_items: Tensor) -> TopK:
        """See `Ranker`."""
        return self._ranking.recommend(self._users[users], known_offsets, known_items)


class ScoreRanker:
    """Ranks by scores that are computed for some users at a time.

    Args:
        scores: int64 [b] rows of users → float [b, I].
        n_items: I.
        k: Length of the lists.
        allowed: bool [I], items that may be ranked; None for all.
        memory_budget_mb: Bounds the scores that are held at a time, in MiB.
    """

    def __init__(
        self,
        scores: Callable[[Tensor], Tensor],
        n_items: int,
        k: int,
        *,
        allowed: Tensor | None = None,
        memory_budget_mb: int = 1024,
    ) -> None:
        self._scores, self._k = scores, k
        self._forbidden = None if allowed is None else ~allowed
        self._at_once = max(1, (memory_budget_mb << 20) // (_BYTES_A_SCORE * n_items))

    @torch.no_grad()
    def recommend(self, users: Tensor, known_offsets: Tensor, known_items: Tensor) -> TopK:
        """See `Ranker`."""
        batch = EvalBatch(users, known_offsets, known_items, known_offsets, known_items)
        parts = []
        for part in batch.split(self._at_once) if len(users) else [batch]:
            scores = self._scores(part.users)
            if self._forbidden is not None:
                scores = scores.masked_fill(self._forbidden.to(scores.device), -torch.inf)
            parts.append(rank_scores(scores, self._k, part.known_offsets, part.known_items))
        return parts[0] if len(parts) == 1 else TopK(*map(torch.cat, zip(*parts, strict=True)))


class RankingModule(pl.LightningModule):
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
        ConfigError: If a number is out of range, or a metric has no name or that of another one.
    """

    def __init__(
        self,
        ks: Sequence[int] = DEFAULT_KS,
        top_k: int = 20,
        memory_budget_mb: int = 1024,
        metrics: Sequence[RankingMetric] = (),
    ) -> None:
        super().__init__()
        are_counts = all(is_number(k, least=1, whole=True) for k in ks)
        require(
            "model",
            (
                "ks",
                list(ks),
                are_counts and 0 < len(ks) == len(set(ks)),
                "one or more distinct whole numbers of at least 1, such as [5, 10, 20, 50]",
            ),
        )
        require_counts("model", 1, top_k=top_k, memory_budget_mb=memory_budget_mb)
        self.ks = tuple(ks)
        self.top_k = top_k
        self.memory_budget_mb = memory_budget_mb
        self.extra_metrics = tuple(metrics)
        check_metrics([*built_in_metrics(), *metrics])
        self.metrics: dict[str, RankingMetrics] = {}
        self.recommendable: Tensor | None = None
        self._ranker: Ranker | None = None

    def representations(self) -> Scoring:
        """Vectors of all users and items whose products are the scores."""
        raise NotImplementedError

    def scores(self, users: Tensor) -> Tensor:
        """Scores of the catalogue, for a model without vectors.

        Args:
            users: int64 [b], rows.

        Returns:
            float [b, I].
        """
        raise NotImplementedError

    @property
    def gives_vectors(self) -> bool:
        """Whether scores are products of vectors: whether `representations` is implemented."""
        return type(self).representations is not RankingModule.representations

    @property
    def n_items(self) -> int:
        """I, of the data that the model was built for."""
        raise NotImplementedError

    def ranker(self, k: int, allowed: Tensor | None = None) -> Ranker:
        """What ranks with the present weights.

        Args:
            k: Length of the lists.
            allowed: bool [I], items that may be ranked; None for all.
        """
        budget = self.memory_budget_mb
        if self.gives_vectors:
            with torch.no_grad():
                return VectorRanker(
                    self.representations(), k, allowed=allowed, memory_budget_mb=budget
                )
        return ScoreRanker(self.scores, self.n_items, k, allowed=allowed, memory_budget_mb=budget)

    def on_validation_start(self) -> None:
        """Opens the metrics."""
        self._open_metrics("val")

    def on_test_start(self) -> None:
        """Opens the metrics."""
        self._open_metrics("test")

    def _open_metrics(self, stage: str) -> None:
        """Makes the metrics for the data at hand, or begins anew with those that are there."""
        inputs = data_module_of(self.trainer).model_inputs
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
        """Computes the vectors of all users and items, once for the whole evaluation."""
        self._ranker = self.ranker(max(self.ks))

    def on_test_epoch_start(self) -> None:
        """Computes the vectors of all users and items, once for the whole evaluation."""
        self._ranker = self.ranker(max(self.ks))

    def on_predict_epoch_start(self) -> None:
        """Computes the vectors of all users and items, once for all lists."""
        self._ranker = self.ranker(self.top_k, self.recommendable)

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
        """Frees the vectors."""
        self._ranker = None

    def _rank(self, batch: EvalBatch) -> TopK:
        assert self._ranker is not None
        return self._ranker.recommend(batch.users, batch.known_offsets, batch.known_items)

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
        self._ranker = None
        named = {f"{stage}/{name}": value for name, value in values.items()}
        self.log_dict(named)
        if stage == "val":
            shown = f"val/recall@{20 if 20 in self.ks else max(self.ks)}"
            self.log("recall", named[shown], prog_bar=True, logger=False)


def require_vectors(module: RankingModule, wanted: str) -> None:
    """Refuses a model that gives scores alone.

    Args:
        module: The model.
        wanted: What vectors are needed for.

    Raises:
        ConfigError: If it has none.
    """
    if not module.gives_vectors:
        raise ConfigError(
            f"{wanted} of {type(module).__name__}, which gives scores and no vectors",
            expected="a model with vectors of users and items whose products are the scores",
            fix="take a model that implements `representations`",
        )
