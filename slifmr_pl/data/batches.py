"""What training and evaluation loop over: batches that depend on nothing but their arguments.

Legend: b rows of this rank's share of a batch, n negatives a row.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from slifmr_pl.data.interactions import Interactions, UserItems
from slifmr_pl.data.sampler import NegativeSampler, UniformSampler
from slifmr_pl.errors import CheckpointError, ConfigError, DataError

# Streams of random numbers that never meet, whatever the seed, epoch and batch.
_ORDER, _NEGATIVES = 1, 2
NO_ITEMS = np.empty(0, dtype=np.int64)


class TrainBatch(NamedTuple):
    """This rank's share of one global batch.

    Attributes:
        users: int64 ``[b]``.
        positives: int64 ``[b]``.
        negatives: int64 ``[b, n]``.
        global_positives: int64 ``[B]``, positives of all ranks; where B is below the world size,
            b is 0 on some.
        n_ranks: Number of ranks that share the batch.
        global_users: int64 ``[B]``, users of all ranks.
    """

    users: Tensor
    positives: Tensor
    negatives: Tensor
    global_positives: Tensor
    n_ranks: int
    global_users: Tensor

    @property
    def divisor(self) -> float:
        """B ÷ n_ranks.

        Where each rank divides its sum over rows by it, the mean over ranks is that of the batch.
        """
        return len(self.global_positives) / self.n_ranks


class EvalBatch(NamedTuple):
    """Users to rank items for.

    Attributes:
        users: int64 ``[b]``.
        known_offsets: int64 ``[b + 1]``, into ``known_items``.
        known_items: Items to mask, int64; some may be there twice.
        relevant_offsets: int64 ``[b + 1]``, into ``relevant_items``.
        relevant_items: Items to find, int64, ascending a user.
    """

    users: Tensor
    known_offsets: Tensor
    known_items: Tensor
    relevant_offsets: Tensor
    relevant_items: Tensor

    def split(self, users: int) -> Iterator["EvalBatch"]:
        """The same in batches of at most so many users."""
        for first in range(0, len(self.users), users):
            rows = slice(first, first + users)
            known, known_items = _part(self.known_offsets, self.known_items, first, users)
            relevant, relevant_items = _part(
                self.relevant_offsets, self.relevant_items, first, users
            )
            yield EvalBatch(self.users[rows], known, known_items, relevant, relevant_items)


def _part(offsets: Tensor, items: Tensor, first: int, users: int) -> tuple[Tensor, Tensor]:
    """Offsets and items of some of the users, who follow each other."""
    offsets = offsets[first : first + users + 1]
    return offsets - offsets[0], items[int(offsets[0]) : int(offsets[-1])]


class TrainBatches:
    """The training loader: an epoch of shuffled positives, each with its negatives.

    A global batch is a pure function of (seed, epoch, index). An epoch is cut into
    ceil(N / batch_size) batches whose sizes differ by at most one; each rank takes a slice of
    each, so every world size trains on the same global batches. Pairs of users who have every
    item are left out, for they have no negative.

    Lightning saves and restores ``state_dict``, so that training resumes at the very next batch.
    It calls ``iter`` before ``set_epoch`` in the first epoch; the iterator therefore looks up the
    epoch and the position when its first batch is taken.

    Args:
        train: Training pairs.
        sampler: Source of negatives, built for these pairs.
        batch_size: Most rows of a global batch.
        n_negatives: Negatives of each positive.
        seed: Seed of order and negatives.
        rank: This process.
        world_size: Number of processes.

    Raises:
        ConfigError: An argument is out of range.
        DataError: No pair has a negative.
    """

    def __init__(
        self,
        train: Interactions,
        sampler: NegativeSampler,
        *,
        batch_size: int,
        n_negatives: int = 1,
        seed: int = 2026,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        _require_positive(batch_size=batch_size, n_negatives=n_negatives, world_size=world_size)
        _require_rank(rank, world_size)
        if seed < 0:
            raise ConfigError(f"seed {seed}", expected="0 or more", fix="set another seed")
        users, items = torch.from_numpy(train.users), torch.from_numpy(train.items)
        usable = sampler.has_negatives[users]
        if not usable.all():  # seldom, and a copy doubles the memory
            users, items = users[usable], items[usable]
        self._users, self._positives = users, items
        if not len(self._users):
            raise DataError(
                f"none of {len(train)} training pairs has an item to draw as negative",
                expected="users who have not interacted with every item",
                fix="train on more items",
            )
        self.left_out = len(train) - len(self._users)
        self._sampler = sampler
        self._sampler_settings = sampler.settings  # refused now, if they cannot be saved
        self._n_negatives = n_negatives
        self._batch_size = batch_size
        self._seed = seed
        self._rank, self._world_size = rank, world_size
        self._epoch = 0
        self._position = 0  # batches of the epoch that were handed out
        self._start = 0  # where the next iteration begins: 0, but after load_state_dict

    @property
    def sampler(self) -> "TrainBatches":
        """This object, because Lightning calls ``loader.sampler.set_epoch``."""
        return self

    def __len__(self) -> int:
        """Count the batches of an epoch, the same on every rank."""
        return math.ceil(len(self._users) / self._batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Turn to an epoch; another one than the present starts at its first batch."""
        if epoch != self._epoch:
            self._epoch, self._position, self._start = epoch, 0, 0

    def __iter__(self) -> Iterator[TrainBatch]:
        epoch, start, self._start = self._epoch, self._start, 0
        order = torch.randperm(len(self._users), generator=self._generator(_ORDER, epoch))
        self._position = start
        for index in range(start, len(self)):
            # Before the yield: the caller saves its state while it holds the batch.
            self._position = index + 1
            yield self._batch(order, epoch, index)

    def state_dict(self) -> dict[str, Any]:
        """Describe where the iteration stands, in plain types."""
        return {"epoch": self._epoch, "position": self._position, **self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Make the next iteration begin where the saved one stood.

        Raises:
            CheckpointError: The state is not one of a TrainBatches, or is of other batches and
                stands in the middle of an epoch.
        """
        if missing := self.state_dict().keys() - {"sampler"} - state.keys():
            raise CheckpointError(
                f"a loader state without {', '.join(sorted(missing))}",
                expected="what state_dict returned",
                fix="resume from a checkpoint of this loader",
            )
        identity = self._identity()
        # Uniform negatives were the only ones once, and not written down.
        saved = {"sampler": UniformSampler().settings} | {
            n: state[n] for n in identity if n in state
        }
        if saved != identity and 0 < state["position"] < state["batches"]:
            changed = [name for name in identity if saved[name] != identity[name]]
            raise CheckpointError(
                f"a checkpoint in the middle of an epoch with other batches: "
                f"{', '.join(f'{name} {saved[name]}, now {identity[name]}' for name in changed)}",
                expected="the data, batch size, negatives, sampler and seed that it was saved with",
                fix="restore them, or resume from an end-of-epoch checkpoint",
            )
        self._epoch = state["epoch"]
        self._position = self._start = min(state["position"], len(self))

    def _identity(self) -> dict[str, Any]:
        return {
            "seed": self._seed,
            "pairs": len(self._users),
            "batches": len(self),
            "n_negatives": self._n_negatives,
            "sampler": self._sampler_settings,
        }

    def _batch(self, order: Tensor, epoch: int, index: int) -> TrainBatch:
        first, last = (_cut(len(self._users), len(self), i) for i in (index, index + 1))
        size = last - first
        low, high = (_cut(size, self._world_size, i) for i in (self._rank, self._rank + 1))
        own = slice(low, high)
        pairs = order[first:last]
        users, positives = self._users[pairs], self._positives[pairs]
        generator = self._generator(_NEGATIVES, epoch, index)
        negatives = self._sampler.sample_rows(users, positives, self._n_negatives, generator, own)
        return TrainBatch(users[own], positives[own], negatives, positives, self._world_size, users)

    def _generator(self, *stream: int) -> torch.Generator:
        seed = np.random.SeedSequence((self._seed, *stream)).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(seed))


class EvalBatches:
    """The evaluation loader: each user once over all ranks, none padded, none repeated.

    Ranks may have different numbers of batches; a rank without users has one empty batch, as
    Lightning refuses loaders of length zero.

    Args:
        users: Users to evaluate, int64 ``[n]``.
        known: Items to mask, of every user.
        relevant: Items to find, of every user.
        batch_size: Most users of a batch.
        left_out: Item rows int64 ``[m]`` to mask for all users; adds m rows a user to a batch.
        rank: This process.
        world_size: Number of processes.

    Raises:
        ConfigError: An argument is out of range.
    """

    def __init__(
        self,
        users: npt.NDArray[np.int64],
        known: UserItems,
        relevant: UserItems,
        *,
        batch_size: int,
        left_out: npt.NDArray[np.int64] = NO_ITEMS,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        _require_positive(batch_size=batch_size, world_size=world_size)
        _require_rank(rank, world_size)
        low, high = (_cut(len(users), world_size, i) for i in (rank, rank + 1))
        self._users = users[low:high]
        self._known, self._relevant = known, relevant
        self._left_out = left_out
        self._batch_size = batch_size

    def __len__(self) -> int:
        """Count the batches of this rank."""
        return max(1, math.ceil(len(self._users) / self._batch_size))

    def __iter__(self) -> Iterator[EvalBatch]:
        for first in range(0, max(1, len(self._users)), self._batch_size):
            users = self._users[first : first + self._batch_size]
            known, relevant = self._known.select(users), self._relevant.select(users)
            if len(self._left_out):
                known = _with_all(*known, self._left_out)
            yield EvalBatch(*map(torch.tensor, (users, *known, *relevant)))


def _with_all(
    offsets: npt.NDArray[np.int64], items: npt.NDArray[np.int64], more: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Append the same items to those of each user."""
    lists = [part for own in np.split(items, offsets[1:-1]) for part in (own, more)]
    return offsets + len(more) * np.arange(len(offsets)), np.concatenate(lists)


def _cut(rows: int, parts: int, index: int) -> int:
    """Find where part ``index`` of near-equal contiguous parts begins."""
    return index * rows // parts


def _require_positive(**arguments: int) -> None:
    for name, number in arguments.items():
        if number < 1:
            raise ConfigError(f"{name} {number}", expected="1 or more", fix=f"set {name} to 1")


def _require_rank(rank: int, world_size: int) -> None:
    if not 0 <= rank < world_size:
        raise ConfigError(
            f"rank {rank} of {world_size} processes",
            expected=f"a rank from 0 to {world_size - 1}",
            fix="pass the trainer's global_rank and world_size",
        )
