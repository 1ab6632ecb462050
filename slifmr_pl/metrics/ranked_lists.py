"""What a metric looks at: the ranked lists of some users, checked once for all metrics.

Shapes: B users, K places of a list, I items, C cut-offs k.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from slifmr_pl.errors import ConfigError, DataError


@dataclass(frozen=True, eq=False)
class RankedLists:
    """Lists of users who all have relevant items; made by `ranked_lists`, or by `of_hits`.

    Attributes:
        users: int64 ``[B]``, rows of the users in the data.
        items: int64 ``[B, K]``, best first, K the largest cut-off; -1 is an empty place, and empty
            places come last.
        hits: bool ``[B, K]``, whether the item in each place is relevant.
        relevant: int64 ``[B]``, number of relevant items of each user, at least 1.
        ks: The C cut-offs, each at least 1.
        n_items: I, size of the catalogue.
    """

    users: Tensor
    items: Tensor
    hits: Tensor
    relevant: Tensor
    ks: tuple[int, ...]
    n_items: int

    @classmethod
    def of_hits(cls, hits: Tensor, relevant: Tensor, ks: Sequence[int]) -> Self:
        """Lists of which only the hits are known, such as hand-computed examples.

        Args:
            hits: bool ``[B, ranks]``. Ranks beyond the last column count as misses, so there may be
                fewer than a cut-off (a small catalogue).
            relevant: int64 ``[B]``.
            ks: Cut-offs.

        Returns:
            Lists in which each user is recommended the items 0, 1 and so on.

        Raises:
            ConfigError: If shapes, types or cut-offs do not fit.
            DataError: If a user has no relevant items, or more hits than relevant items.
        """
        check_cutoffs(ks)
        if hits.dtype != torch.bool or hits.dim() != 2 or relevant.shape != hits.shape[:1]:
            raise ConfigError(
                f"hits are {hits.dtype} of shape {tuple(hits.shape)}, relevant counts of shape"
                f" {tuple(relevant.shape)}",
                expected="bool [users, ranks] and int64 [users]",
                fix="pass one row of hits and one count for each user",
            )
        wrong = (relevant < 1) | (hits.sum(dim=1) > relevant)
        if bool(wrong.any()):
            row = int(wrong.nonzero()[0])
            raise DataError(
                f"user row {row} (0-based) has {int(hits[row].sum())} hits"
                f" with {int(relevant[row])} relevant items",
                expected="at least 1 relevant item and no more hits than relevant items",
                fix="leave out users without relevant items and recommend each item once",
            )
        users, width = (torch.arange(size, device=hits.device) for size in hits.shape)
        return cls._of(users, width.expand(hits.shape), hits, relevant, ks, hits.shape[1])

    @classmethod
    def _of(
        cls,
        users: Tensor,
        items: Tensor,
        hits: Tensor,
        relevant: Tensor,
        ks: Sequence[int],
        n_items: int,
    ) -> Self:
        """Cuts or fills the lists up to the largest cut-off."""
        missing = (0, max(ks) - hits.shape[1])
        items = pad(items, missing, value=-1)
        return cls(users, items, pad(hits, missing), relevant, tuple(ks), n_items)

    @cached_property
    def n_hits(self) -> Tensor:
        """Number of hits within each cut-off, float64 ``[B, C]``."""
        return self.sums_within(self.hits.double())

    @cached_property
    def ranks(self) -> Tensor:
        """Rank of each place, float64 ``[K]`` from 1."""
        places = self.hits.shape[1]
        return torch.arange(1, places + 1, dtype=torch.float64, device=self.hits.device)

    @cached_property
    def cutoffs(self) -> Tensor:
        """The cut-offs, int64 ``[C]``."""
        return torch.tensor(self.ks, device=self.hits.device)

    @cached_property
    def recommended_counts(self) -> Tensor:
        """How many of the users have each item within each cut-off, int64 ``[C, I]``."""
        ascending = sorted(self.ks)
        cutoffs = torch.tensor(ascending, device=self.items.device)
        places = torch.arange(self.items.shape[1], device=self.items.device)
        cutoff_of_place = torch.searchsorted(cutoffs, places, right=True)
        bins = cutoff_of_place * (self.n_items + 1) + self.items + 1  # the first is that of -1
        counts = torch.bincount(bins.view(-1), minlength=len(ascending) * (self.n_items + 1))
        between = counts.view(len(ascending), self.n_items + 1)[:, 1:]  # from cut-off to cut-off
        return between.cumsum(dim=0)[[ascending.index(k) for k in self.ks]]

    def sums_within(self, gains: Tensor) -> Tensor:
        """Sums over the places within each cut-off, ``[n, K] -> [n, C]``."""
        # Not one cumsum: that has no deterministic kernel on CUDA.
        return torch.stack([gains[:, :k].sum(dim=1) for k in self.ks], dim=1)


def ranked_lists(
    recommended: Tensor,
    relevant_offsets: Tensor,
    relevant_items: Tensor,
    users: Tensor,
    *,
    ks: Sequence[int],
    n_items: int,
) -> RankedLists:
    """Finds the hits in the lists of those users who have relevant items.

    Args:
        recommended: int64 ``[B, K]`` items, best first; -1 where there is none. K reaches the
            largest cut-off, or the whole catalogue if that is smaller.
        relevant_offsets: int64 ``[B + 1]``; user b has the relevant items
            ``relevant_items[relevant_offsets[b]:relevant_offsets[b + 1]]``.
        relevant_items: int64, ascending for each user, without repeats.
        users: int64 ``[B]``, rows of the users in the data.
        ks: Cut-offs, see `check_cutoffs`.
        n_items: I, size of the catalogue.

    Raises:
        ConfigError: If shapes or dtypes do not fit together.
        DataError: If an item is out of range, repeated, or relevant items are not ascending.
    """
    counts = _relevant_counts(recommended, relevant_offsets, relevant_items, users)
    _check_width(recommended, ks, n_items)
    _check_range("recommended", recommended, -1, n_items)
    _check_range("relevant", relevant_items, 0, n_items)
    hits = _hits(recommended, counts, relevant_items, n_items)
    rows = counts.nonzero().flatten()
    return RankedLists._of(users[rows], recommended[rows], hits[rows], counts[rows], ks, n_items)


def check_cutoffs(ks: Sequence[int]) -> None:
    """Refuses cut-offs that are empty, below 1 or repeated.

    Raises:
        ConfigError: If so.
    """
    if len(ks) == 0 or min(ks) < 1:
        raise ConfigError(
            f"the cut-offs are {list(ks)}",
            expected="one or more whole numbers of at least 1",
            fix="set ks to, for example, [5, 10, 20, 50]",
        )
    if len(set(ks)) != len(ks):
        raise ConfigError(
            f"the cut-offs {list(ks)} repeat",
            expected="distinct cut-offs",
            fix="name each cut-off once",
        )


def _hits(recommended: Tensor, counts: Tensor, relevant_items: Tensor, n_items: int) -> Tensor:
    """Hits, bool ``[B, K]``: looks up every relevant item among the user's recommended ones."""
    n_users, width = recommended.shape
    users = torch.arange(n_users, device=counts.device)
    relevant_users = users.repeat_interleave(counts)
    # One range of keys a user; its lowest is that of -1, the item of an empty place.
    first_key = users * (n_items + 1) + 1
    relevant_keys = first_key[relevant_users] + relevant_items
    keys, ranks = (first_key.unsqueeze(1) + recommended).sort(dim=1)
    _check_distinct(keys, first_key, relevant_keys)
    keys, ranks = keys.view(-1), ranks.view(-1)
    places = torch.searchsorted(keys, relevant_keys).clamp_max(len(keys) - 1)
    is_recommended = (keys[places] == relevant_keys).to(torch.int8)
    hits = torch.zeros(n_users * width, dtype=torch.int8, device=counts.device)
    hits.index_add_(0, relevant_users * width + ranks[places], is_recommended)
    return hits.bool().view(n_users, width)


