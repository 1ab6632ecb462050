"""Training data made worse on purpose: pure functions of the data, a share and a seed.

What is changed at one share is part of what is changed at a larger one of the same seed, so that a
curve over shares shows the share and not another draw. Validation and test are never touched.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from slifmr_pl.config.bounds import MAX_SEED, is_number
from slifmr_pl.data.dataset import RecommendationData
from slifmr_pl.data.interactions import Interactions
from slifmr_pl.data.knowledge_join import Triples, distinct_triples
from slifmr_pl.data.pairs import pack, unpack
from slifmr_pl.errors import ConfigError, DataError

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Perturbations:
    """How training data are made worse; by default they are not.

    Attributes:
        train_share: Share of each user's training interactions that is kept, rounded up.
        cold_items: Share of the items that lose all training interactions.
        added_interactions: Random interactions added, as a share of those that are left.
        corrupted_triples: Share of the triples whose tail becomes a random entity.
        missing_features: Share of the items that lose their features, by modality.
        seed: Seed of whatever is random.
    """

    train_share: float = 1.0
    cold_items: float = 0.0
    added_interactions: float = 0.0
    corrupted_triples: float = 0.0
    missing_features: Mapping[str, float] = field(default_factory=dict)
    seed: int = 2026

    def __post_init__(self) -> None:
        _require_shares(self)


def perturbed(data: RecommendationData, how: Perturbations) -> RecommendationData:
    """The data with other training interactions and triples.

    Features are not part of them, but the fingerprint is of all that `how` says.

    Raises:
        ConfigError: A share is out of range.
        DataError: There are not as many pairs as are to be added, or nothing is left to train on.
    """
    if how == Perturbations(seed=how.seed):
        return data
    train, triples = data.train, data.triples
    n_users, n_items = len(data.users), len(data.items)
    if how.train_share < 1:
        train = keep_share(train, how.train_share, how.seed)
    if how.cold_items > 0:
        train = without_items(train, n_items, how.cold_items, how.seed)
    if how.added_interactions > 0:
        known = (data.train, data.valid, data.test)
        shape = (n_users, n_items)
        train = add_interactions(train, known, shape, how.added_interactions, how.seed)
    if how.corrupted_triples > 0 and len(triples):
        triples = corrupt_tails(triples, len(data.entities), how.corrupted_triples, how.seed)
    if not len(train):
        raise DataError(
            "no training interactions are left",
            expected="at least one",
            fix="lower data.perturbations.cold_items",
        )
    fingerprint = hashlib.sha256(f"{data.fingerprint} {how}".encode()).hexdigest()
    return replace(data, train=train, triples=triples, fingerprint=fingerprint)


def keep_share(train: Interactions, share: float, seed: int) -> Interactions:
    """Keep a random share of each user's pairs, rounded up."""
    order = np.lexsort((_generator(seed, 1).random(len(train)), train.users))
    counts = np.bincount(train.users)
    starts = np.cumsum(counts) - counts
    users = train.users[order]
    ranks = np.arange(len(train)) - starts[users]
    kept = np.zeros(len(train), dtype=np.bool_)
    kept[order] = ranks < np.ceil(share * counts - 1e-9)[users]
    return Interactions(train.users[kept], train.items[kept])


def without_items(train: Interactions, n_items: int, share: float, seed: int) -> Interactions:
    """Drop the pairs of a random share of the items."""
    cold = random_share(np.ones(n_items, dtype=np.bool_), share, _generator(seed, 2))
    kept = ~cold[train.items]
    return Interactions(train.users[kept], train.items[kept])


def add_interactions(
    train: Interactions,
    known: tuple[Interactions, ...],
    shape: tuple[int, int],
    share: float,
    seed: int,
) -> Interactions:
    """Add random pairs, each equally likely, that none of the known parts has.

    Args:
        train: Pairs to add to.
        known: Parts whose pairs are not added.
        shape: Numbers of users and of items.
        share: Pairs to add for each pair of `train`.
        seed: Seed of the draws.

    Raises:
        DataError: There are not as many.
    """
    n_users, n_items = shape
    wanted = round(share * len(train))
    taken = np.unique(np.concatenate([pack(part.users, part.items, n_items) for part in known]))
    if wanted > n_users * n_items - len(taken):
        raise DataError(
            f"{wanted} interactions to add, and {n_users * n_items - len(taken)} pairs left",
            expected="as many pairs that nobody has",
            fix="lower data.perturbations.added_interactions",
        )
    generator = _generator(seed, 3)
    added = np.empty(0, dtype=np.int64)
    while len(added) < wanted:
        # Blocks of one size for every share, so that the draws are the same.
        users, items = (generator.integers(n, size=len(train)) for n in shape)
        draws = pack(users, items, n_items)
        draws = draws[~np.isin(draws, taken)]
        together = np.concatenate([added, draws])
        _, first = np.unique(together, return_index=True)
        added = together[np.sort(first)]
    keys = np.sort(np.concatenate([pack(train.users, train.items, n_items), added[:wanted]]))
    return Interactions(*unpack(keys, n_items))


def corrupt_tails(triples: Triples, n_entities: int, share: float, seed: int) -> Triples:
    """Give a random share of the triples a random tail; what then repeats is dropped."""
    generator = _generator(seed, 4)
    corrupted = random_share(np.ones(len(triples), dtype=np.bool_), share, generator)
    random_tails = generator.integers(n_entities, size=len(triples))
    tails = np.where(corrupted, random_tails, triples.tails)
    return distinct_triples(triples.heads, triples.relations, tails)[0]


def kept_features(present: Mask, share: float, seed: int, modality: str) -> Mask:
    """Which items keep their features, bool ``[I]``, when a random share of those present do not.

    Args:
        present: bool ``[I]``, items that have features.
        share: Share that loses them.
        seed: Seed of the choice.
        modality: Its name: each modality loses other items.
    """
    return present & ~random_share(present, share, _generator(seed, 5, *modality.encode()))


def random_share(among: Mask, share: float, generator: np.random.Generator) -> Mask:
    """Mark a random share, rounded, of the rows that a mask marks."""
    rows = generator.permutation(len(among))
    rows = rows[among[rows]]
    marked = np.zeros(len(among), dtype=np.bool_)
    marked[rows[: round(share * len(rows))]] = True
    return marked


def _generator(seed: int, *stream: int) -> np.random.Generator:
    return np.random.default_rng((seed, *stream))


def _require_shares(how: Perturbations) -> None:
    shares = {
        "cold_items": how.cold_items,
        "added_interactions": how.added_interactions,
        "corrupted_triples": how.corrupted_triples,
        **{f"missing_features.{name}": share for name, share in how.missing_features.items()},
    }
    wrong = [f"{name} {share}" for name, share in shares.items() if not 0 <= share <= 1]
    if not 0 < how.train_share <= 1:
        wrong.append(f"train_share {how.train_share}")
    if wrong or not is_number(how.seed, least=0, most=MAX_SEED, whole=True):
        raise ConfigError(
            f"data.perturbations: {', '.join(wrong) or f'seed {how.seed}'}",
            expected="shares from 0 to 1, a train_share above 0, and a seed of 0 or more",
            fix="for example --data.perturbations.added_interactions 0.2",
        )
