"""Accuracy and beyond-accuracy metrics of a full ranking, as sums and counts.

Shapes: B users of one update, K recommended items a user, I items, C cut-offs.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from slifmr_pl.errors import ConfigError, DataError
from slifmr_pl.metrics.functional import RankedHits, check_cutoffs, ranking_metrics

ACCURACY = ("recall", "precision", "ndcg", "map", "mrr", "hit")


class UserValues(NamedTuple):
    """Metrics of single users; b of the B users of a batch have relevant items.

    Attributes:
        rows: int64 ``[b]``, which rows of the batch these are.
        relevant: int64 ``[b]``, number of relevant items.
        metrics: float64 ``[b, C]`` by name, in the order of ``ACCURACY``.
    """

    rows: Tensor
    relevant: Tensor
    metrics: dict[str, Tensor]


class RankingMetrics(Metric):
    """Means over users of the metrics in :mod:`slifmr_pl.metrics.functional`, and beyond accuracy.

    Users without relevant items are left out of everything and counted. All states are sums and
    counts: memory does not grow with the users, and any split of the users over updates, objects
    or processes gives the same values (up to the rounding of float64 sums).

    Beyond accuracy, over the items recommended within the first k to the users that count:

    - ``coverage@k``: share of the catalogue that is recommended at least once;
    - ``popularity@k``: mean number of training interactions of a recommended item;
    - ``novelty@k``: mean self-information ``-log2(p_i)`` of a recommended item (Zhou et al., PNAS
      2010), p_i = its share of the training interactions; an item that was never seen counts as
      seen once, so that the mean stays finite.

    The last two need ``item_popularity``, and are NaN in the one case that no item at all was
    recommended (everything is masked).

    Args:
        ks: Cut-offs, each at least 1; distinct.
        n_items: I, size of the catalogue.
        item_popularity: int64 ``[I]``, training interactions of each item.
        **kwargs: See ``torchmetrics.Metric``.

    Raises:
        ConfigError: If an argument is out of range or shapes do not fit.
    """

    is_differentiable = False
    higher_is_better = None  # not one direction: popularity is neither good nor bad
    full_state_update = False

    metric_sums: Tensor
    recommended_counts: Tensor
    users: Tensor
    users_without_relevant: Tensor
    item_popularity: Tensor | None

    def __init__(
        self,
        ks: Sequence[int] = (5, 10, 20, 50),
        *,
        n_items: int,
        item_popularity: Tensor | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_cutoffs(ks)
        _check_catalogue(ks, n_items, item_popularity)
        self.ks = tuple(ks)
        self.n_items = n_items
        self.register_buffer("item_popularity", item_popularity, persistent=False)
        sums = torch.zeros(len(ACCURACY), len(self.ks), dtype=torch.float64)
        counts = torch.zeros(len(self.ks), n_items, dtype=torch.int64)
        self.add_state("metric_sums", sums, dist_reduce_fx="sum")
        self.add_state("recommended_counts", counts, dist_reduce_fx="sum")
        self.add_state("users", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("users_without_relevant", torch.tensor(0), dist_reduce_fx="sum")

    @property
    def n_users(self) -> int:
        """Users that count, those of this process (``compute`` returns all processes')."""
        return int(self.users)

    @property
    def n_users_without_relevant(self) -> int:
        """Users that are left out, those of this process (``compute`` returns all processes')."""
        return int(self.users_without_relevant)

    def update(self, recommended: Tensor, relevant_offsets: Tensor, relevant_items: Tensor) -> None:
        """Add users.

        Args:
            recommended: int64 ``[B, K]`` items, best first; -1 where there is none. K reaches the
                largest cut-off, or the whole catalogue if that is smaller.
            relevant_offsets: int64 ``[B + 1]``; user b has the relevant items
                ``relevant_items[relevant_offsets[b]:relevant_offsets[b + 1]]``.
            relevant_items: int64, ascending for each user, without repeats.

        Raises:
            ConfigError: If shapes or dtypes do not fit together.
            DataError: If an item is out of range, repeated, or relevant items are not ascending.
        """
        rows, ranked = self._ranked_hits(recommended, relevant_offsets, relevant_items)
        metrics = ranking_metrics(ranked)
        # Not in place: after an evaluation in inference mode, states must not be written to.
        self.metric_sums = self.metric_sums + torch.stack(
            [metrics[name].sum(dim=0) for name in ACCURACY]
        )
        self.users = self.users + len(rows)
        self.users_without_relevant = self.users_without_relevant + len(recommended) - len(rows)
        self.recommended_counts = self.recommended_counts + self._counts_of(recommended[rows])

    def user_values(
        self, recommended: Tensor, relevant_offsets: Tensor, relevant_items: Tensor
    ) -> UserValues:
        """The values whose sums ``update`` adds, user by user; changes no state.

        Args and errors are those of ``update``. Users without relevant items are left out.
        """
        rows, ranked = self._ranked_hits(recommended, relevant_offsets, relevant_items)
        metrics = ranking_metrics(ranked)
        return UserValues(rows, ranked.relevant, {name: metrics[name] for name in ACCURACY})

    def _ranked_hits(
        self, recommended: Tensor, relevant_offsets: Tensor, relevant_items: Tensor
    ) -> tuple[Tensor, RankedHits]:
        """Rows of the users that have relevant items, and their hits."""
        counts = _relevant_counts(recommended, relevant_offsets, relevant_items)
        self._check_width(recommended)
        self._check_range("recommended", recommended, -1)
        self._check_range("relevant", relevant_items, 0)
        hits = self._hits(recommended, counts, relevant_items)
        rows = counts.nonzero().flatten()
        return rows, RankedHits.of(hits[rows], counts[rows], self.ks)

    def compute(self) -> dict[str, Tensor]:
        """Float64 scalars: ``"<metric>@<k>"``, ``"n_users"`` and ``"n_users_without_relevant"``.

        Raises:
            DataError: If no user with relevant items was added.
        """
        if self.n_users == 0:
            raise DataError(
                "no user with relevant items was evaluated"
                f" ({self.n_users_without_relevant} users had none)",
                expected="at least one user with a relevant item",
                fix="check that the split leaves evaluation interactions of known users and items",
            )
        means = self.metric_sums / self.users
        table = {name: means[row] for row, name in enumerate(ACCURACY)}
        counts = self.recommended_counts.cumsum(dim=0).double()
        counts = counts[[sorted(self.ks).index(k) for k in self.ks]]
        table["coverage"] = (counts > 0).double().mean(dim=1)
        if self.item_popularity is not None:
            popularity = self.item_popularity.double()
            information = popularity.sum().log2() - popularity.clamp_min(1).log2()
            table["novelty"] = (counts * information).sum(dim=1) / counts.sum(dim=1)
            table["popularity"] = (counts * popularity).sum(dim=1) / counts.sum(dim=1)
        result = {
            f"{name}@{k}": values[column]
            for name, values in table.items()
            for column, k in enumerate(self.ks)
        }
        result["n_users"] = self.users.double()
        result["n_users_without_relevant"] = self.users_without_relevant.double()
        return result

    def _hits(self, recommended: Tensor, counts: Tensor, relevant_items: Tensor) -> Tensor:
        """Hits, bool ``[B, K]``: looks up every relevant item among the user's recommended ones."""
        n_users, width = recommended.shape
        users = torch.arange(n_users, device=counts.device)
        relevant_users = users.repeat_interleave(counts)
        # One range of keys a user; its lowest is that of -1, the item of an empty place.
        first_key = users * (self.n_items + 1) + 1
        relevant_keys = first_key[relevant_users] + relevant_items
        keys, ranks = (first_key.unsqueeze(1) + recommended).sort(dim=1)
        _check_distinct(keys, first_key, relevant_keys)
        keys, ranks = keys.view(-1), ranks.view(-1)
        places = torch.searchsorted(keys, relevant_keys).clamp_max(len(keys) - 1)
        found = (keys[places] == relevant_keys).to(torch.int8)
        hits = torch.zeros(n_users * width, dtype=torch.int8, device=counts.device)
        hits.index_add_(0, relevant_users * width + ranks[places], found)
        return hits.bool().view(n_users, width)

    def _counts_of(self, recommended: Tensor) -> Tensor:
        """How often each item is recommended from one cut-off to the next, int64 ``[C, I]``."""
        cutoffs = torch.tensor(sorted(self.ks), device=recommended.device)
        recommended = recommended[:, : max(self.ks)]
        columns = torch.arange(recommended.shape[1], device=recommended.device)
        cutoff_of_column = torch.searchsorted(cutoffs, columns, right=True)
        bins = cutoff_of_column * (self.n_items + 1) + recommended + 1  # the first is that of -1
        counts = torch.bincount(bins.view(-1), minlength=len(cutoffs) * (self.n_items + 1))
        return counts.view(len(cutoffs), self.n_items + 1)[:, 1:]

    def _check_width(self, recommended: Tensor) -> None:
        needed = min(max(self.ks), self.n_items)
        if recommended.shape[1] < needed:
            raise ConfigError(
                f"{recommended.shape[1]} items are recommended to each user",
                expected=f"at least {needed}, for the cut-offs {list(self.ks)}",
                fix="recommend as many items as the largest cut-off",
            )

    def _check_range(self, name: str, items: Tensor, lowest: int) -> None:
        outside = (items < lowest) | (items >= self.n_items)
        if bool(outside.any()):
            raise DataError(
                f"{name} item {int(items[outside][0])} is out of range",
                expected=f"items from {lowest} to {self.n_items - 1}",
                fix="build the metric with the n_items of the vocabulary that made the ids",
            )


def _check_distinct(keys: Tensor, first_key: Tensor, relevant_keys: Tensor) -> None:
    """Refuse repeated items; of the recommended keys ``[B, K]``, those of -1 may repeat."""
    if bool((relevant_keys.diff() <= 0).any()):
        raise DataError(
            "the relevant items of a user are not ascending, or one is repeated",
            expected="ascending distinct items for each user",
            fix="sort and deduplicate the evaluation interactions by (user, item)",
        )
    repeated = (keys[:, 1:] == keys[:, :-1]) & (keys[:, 1:] >= first_key.unsqueeze(1))
    if bool(repeated.any()):
        row = int(repeated.any(dim=1).nonzero()[0])
        raise DataError(
            f"user row {row} (0-based) is recommended an item twice",
            expected="distinct items for each user",
            fix="merge partial rankings without repeating items",
        )


def _relevant_counts(
    recommended: Tensor, relevant_offsets: Tensor, relevant_items: Tensor
) -> Tensor:
    """Number of relevant items of every user, int64 ``[B]``."""
    counts = relevant_offsets.diff()
    if (
        recommended.dim() != 2
        or relevant_offsets.shape != (recommended.shape[0] + 1,)
        or relevant_items.dim() != 1
        or any(t.dtype != torch.int64 for t in (recommended, relevant_offsets, relevant_items))
        or int(relevant_offsets[0]) != 0
        or int(relevant_offsets[-1]) != len(relevant_items)
        or bool((counts < 0).any())
    ):
        raise ConfigError(
            f"recommended {tuple(recommended.shape)}, relevant_offsets"
            f" {tuple(relevant_offsets.shape)} and relevant_items {tuple(relevant_items.shape)}"
            " do not fit together",
            expected="int64 [B, K], int64 [B + 1] rising from 0 to len(relevant_items), int64",
            fix="slice the offsets and items of exactly the users that are recommended to",
        )
    return counts


def _check_catalogue(ks: Sequence[int], n_items: int, item_popularity: Tensor | None) -> None:
    if len(set(ks)) != len(ks):
        raise ConfigError(
            f"the cut-offs {list(ks)} repeat",
            expected="distinct cut-offs",
            fix="name each cut-off once",
        )
    if n_items < 1:
        raise ConfigError(
            f"n_items is {n_items}", expected="at least 1", fix="pass the size of the catalogue"
        )
    if item_popularity is None:
        return
    if item_popularity.dtype != torch.int64 or item_popularity.shape != (n_items,):
        raise ConfigError(
            f"item_popularity is {item_popularity.dtype} of shape {tuple(item_popularity.shape)}",
            expected=f"int64 of shape ({n_items},)",
            fix="count the training interactions of every item, with 0 for items without any",
        )
    if bool((item_popularity < 0).any()) or int(item_popularity.sum()) == 0:
        raise ConfigError(
            "item_popularity has negative counts or no interaction at all",
            expected="counts of training interactions, at least one of them above 0",
            fix="count the training interactions of every item",
        )
