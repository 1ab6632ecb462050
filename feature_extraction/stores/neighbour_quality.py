"""Whether features carry signal, before training: do neighbours share users, and who is a hub?

Shapes: n items, k neighbours, m interactions, d feature size, r components.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from feature_extraction.errors import FeatureError
from feature_extraction.stores.reduction import Features, Reduction
from feature_extraction.stores.store import FeatureStore
from feature_extraction.tables.rows import stream_rows

Similarity = Literal["plain", "centred", "whitened"]
"""What cosines are of: the features, these without their mean, or also with variance 1 in every
direction."""

NEIGHBOURS = 10

_MOST_ITEMS = 20_000  # that are compared with each other
_MOST_PAIRS_OF = 5_000  # items whose neighbours' users are looked at
_BLOCK = 512  # items compared at once
_LITTLE = 1.05  # a lift that is of no use, however certain


@dataclass(frozen=True)
class NeighbourQuality:
    """What nearest neighbours by features have in common beside their features.

    Args:
        items: Items with neighbours, n.
        lift: How much more often an item and its neighbour share users than two items of the same
            popularity by chance: the users that they share, over all pairs, by what is expected;
            1 is chance. NaN where no interaction is of the items.
        error: Standard error of it.
        orphans: Share of the items that are nobody's neighbour.
        largest_hub: Items that have the same item as a neighbour, at most.
    """

    items: int
    lift: float
    error: float
    orphans: float
    largest_hub: int

    @property
    def at_chance(self) -> bool:
        """Whether the lift is that of chance, as far as can be told, or hardly above it."""
        return self.lift < _LITTLE or self.lift - 2 * self.error <= 1

    def __str__(self) -> str:
        lift = "no interactions" if math.isnan(self.lift) else f"{self.lift:.2f} ± {self.error:.2f}"
        return (
            f"lift {lift}; {self.orphans:.1%} of the items are nobody's neighbour, "
            f"one is that of {self.largest_hub:,}"
        )


def neighbour_quality(
    neighbours: NDArray[np.int64], users: NDArray[np.int64], items: NDArray[np.int64]
) -> NeighbourQuality:
    """Measure neighbours against interactions.

    What is expected by chance is that of the configuration model of a bipartite graph: every item
    keeps its number of users, every user that of items. Averaged over all pairs of items it is
    the number of users that they share, exactly. Of many items some are looked at, evenly spaced.

    Args:
        neighbours: Rows of the neighbours of each item, int64 ``[n, k]``; -1 is none.
        users: Users of the interactions, from 0 on, int64 ``[m]``; each pair of user and item
            occurs once.
        items: Their items, as rows of ``neighbours``; int64 ``[m]``.
    """
    linked = neighbours >= 0
    having = np.flatnonzero(linked.any(1))
    in_degree = np.bincount(neighbours[linked], minlength=len(neighbours))
    lift, error = _lift(neighbours, having, users, items)
    return NeighbourQuality(
        items=len(having),
        lift=lift,
        error=error,
        orphans=float((in_degree[having] == 0).mean()) if len(having) else math.nan,
        largest_hub=int(in_degree.max(initial=0)),
    )


def _lift(
    neighbours: NDArray[np.int64],
    having: NDArray[np.int64],
    users: NDArray[np.int64],
    items: NDArray[np.int64],
) -> tuple[float, float]:
    """The lift and its standard error, of the items ``having`` neighbours."""
    of_item = np.bincount(items, minlength=len(neighbours)).astype(np.float64)
    of_user = np.bincount(users).astype(np.float64)
    all_pairs = of_item.sum() ** 2 - (of_item**2).sum()
    chosen = having[of_item[having] > 0]
    chosen = chosen[:: max(1, -(-len(chosen) // _MOST_PAIRS_OF))]
    if not len(chosen) or not all_pairs:
        return math.nan, math.nan
    factor = (of_user * (of_user - 1)).sum() / all_pairs
    looked_at = np.zeros(len(neighbours) + 1, np.bool_)  # the last stands for no neighbour
    looked_at[chosen] = looked_at[neighbours[chosen]] = True
    own = looked_at[:-1][items]
    pairs = sparse.csr_array(
        (np.ones(own.sum(), np.float32), (items[own], users[own])),
        shape=(len(neighbours), len(of_user)),
    )
    rows, slots = np.nonzero(neighbours[chosen] >= 0)
    first, second = chosen[rows], neighbours[chosen][rows, slots]
    shared = np.asarray(pairs[first].multiply(pairs[second]).sum(1)).ravel()
    by_chance = factor * of_item[first] * of_item[second]
    found, expected = (
        np.bincount(rows, weights=values, minlength=len(chosen)) for values in (shared, by_chance)
    )
    if not expected.sum():
        return math.nan, math.nan
    lift = found.sum() / expected.sum()
    # Pairs of one item are not independent, items are taken to be.
    spread = ((found - lift * expected) ** 2).sum()
    return float(lift), float(math.sqrt(spread) / expected.sum())


def qualities(
    features: Features,
    present: NDArray[np.bool_],
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    similarities: Collection[Similarity] = get_args(Similarity),
) -> Iterator[tuple[Similarity, NeighbourQuality]]:
    """Measure the neighbours that features give by cosines of several kinds.

    Args:
        features: ``[n, d]``; of more than 20,000 items, so many of them, evenly spaced.
        present: bool ``[n]``.
        users: As ``neighbour_quality`` takes them.
        items: Rows of ``features``.
        similarities: What the cosines are to be of.

    Yields:
        What the cosines are of, and what was found. Whitened features only where there are more
        items than columns, and the features of some items differ.
    """
    rows = np.flatnonzero(present)
    rows = rows[:: max(1, -(-len(rows) // _MOST_ITEMS))]
    place = np.full(len(present), -1, np.int64)
    place[rows] = np.arange(len(rows))
    own = place[items] >= 0
    chosen = features[rows].astype(np.float32)
    for name, directions in _similarities(chosen, similarities):
        neighbours = nearest_rows(directions, NEIGHBOURS)
        yield name, neighbour_quality(neighbours, users[own], place[items[own]])


def interactions_with(
    store: FeatureStore, path: Path, *, user_column: str, item_column: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Read a table of interactions.

    Args:
        store: What is to be measured.
        path: Table with a row per interaction.
        user_column: Column of user ids.
        item_column: Column of item ids.

    Returns:
        Users, numbered from 0, and items as rows of the store, int64 ``[m]`` each; every pair
        once. Items that are not in the store are left out.

    Raises:
        TableError: The table cannot be read.
        FeatureError: None of its items is in the store.
    """
    place = {item: row for row, item in enumerate(store.ids)}
    known_users: dict[str, int] = {}
    users, items, seen = [], [], ""
    for _, (user, item) in stream_rows(path, [user_column, item_column]):
        seen = seen or str(item)
        row = place.get(str(item))
        if row is not None:
            users.append(known_users.setdefault(str(user), len(known_users)))
            items.append(row)
    if not users:
        raise FeatureError(
            f"no interaction is of an item of the store: {seen!r} stands there, "
            f"{store.ids[0]!r} in the store",
            expected="the same ids of items in both",
            fix=f"write the ids alike, or name another column (--item-column is {item_column!r})",
            path=path,
        )
    distinct = np.unique(np.array([users, items], np.int64), axis=1)
    return distinct[0], distinct[1]


