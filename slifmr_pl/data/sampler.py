"""Where the negatives of training come from: the contract, and uniform draws without rejection.

Legend: U users, I items, B rows of a global batch, n negatives a row.
"""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from slifmr_pl.config.parts import Part
from slifmr_pl.data.interactions import UserItems
from slifmr_pl.errors import ConfigError, DataError


class NegativeSampler(Part, ABC):
    """Draws negatives for training pairs. One of your own is a subclass with ``sample``.

    What a sampler needs of the data it computes in ``build``; its options are arguments of its
    constructor: plain values, so that a configuration and a checkpoint can name them.

    Attributes:
        positives: Training items of each of the U users. How often an item occurs in
            ``positives.items`` is its popularity.
        n_items: I.
        has_negatives: bool ``[U]``; False for users who have every item (``build`` may lower it).
            Their pairs are left out of training, so that none of them is ever asked for.
    """

    positives: UserItems
    n_items: int
    has_negatives: Tensor

    @abstractmethod
    def sample(
        self, users: Tensor, positives: Tensor, n: int, generator: torch.Generator
    ) -> Tensor:
        """Draw n negatives for each row of a global batch.

        The result has to depend on nothing but the arguments and the training pairs: then batches
        are the same in every process and after a resume. Each process draws for the whole batch
        and takes its own rows.

        Args:
            users: User rows int64 ``[B]``.
            positives: Item rows int64 ``[B]``, of the same pairs.
            n: Negatives a row.
            generator: CPU generator, seeded for this batch; the only source of randomness.

        Returns:
            Item rows int64 ``[B, n]``.
        """

    def build(self) -> None:
        """Compute what ``sample`` needs of ``positives`` and ``n_items``; by default nothing."""

    def built(self, positives: UserItems, n_items: int) -> Self:
        """A new sampler with the same options, made for these training pairs.

        Args:
            positives: Training items of each of U users.
            n_items: I.
        """
        sampler = self.fresh()
        sampler.positives = positives
        sampler.n_items = n_items
        sampler.has_negatives = n_items - torch.from_numpy(positives.counts) > 0
        sampler.build()
        return sampler

    def sample_rows(
        self, users: Tensor, positives: Tensor, n: int, generator: torch.Generator, rows: slice
    ) -> Tensor:
        """Some rows of what ``sample`` draws; override it where drawing those alone is cheaper.

        Args:
            users: See ``sample``, as all that follows.
            positives: int64 ``[B]``.
            n: Negatives a row.
            generator: For the whole batch.
            rows: Which of the B rows.

        Raises:
            ConfigError: ``sample`` did not give item rows int64 ``[B, n]``.
        """
        drawn = self.sample(users, positives, n, generator)
        if drawn.shape != (len(users), n) or drawn.dtype != torch.int64:
            raise _wrong_sample(
                self, f"{drawn.dtype} {list(drawn.shape)}", f"int64 {[len(users), n]}"
            )
        low, high = (int(end) for end in torch.aminmax(drawn)) if drawn.numel() else (0, 0)
        if low < 0 or high >= self.n_items:
            raise _wrong_sample(self, f"items {low} to {high}", f"items 0 to {self.n_items - 1}")
        return drawn[rows]

    def is_positive(self, users: Tensor, items: Tensor) -> Tensor:
        """Which items are training items of the users.

        Args:
            users: User rows int64 ``[B]``.
            items: Item rows int64 ``[B, n]``.

        Returns:
            bool ``[B, n]``.
        """
        wanted = users.unsqueeze(1) * self.n_items + items
        place = torch.searchsorted(self._pairs, wanted).clamp_(max=len(self._pairs) - 1)
        return self._pairs[place] == wanted

    @cached_property
    def _pairs(self) -> Tensor:
        """All training pairs as user · I + item, ascending."""
        counts = torch.from_numpy(self.positives.counts)
        users = torch.repeat_interleave(torch.arange(len(counts)), counts)
        return users * self.n_items + torch.from_numpy(self.positives.items)


class UniformSampler(NegativeSampler):
    """Draws items that a user has no training pair with, each equally likely.

    Items are counted by their place among the n that are drawn. With the user's sorted positives
    p_0 < p_1 < ..., the number of negatives below p_j is q_j = p_j - j, which never decreases. The
    negative of rank r in [0, n - degree) is therefore r + #{j: q_j <= r}; one binary search over
    the keys ``user * (n + 1) + q`` counts for all rows.

    Args:
        untrained_items: Whether items without any training interaction are drawn, too. They are
            never positive: drawn as negatives, training pushes them, and what they have in common
            with other items, away from every user.
    """

    def __init__(self, untrained_items: bool = False) -> None:
        self.untrained_items = untrained_items

    def build(self) -> None:
        """Make the keys that are searched."""
        self._offsets = torch.from_numpy(self.positives.offsets)
        counts = self._offsets.diff()
        trained = torch.from_numpy(self.positives.items)
        self._drawn = torch.arange(self.n_items) if self.untrained_items else trained.unique()
        self._n_negatives = len(self._drawn) - counts
        self.has_negatives = self._n_negatives > 0
        self._stride = len(self._drawn) + 1
        users = torch.repeat_interleave(torch.arange(len(counts)), counts)
        items = torch.searchsorted(self._drawn, trained)
        ranks = torch.arange(len(items)) - self._offsets[users]
        self._keys = users * self._stride + items - ranks

    def sample(
        self, users: Tensor, positives: Tensor, n: int, generator: torch.Generator
    ) -> Tensor:
        """Draw with replacement; see the contract.

        Raises:
            DataError: A user has every item.
        """
        return self.sample_rows(users, positives, n, generator, slice(None))

    def sample_rows(
        self, users: Tensor, positives: Tensor, n: int, generator: torch.Generator, rows: slice
    ) -> Tensor:
        """Draw for the whole batch, and look up the items of some rows alone."""
        uniform = torch.rand(len(users), n, dtype=torch.float64, generator=generator)
        return self.at(users[rows], uniform[rows])

    def at(self, users: Tensor, uniform: Tensor) -> Tensor:
        """Turn uniform draws into negatives: a pure function of both.

        A draw is a multiple of 2^-53, so that the chance of an item is off by less than a share
        of I * 2^-53, and the rank floor(draw * range) stays below the range.

        Args:
            users: User rows int64 ``[B]``.
            uniform: float64 ``[B, n]`` in [0, 1).

        Returns:
            Item rows int64 ``[B, n]``.

        Raises:
            DataError: A user has every item that is drawn.
        """
        full = ~self.has_negatives[users]
        if full.any():
            raise DataError(
                f"user row {int(users[full][0])} has interacted with every item that is drawn",
                expected="users with at least one item left to draw",
                fix="leave out the users that has_negatives marks False",
            )
        users = users.unsqueeze(1)
        ranks = (uniform * self._n_negatives[users]).floor().long()
        below = torch.searchsorted(self._keys, users * self._stride + ranks, right=True)
        return self._drawn[ranks + below - self._offsets[users]]


def _wrong_sample(sampler: NegativeSampler, found: str, expected: str) -> ConfigError:
    name = f"{type(sampler).__name__}.sample"
    return ConfigError(f"{name} gave {found}", expected=expected, fix=f"mend {name}")
