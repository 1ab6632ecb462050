"""The training objective L = L_rank + λ_sc·L_sc + λ_reg·L2 of one batch.

B = positives of the batch, n = negatives of each, d = embedding size, r = wanted rows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.heterogeneous import Propagation
from slifmr_pl.graphs.inputs import ItemFeatures
from slifmr_pl.graphs.sparse.spmm import restricts
from slifmr_pl.losses.alignment import Share, info_nce
from slifmr_pl.losses.ranking import bpr_loss, sampled_softmax_loss
from slifmr_pl.losses.regularisation import embedding_l2
from slifmr_pl.nn.network import Representations, SlifMrNetwork


@dataclass(frozen=True)
class LossConfig:
    """Terms of the objective; the defaults do best on the validation parts of docs/results.md.

    Attributes:
        ranking: "softmax" over the positive and its negatives, or "bpr", the mean over the pairs of
            it and them; the same with one negative.
        ranking_temperature: Divides the scores of "softmax".
        alignment: λ_sc, weight of the semantic-consistency loss; 0 switches it off.
        alignment_temperature: τ of its InfoNCE.
        alignment_pairs: "anchor" aligns every view with the interaction view, "all" every pair.
        l2: λ_reg, weight of the squared embeddings of the batch; a row's n negatives together
            weigh as much as its positive.
    """

    ranking: Literal["bpr", "softmax"] = "softmax"
    ranking_temperature: float = 1.0
    alignment: float = 0.01
    alignment_temperature: float = 0.2
    alignment_pairs: Literal["anchor", "all"] = "anchor"
    l2: float = 1e-2

    def __post_init__(self) -> None:
        for name, holds, expected in (
            ("ranking", self.ranking in ("bpr", "softmax"), "bpr or softmax"),
            ("ranking_temperature", self.ranking_temperature > 0, "above 0"),
            ("alignment", self.alignment >= 0, "at least 0"),
            ("alignment_temperature", self.alignment_temperature > 0, "above 0"),
            ("alignment_pairs", self.alignment_pairs in ("anchor", "all"), "anchor or all"),
            ("l2", self.l2 >= 0, "at least 0"),
        ):
            if not holds:
                raise ConfigError(
                    f"loss.{name} is {getattr(self, name)}",
                    expected=expected,
                    fix=f"set model.loss.{name}",
                )


class Losses(NamedTuple):
    """Scalars of one batch; `total` is what is minimised, the others are unweighted."""

    total: Tensor
    ranking: Tensor
    alignment: Tensor
    l2: Tensor


class LossSums:
    """Means of the losses over the batches of an epoch, also of one that is resumed halfway.

    Summed here and logged once an epoch: logging each batch takes longer than the sums. Where there
    are several processes, all of them call `take_means` and `state` together.
    """

    def __init__(self) -> None:
        self._sums: Tensor | None = None

    def add(self, losses: Losses, weight: float) -> None:
        """Adds the losses of a batch; the weights of all processes add up to its rows."""
        values = torch.stack([loss.detach().double() for loss in losses])
        weighted = torch.cat([values, values.new_ones(1)]) * weight
        self._sums = weighted if self._sums is None else self._sums.to(weighted.device) + weighted

    def take_means(self, device: torch.device) -> dict[str, Tensor]:
        """Means over the rows of all batches, by the names they are logged with; starts anew.

        Args:
            device: Where processes exchange tensors.
        """
        sums = self._of_all_processes(device)
        self._sums = None
        means = sums[:-1] / sums[-1]
        names = ("loss", *Losses._fields[1:])
        return {f"train/{name}": mean for name, mean in zip(names, means, strict=True)}

    def state(self, device: torch.device) -> list[float]:
        """What a checkpoint keeps of an unfinished epoch: the sums of all processes.

        Args:
            device: Where processes exchange tensors.
        """
        sums = self._of_all_processes(device).tolist()
        return sums if sums[-1] else []

    def _of_all_processes(self, device: torch.device) -> Tensor:
        sums = torch.zeros(len(Losses._fields) + 1, dtype=torch.float64, device=device)
        if self._sums is not None:
            sums += self._sums.to(device)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
        return sums

    def load(self, state: list[float]) -> None:
        """Goes on from a checkpoint; in the first process, so that nothing counts twice."""
        first = not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
        self._sums = torch.tensor(state, dtype=torch.float64) if state and first else None


class Objective:
    """Losses of a batch from the network's representations.

    Args:
        config: Weights of the terms.
        features: Frozen features by modality, which the alignment projects.
    """

    def __init__(self, config: LossConfig, features: Mapping[str, ItemFeatures]) -> None:
        self.config = config
        self.features = features

    def __call__(
        self,
        network: SlifMrNetwork,
        graphs: Propagation,
        users: Tensor,
        positives: Tensor,
        negatives: Tensor,
        divisor: float | None = None,
        aligned: Tensor | None = None,
        share: Share = Share(),
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
            aligned: int64, the items that are aligned, each once however often it is named; default
                the positives. The alignment is no sum over rows: a process that holds a slice of a
                batch needs the positives of the whole batch.
            share: This process's part of the alignment, which all of them compute together.
        """
        divisor = float(len(users)) if divisor is None else divisor
        if self.config.alignment == 0:
            aligned = None
        rows = _Rows.of(network, users, positives, negatives, aligned)
        views = network(graphs, rows.users, rows.items)
        scores = network.columns.summed(
            _scores(
                functional.embedding(rows.user_positions, views.users),
                views.items,
                rows.item_positions,
            )
        )
        ranking = self._rank(scores[:, 0], scores[:, 1:]).sum() / divisor
        aligned = positives if aligned is None else aligned
        alignment = self._align(network, views, rows, aligned, share)
        l2 = network.columns.summed(self._l2(views, rows)) / divisor
        total = ranking + self.config.alignment * alignment + self.config.l2 * l2
        return Losses(total, ranking.detach(), alignment.detach(), l2.detach())

    def _rank(self, positive: Tensor, negative: Tensor) -> Tensor:
        if self.config.ranking == "bpr":
            return bpr_loss(positive, negative)
        return sampled_softmax_loss(positive, negative, self.config.ranking_temperature)

    def _l2(self, views: Representations, rows: "_Rows") -> Tensor:
        positives, negatives = rows.item_positions[:, 0], rows.item_positions[:, 1:]
        user_weights = _counts(rows.user_positions, len(views.ego_users))
        item_weights = _counts(positives, len(views.ego_items))
        item_weights += _counts(negatives.flatten(), len(views.ego_items)) / negatives.shape[1]
        return embedding_l2(
            views.ego_users * user_weights.sqrt().unsqueeze(1),
            views.ego_items * item_weights.sqrt().unsqueeze(1),
            batch_size=1,
        )

    def _align(
        self,
        network: SlifMrNetwork,
        views: Representations,
        rows: "_Rows",
        aligned: Tensor,
        share: Share,
    ) -> Tensor:
        if self.config.alignment == 0:
            return views.items.new_zeros(())
        items = torch.unique(aligned)
        positions = items if rows.items is None else torch.searchsorted(rows.items, items)
        everywhere = torch.ones_like(items, dtype=torch.bool)
        columns = network.columns
        if columns.count > 1:
            share = Share(columns.rank, columns.count)
        # Gradients of a part of the loss are spread: summed over the processes that have parts.
        gathered = columns.spread(columns.gathered(views.interaction[positions]))
        candidates = [("interaction", gathered, everywhere)]
        if views.knowledge is not None:
            gathered = columns.spread(columns.gathered(views.knowledge[positions]))
            candidates.append(("knowledge", gathered, everywhere))
        for name, (values, present) in self.features.items():
            projected = network.project(name, functional.normalize(values[items], dim=1))
            candidates.append((name, columns.spread(projected), present[items]))
        losses = [
            info_nce(a, b, self.config.alignment_temperature, mask_a & mask_b, share)
            for (_, a, mask_a), (_, b, mask_b) in self._pairs(candidates)
        ]
        return torch.stack(losses).mean() if losses else views.items.new_zeros(())

    def _pairs(
        self, candidates: list[tuple[str, Tensor, Tensor]]
    ) -> Iterator[tuple[tuple[str, Tensor, Tensor], tuple[str, Tensor, Tensor]]]:
        if self.config.alignment_pairs == "all":
            return combinations(candidates, 2)
        return ((candidates[0], other) for other in candidates[1:])


