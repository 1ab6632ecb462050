"""Whether links between items and entities look right: what a person, or the texts, say to them.

I = items, F = distinct facts.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from slifmr_pl.data.dataset import RecommendationData
from slifmr_pl.report.html.item_cards import holds_pictures

Integers = npt.NDArray[np.int64]
_FACTS = 3  # that are shown of an item
_COMMON = 1000  # a fact of more items than this says nothing
_BLOCK = 4_000_000  # likenesses that are held at a time
_COMPARED = 400  # most items whose texts are compared
_ENOUGH = 30  # fewest


@dataclass(frozen=True)
class LinkSample:
    """A link, for a person to check.

    Attributes:
        item: Raw id.
        entities: What it is linked to.
        facts: Some of what the graph says of it.
        alike: Items whose facts are most alike, rare facts counting most. A wrong link shows here.
    """

    item: str
    entities: tuple[str, ...]
    facts: tuple[str, ...]
    alike: tuple[str, ...]


@dataclass(frozen=True)
class Agreement:
    """Whether items whose facts are alike have texts that are alike.

    Attributes:
        items: Items that were compared with the one whose facts are most alike.
        alike: Mean share of words in common (Jaccard) of the two.
        random: The same of an item and another one at random.
        certain: Whether `alike` is larger by more than two standard errors.
    """

    items: int
    alike: float
    random: float
    certain: bool


def item_facts(data: RecommendationData) -> sparse.csr_array:
    """What each item has to do with which entity, by which relation: float64 ``[I, F]``."""
    triples, n_items, n_relations = data.triples, len(data.items), len(data.relations)
    rows, keys = [], []
    for items, others, inverse in (
        (triples.heads, triples.tails, 0),
        (triples.tails, triples.heads, 1),
    ):
        of_item = items < n_items
        rows.append(items[of_item])
        keys.append((others[of_item] * n_relations + triples.relations[of_item]) * 2 + inverse)
    names, columns = np.unique(np.concatenate(keys), return_inverse=True)
    row = np.concatenate(rows)
    return sparse.csr_array((np.ones(len(row)), (row, columns)), shape=(n_items, len(names)))


def most_alike(facts: sparse.csr_array, rows: Integers, k: int) -> Integers:
    """The k items whose facts are most like those of some items, themselves left out.

    A fact that n items share counts 1/n: a director in common says more than a language.

    Args:
        facts: ``[I, F]``.
        rows: Items int64 ``[n]``.
        k: Items to find.

    Returns:
        int64 ``[n, k]``, most alike first, -1 where no fact is shared.
    """
    counts = np.asarray(facts.sum(axis=0)).ravel()
    shared = (counts > 1) & (counts <= _COMMON)
    telling = facts[:, np.flatnonzero(shared)]
    rarity = sparse.diags_array(1 / counts[shared])
    nearest = np.full((len(rows), k), -1, np.int64)
    step = max(1, _BLOCK // facts.shape[0])
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        likeness = (telling[block] @ rarity @ telling.T).toarray()
        likeness[np.arange(len(block)), block] = 0
        best = np.argsort(-likeness, axis=1, kind="stable")[:, :k]
        there = np.take_along_axis(likeness, best, axis=1) > 0
        nearest[start : start + step, : best.shape[1]] = np.where(there, best, -1)
    return nearest


def link_samples(
    data: RecommendationData,
    facts: sparse.csr_array,
    owned: Mapping[str, Sequence[str]],
    n_samples: int,
    seed: int,
) -> tuple[LinkSample, ...]:
    """Draws items that have facts.

    Args:
        data: Items, entities and triples.
        facts: ``[I, F]``.
        owned: Entities of each item.
        n_samples: How many.
        seed: Of the draw.
    """
    rows = np.sort(_drawn(facts, n_samples, seed))
    return tuple(
        LinkSample(
            item=item,
            entities=tuple(owned.get(item, ())),
            facts=_facts_of(data, row),
            alike=tuple(data.items.decode(best[best >= 0])),
        )
        for item, row, best in zip(
            data.items.decode(rows), rows.tolist(), most_alike(facts, rows, 2), strict=True
        )
    )


def agreement(data: RecommendationData, facts: sparse.csr_array, seed: int) -> Agreement | None:
    """Compares what facts and texts tell alike: right links should agree with the texts.

    Returns:
        None without texts, or where too few items share a fact.
    """
    table = data.item_table
    if table is None:
        return None
    names = [name for name in table.column_names if name != "item_id"]
    columns = [name for name in names if not holds_pictures(table[name])]
    rows = _drawn(facts, _COMPARED, seed)
    alike = most_alike(facts, rows, 1)[:, 0]
    rows, alike = rows[alike >= 0], alike[alike >= 0]
    if not columns or len(rows) < _ENOUGH:
        return None
    # Any item but the item itself.
    steps = np.random.default_rng(seed).integers(1, len(data.items), len(rows))
    random = (rows + steps) % len(data.items)
    needed = np.unique(np.concatenate([rows, alike, random]))
    texts = zip(*(table[name].take(needed).to_pylist() for name in columns), strict=True)
    words = {
        row: set(re.findall(r"\w+", " ".join(text).lower()))
        for row, text in zip(needed.tolist(), texts, strict=True)
    }

    def in_common(others: Integers) -> npt.NDArray[np.float64]:
        pairs = zip(rows.tolist(), others.tolist(), strict=True)
        return np.array([_jaccard(words[one], words[other]) for one, other in pairs])

    near, far = in_common(alike), in_common(random)
    more = near - far
    error = more.std(ddof=1) / np.sqrt(len(more))
    return Agreement(
        len(rows), float(near.mean()), float(far.mean()), bool(more.mean() > 2 * error)
    )


def _drawn(facts: sparse.csr_array, n: int, seed: int) -> Integers:
    """Some of the items that have facts."""
    known = np.flatnonzero(np.diff(facts.indptr))
    return np.random.default_rng(seed).permutation(known)[:n]


def _jaccard(one: set[str], two: set[str]) -> float:
    return len(one & two) / max(len(one | two), 1)


def _facts_of(data: RecommendationData, item: int) -> tuple[str, ...]:
    """Some facts of an item, of different relations."""
    triples = data.triples
    facts: dict[str, str] = {}
    for index in np.flatnonzero((triples.heads == item) | (triples.tails == item)).tolist():
        relation = data.relations.decode([triples.relations[index]])[0]
        forward = triples.heads[index] == item
        other = data.entities.decode([(triples.tails if forward else triples.heads)[index]])[0]
        facts.setdefault(relation if forward else f"{relation} of", other)
        if len(facts) == _FACTS:
            break
    return tuple(f"{relation}: {other}" for relation, other in facts.items())
