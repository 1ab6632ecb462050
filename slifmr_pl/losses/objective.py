"""The training objective L = L_rank + λ_sc·L_sc + λ_reg·L2 + … of one batch.

B = positives of the batch, n = negatives of each.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from slifmr_pl.config.bounds import is_number, require, require_counts, require_from
from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.heterogeneous import Propagation
from slifmr_pl.graphs.model_inputs import ItemFeatures
from slifmr_pl.losses.alignment import ProcessShare
from slifmr_pl.losses.batch_rows import BatchRows
from slifmr_pl.losses.context import LossContext
from slifmr_pl.losses.terms import Alignment, EmbeddingL2, LossData, LossTerm, RankingLoss
from slifmr_pl.nn.network import SlifMrNetwork


@dataclass(frozen=True)
class LossConfig:
    """Terms of the objective; the defaults do best on the validation parts of docs/results.md.

    Attributes:
        ranking: "softmax" over the positive and its negatives, or "bpr", the mean over the pairs of
            it and them; the same with one negative. A class of your own takes their place.
        ranking_temperature: Divides the scores of "softmax".
        alignment: λ_sc, weight of the semantic-consistency loss; 0 switches it off.
        alignment_temperature: τ of its InfoNCE.
        alignment_pairs: "anchor" aligns every view with the interaction view, "all" every pair.
        alignment_items: Most positives of a batch whose items are aligned, those of its first rows
            (batches are shuffled); None for all. Time and memory grow with their square.
        l2: λ_reg, weight of the squared embeddings of the batch; a row's n negatives together
            weigh as much as its positive.
        terms: Further terms, of classes of your own.
    """

    ranking: Literal["bpr", "softmax"] | LossTerm = "softmax"
    ranking_temperature: float = 1.0
    alignment: float = 0.01
    alignment_temperature: float = 0.2
    alignment_pairs: Literal["anchor", "all"] = "anchor"
    alignment_items: int | None = 256
    l2: float = 1e-2
    terms: list[LossTerm] = field(default_factory=list)

    def __post_init__(self) -> None:
        is_ranking = isinstance(self.ranking, LossTerm) or self.ranking in ("bpr", "softmax")
        pairs, are_terms = self.alignment_pairs, all(isinstance(t, LossTerm) for t in self.terms)
        require(
            "model.loss",
            ("ranking", self.ranking, is_ranking, "bpr, softmax or a LossTerm"),
            ("alignment_pairs", pairs, pairs in ("anchor", "all"), "anchor or all"),
            ("terms", self.terms, are_terms, "a list of LossTerm"),
        )
        for name in ("ranking_temperature", "alignment_temperature"):
            value = getattr(self, name)
            require("model.loss", (name, value, is_number(value, above=0), "a number above 0"))
        require_from("model.loss", 0, alignment=self.alignment, l2=self.l2)
        if self.alignment_items is not None:
            require_counts("model.loss", 2, alignment_items=self.alignment_items)
        self.all_terms()

    def all_terms(self) -> list[LossTerm]:
        """New terms of the objective: ranking, alignment unless it is off, L2, and further ones.

        Raises:
            ConfigError: If two have one name.
        """
        ranking = self.ranking
        terms: list[LossTerm] = [
            ranking.fresh()
            if isinstance(ranking, LossTerm)
            else RankingLoss(ranking, self.ranking_temperature)
        ]
        if self.alignment > 0:
            terms.append(
                Alignment(self.alignment, self.alignment_temperature, self.alignment_pairs)
            )
        terms += [EmbeddingL2(self.l2), *(term.fresh() for term in self.terms)]
        names = ["loss", *(term.name for term in terms)]
        if len(set(names)) < len(names):
            raise ConfigError(
                f"loss terms with the names {', '.join(names[1:])}",
                expected="a name of its own for each, which is not `loss`",
                fix="set `name` in the class of a term of yours, or in its constructor",
            )
        return terms


@dataclass(frozen=True)
class Losses:
    """Scalars of one batch.

    Attributes:
        total: What is minimised.
        terms: Each term by its name, without its weight and without gradient.
    """

    total: Tensor
    terms: Mapping[str, Tensor]

    def detached(self) -> "Losses":
        """The same without any gradient."""
        return Losses(self.total.detach(), self.terms)

    def named(self) -> dict[str, Tensor]:
        """All of them by the name that they are logged with, below `train/`."""
        return {"loss": self.total, **self.terms}


class Objective(nn.Module):
    """The sum of weighted loss terms.

    Args:
        config: The terms.
        data: What terms are built from.
    """

    def __init__(self, config: LossConfig, data: LossData) -> None:
        super().__init__()
        terms = config.all_terms()
        self.aligns = any(term.aligns for term in terms)
        self.alignment_items = config.alignment_items
        self.terms = nn.ModuleList(terms)
        for term in terms:
            term.build(data)
        self.register_buffer("popularity", data.graph.support, persistent=False)
        self._features: Mapping[str, ItemFeatures] = {}

    popularity: Tensor

    @property
    def all_terms(self) -> list[LossTerm]:
        """The terms, in the order that they are summed in."""
        return [term for term in self.terms if isinstance(term, LossTerm)]

    def use_features(self, features: Mapping[str, ItemFeatures]) -> None:
        """Takes the frozen features by modality, on the device of training."""
        self._features = features

    def forward(
        self,
        network: SlifMrNetwork,
        graphs: Propagation,
        users: Tensor,
        positives: Tensor,
        negatives: Tensor,
        divisor: float | None = None,
        aligned: Tensor | None = None,
        share: ProcessShare = ProcessShare(),
        generator: torch.Generator | None = None,
    ) -> Losses:
        """Propagates for the rows of a batch and computes its losses.

        Args:
            network: The network.
            graphs: The epoch's matrices.
            users: int64 [B].
            positives: int64 [B].
            negatives: int64 [B, n].
            divisor: What sums over rows are divided by; default B. A process that holds a slice
                of a batch gives (rows of the whole batch) ÷ (number of processes).
            aligned: int64, the items that may be aligned, each once however often it is named;
                default the positives. The first `alignment_items` of them are. The alignment is no
                sum over rows: a process that holds a slice of a batch needs the positives of the
                whole batch.
            share: This process's part of the alignment, which all of them compute together.
            generator: Random numbers of a training step; None outside of training.
        """
        wanted = None
        if self.aligns:
            wanted = (positives if aligned is None else aligned)[: self.alignment_items]
        rows = BatchRows.of(
            users,
            positives,
            negatives,
            None if aligned is None else wanted,
            n_users=network.n_users,
            n_items=network.n_items,
        )
        context = LossContext(
            users,
            positives,
            negatives,
            popularity=self.popularity,
            generator=generator,
            rows=rows,
            representations=network(graphs, rows.users, rows.items, generator),
            features=self._features,
            columns=network.columns,
            aligned=wanted,
            divisor=float(len(users)) if divisor is None else divisor,
            share=share,
            reference=network.config.propagation == "reference",
        )
        total: Tensor | None = None
        named = {}
        for term in self.all_terms:
            value: Tensor = term(context)
            named[term.name] = value.detach()
            weighted = term.weight * value
            total = weighted if total is None else total + weighted
        assert total is not None
        return Losses(total, named)