def nearest_rows(features: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Find the k other rows of highest cosine above zero, for every row.

    Args:
        features: float32 ``[n, d]``; rows of zeros have no neighbours.
        k: Neighbours.

    Returns:
        int64 ``[n, k]``, in no order; -1 where there is none.
    """
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.maximum(norms, np.finfo(np.float32).tiny)
    k_there = min(k, len(unit) - 1)
    found = np.full((len(unit), k), -1, np.int64)
    for start in range(0, len(unit) if k_there else 0, _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(unit)))
        cosines = unit[block] @ unit.T
        cosines[np.arange(len(block)), block] = -np.inf
        best = np.argpartition(-cosines, k_there - 1, axis=1)[:, :k_there]
        above = np.take_along_axis(cosines, best, 1) > 0
        found[block, :k_there] = np.where(above, best, -1)
    return found


def _similarities(
    features: NDArray[np.float32], wanted: Collection[Similarity]
) -> Iterator[tuple[Similarity, NDArray[np.float32]]]:
    if "plain" in wanted:
        yield "plain", features
    if "centred" in wanted:
        yield "centred", features - features.mean(0)
    can_be_whitened = len(features) > features.shape[1] and np.ptp(features, axis=0).any()
    if "whitened" in wanted and can_be_whitened:
        everywhere = np.ones(len(features), np.bool_)
        reduction = Reduction.fit(features, everywhere, None, whiten=True)
        yield "whitened", reduction(features).astype(np.float32)
