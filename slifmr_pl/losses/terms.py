"""Loss terms: the summands of the objective.

`LossTerm` is the contract. Ranking, alignment and L2 are written on it, and so is a term of your
own:

    class PopularityPenalty(LossTerm):
        def forward(self, batch):
            popularity = batch.popularity[batch.positives].float().log1p()
            return batch.mean(popularity * batch.positive_scores.sigmoid())
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from slifmr_pl.config.parts import Part
from slifmr_pl.graphs.heterogeneous import HeterogeneousGraph
from slifmr_pl.losses.context import AlignedView, LossContext
from slifmr_pl.losses.ranking_losses import bpr_loss, check_temperature, sampled_softmax_loss


@dataclass(frozen=True)
class LossData:
    """What loss terms are built from.

    Attributes:
        graph: The data set's graphs.
        feature_sizes: Size d_m of the features of each modality.
        embedding_dim: d.
    """

    graph: HeterogeneousGraph
    feature_sizes: Mapping[str, int]
    embedding_dim: int


class LossTerm(Part, nn.Module):
    """A summand of the objective. Subclass it to write another.

    It may own parameters, which are trained with the network's.

    Attributes:
        name: It is logged as `train/NAME`, without its weight; by default the class's name.
        weight: What it counts in the objective.
        aligns: Whether it asks the context for views of the aligned items; where no term does,
            those items are not propagated.
    """

    name: str = ""
    weight: float = 1.0
    aligns: bool = False

    def __init_subclass__(cls) -> None:
        """Names the term after its class."""
        super().__init_subclass__()
        if "name" not in cls.__dict__:
            cls.name = cls.__name__

    def build(self, data: LossData) -> None:
        """Creates parameters, where the term has any; called once.

        Args:
            data: What the data set gives.
        """

    def forward(self, batch: LossContext) -> Tensor:
        """The term of one batch, a scalar, without its weight.

        Args:
            batch: Rows, scores, vectors and means; see `LossContext`.
        """
        raise NotImplementedError


class RankingLoss(LossTerm):
    """Positives above negatives: sampled softmax, or BPR.

    Args:
        kind: "softmax" over the positive and its negatives, or "bpr", the mean over the pairs of
            it and them; the same with one negative.
        temperature: Divides the scores of "softmax".
    """

    name = "ranking"

    def __init__(self, kind: Literal["bpr", "softmax"] = "softmax", temperature: float = 1.0):
        super().__init__()
        check_temperature(temperature)
        self.kind = kind
        self.temperature = temperature

    def forward(self, batch: LossContext) -> Tensor:
        """Mean over the rows."""
        scores = batch.positive_scores, batch.negative_scores
        if self.kind == "bpr":
            return batch.mean(bpr_loss(*scores))
        return batch.mean(sampled_softmax_loss(*scores, self.temperature))


class Alignment(LossTerm):
    """Semantic consistency: symmetric InfoNCE between views of the same item.

    The views are the interaction view, those that the network aligns (the knowledge view), and
    z_m = W_m x_m of each modality's features.

    Args:
        weight: λ_sc.
        temperature: τ.
        pairs: "anchor" aligns every view with the interaction view, "all" every pair.
    """

    name = "alignment"
    aligns = True

    def __init__(
        self,
        weight: float = 0.01,
        temperature: float = 0.2,
        pairs: Literal["anchor", "all"] = "anchor",
    ) -> None:
        super().__init__()
        check_temperature(temperature)
        self.weight = weight
        self.temperature = temperature
        self.pairs = pairs

    def build(self, data: LossData) -> None:
        """Creates W_m and its bias for each modality."""
        self.projections = nn.ModuleDict(
            {name: nn.Linear(size, data.embedding_dim) for name, size in data.feature_sizes.items()}
        )

    def forward(self, batch: LossContext) -> Tensor:
        """Mean over the pairs of views; zero without a pair."""
        views = list(batch.views().values())
        for name, projection in self.projections.items():
            values, present = batch.features(name)
            views.append(AlignedView(projection(functional.normalize(values, dim=1)), present))
        losses = [batch.contrast(a, b, self.temperature) for a, b in self._pairs(views)]
        return torch.stack(losses).mean() if losses else views[0].vectors.new_zeros(())

    def _pairs(self, views: list[AlignedView]) -> Iterator[tuple[AlignedView, AlignedView]]:
        if self.pairs == "all":
            return combinations(views, 2)
        return ((views[0], other) for other in views[1:])


class EmbeddingL2(LossTerm):
    """½ Σ ‖e‖² ÷ B of the embeddings that a batch looks up (LightGCN, He et al. 2020, eq. 15).

    A row's n negatives together weigh as much as its positive.

    Args:
        weight: λ_reg.
    """

    name = "l2"

    def __init__(self, weight: float = 1e-2) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, batch: LossContext) -> Tensor:
        """Mean over the rows."""
        return batch.mean(batch.squared_embeddings)