def _counts(rows: Tensor, size: int) -> Tensor:
    return torch.bincount(rows, minlength=size).float()


def _scores(users: Tensor, items: Tensor, positions: Tensor) -> Tensor:
    """⟨users[b], items[positions[b, j]]⟩, float32 [B, 1 + n]."""
    if len(items) <= 32 * positions.shape[1]:
        # Few items: one product with all of them beats gathering 1 + n vectors for each row.
        return (users @ items.T).gather(1, positions)
    vectors = functional.embedding(positions, items)
    return torch.einsum("bd,bnd->bn", users, vectors)


class _Rows(NamedTuple):
    """The rows that a batch needs (None: all), and where its users and items stand among them.

    `item_positions` int64 [B, 1 + n] has the positive first.
    """

    users: Tensor | None
    items: Tensor | None
    user_positions: Tensor
    item_positions: Tensor

    @classmethod
    def of(
        cls,
        network: SlifMrNetwork,
        users: Tensor,
        positives: Tensor,
        negatives: Tensor,
        aligned: Tensor | None,
    ) -> "_Rows":
        """The batch's own rows of a table, or all of them where it needs most."""
        items = torch.cat([positives.unsqueeze(1), negatives], dim=1)
        wanted = items.flatten() if aligned is None else torch.cat([items.flatten(), aligned])
        user_rows, user_positions = _distinct(users, network.sizes.n_users)
        item_rows, positions = _distinct(wanted, network.sizes.n_items)
        return cls(user_rows, item_rows, user_positions, positions[: items.numel()].view_as(items))


def _distinct(rows: Tensor, size: int) -> tuple[Tensor | None, Tensor]:
    """Ascending distinct rows and where each row stands among them, unless they are too many."""
    if 2 * rows.numel() >= size or not restricts(rows):
        return None, rows
    distinct, positions = torch.unique(rows, return_inverse=True)
    return distinct, positions