def _check_width(recommended: Tensor, ks: Sequence[int], n_items: int) -> None:
    needed = min(max(ks), n_items)
    if recommended.shape[1] < needed:
        raise ConfigError(
            f"{recommended.shape[1]} items are recommended to each user",
            expected=f"at least {needed}, for the cut-offs {list(ks)}",
            fix="recommend as many items as the largest cut-off",
        )


def _check_range(name: str, items: Tensor, lowest: int, n_items: int) -> None:
    outside = (items < lowest) | (items >= n_items)
    if bool(outside.any()):
        raise DataError(
            f"{name} item {int(items[outside][0])} is out of range",
            expected=f"items from {lowest} to {n_items - 1}",
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
    recommended: Tensor, relevant_offsets: Tensor, relevant_items: Tensor, users: Tensor
) -> Tensor:
    """Number of relevant items of every user, int64 ``[B]``."""
    counts = relevant_offsets.diff()
    given = (recommended, relevant_offsets, relevant_items, users)
    if (
        recommended.dim() != 2
        or relevant_offsets.shape != (recommended.shape[0] + 1,)
        or relevant_items.dim() != 1
        or users.shape != recommended.shape[:1]
        or any(tensor.dtype != torch.int64 for tensor in given)
        or int(relevant_offsets[0]) != 0
        or int(relevant_offsets[-1]) != len(relevant_items)
        or bool((counts < 0).any())
    ):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in given)
        raise ConfigError(
            f"recommended, relevant_offsets, relevant_items and users of shapes {shapes}"
            " do not fit together",
            expected="int64 [B, K], int64 [B + 1] rising from 0 to len(relevant_items), int64,"
            " int64 [B]",
            fix="slice the offsets and items of exactly the users that are recommended to",
        )
    return counts
