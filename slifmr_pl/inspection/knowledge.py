"""Findings in the knowledge graph: what it knows of the items, and whether links look right."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from slifmr_pl.data.dataset import RecommendationData
from slifmr_pl.data.readers import RawData

Integers = npt.NDArray[np.int64]
_EXAMPLES = 10  # conflicts and collisions that are named
_FACTS = 3  # facts of a sampled item


@dataclass(frozen=True)
class Relation:
    """What one relation says about the catalogue.

    Attributes:
        name: Raw id.
        triples: Its triples.
        items: Items of the catalogue at either end of one.
        share: The same as a share of the catalogue.
    """

    name: str
    triples: int
    items: int
    share: float


@dataclass(frozen=True)
class Conflict:
    """An entity that several items are linked to, and the item that keeps it."""

    entity: str
    keeps: str
    loses: tuple[str, ...]


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
class KnowledgeFindings:
    """What was found.

    Attributes:
        relations: By falling number of triples.
        next_to_items: Other entities one step from an item.
        further: Other entities that an item reaches in more steps.
        orphans: Other entities that no item reaches.
        links_without_triples: Links of items of the catalogue to entities of no triple.
        items_with_several_entities: Items that own more than one.
        conflicts: Number of entities with several items.
        conflict_examples: Some of them.
        collisions: Entities that have the id of an item that they are not linked to; some of them.
        samples: Links to check.
    """

    relations: tuple[Relation, ...]
    next_to_items: int
    further: int
    orphans: int
    links_without_triples: int
    items_with_several_entities: int
    conflicts: int
    conflict_examples: tuple[Conflict, ...]
    collisions: tuple[str, ...]
    samples: tuple[LinkSample, ...]


def knowledge_findings(
    raw: RawData, data: RecommendationData, samples: int, seed: int
) -> KnowledgeFindings | None:
    """Looks at a knowledge graph that was joined with a catalogue.

    Args:
        raw: Tables.
        data: What was made of them.
        samples: Links to draw.
        seed: Of the draw.

    Returns:
        None where no knowledge graph is used.
    """
    if raw.kg is None or not data.summary.knowledge.triples_read:
        return None
    n_items, n_entities = len(data.items), len(data.entities)
    triples = data.triples
    distances = _distance_groups(triples.heads, triples.tails, n_items, n_entities)
    owned = _owned(raw, data)
    conflicts = [
        Conflict(entity, min(items), tuple(sorted(items)[1:]))
        for entity, items in sorted(_items_of_entities(raw.links, data).items())
        if len(items) > 1
    ]
    mentioned = pa.chunked_array([*raw.kg["head_id"].chunks, *raw.kg["tail_id"].chunks])
    linked = [entity for entities in owned.values() for entity in entities]
    in_triples = pc.is_in(pa.array(linked, pa.string()), pc.unique(mentioned))
    return KnowledgeFindings(
        relations=_relations(data),
        next_to_items=distances[0],
        further=distances[1],
        orphans=distances[2],
        links_without_triples=len(linked) - (pc.sum(in_triples).as_py() or 0),
        items_with_several_entities=sum(len(entities) > 1 for entities in owned.values()),
        conflicts=len(conflicts),
        conflict_examples=tuple(conflicts[:_EXAMPLES]),
        collisions=_collisions(raw, data, mentioned),
        samples=_samples(data, owned, samples, seed),
    )


def _relations(data: RecommendationData) -> tuple[Relation, ...]:
    triples, n_items = data.triples, len(data.items)
    counts = np.bincount(triples.relations, minlength=len(data.relations))
    found = []
    for row in np.argsort(-counts, kind="stable").tolist():
        of_relation = triples.relations == row
        ends = np.unique(np.concatenate([triples.heads[of_relation], triples.tails[of_relation]]))
        items = int((ends < n_items).sum())
        name = data.relations.decode([row])[0]
        found.append(Relation(name, int(counts[row]), items, items / n_items))
    return tuple(found)


def _distance_groups(
    heads: Integers, tails: Integers, n_items: int, n_entities: int
) -> tuple[int, int, int]:
    """Numbers of other entities one step from an item, further away, and out of reach."""
    next_to = np.zeros(n_entities, np.bool_)
    next_to[tails[heads < n_items]] = True
    next_to[heads[tails < n_items]] = True
    ones = np.ones(len(heads), np.int8)
    graph = sparse.csr_array((ones, (heads, tails)), shape=(n_entities, n_entities))
    _, components = connected_components(graph, directed=False)
    reached = np.isin(components, components[:n_items])
    others = slice(n_items, None)
    near, within = int(next_to[others].sum()), int(reached[others].sum())
    return near, within - near, n_entities - n_items - within


def _items_of_entities(links: pa.Table | None, data: RecommendationData) -> dict[str, set[str]]:
    """Items of the catalogue that each linked entity was linked to."""
    found: dict[str, set[str]] = defaultdict(set)
    if links is not None:
        inside = links.filter(pc.is_in(links["item_id"], data.items.ids))
        for item, entity in zip(
            *(inside[name].to_pylist() for name in ("item_id", "entity_id")), strict=True
        ):
            found[entity].add(item)
    return found


def _owned(raw: RawData, data: RecommendationData) -> dict[str, list[str]]:
    """Entities of each item that has one."""
    found: dict[str, list[str]] = defaultdict(list)
    if raw.links is None:
        rows = _items_in_triples(data)
        return {item: [item] for item in data.items.decode(rows)}
    for entity, items in _items_of_entities(raw.links, data).items():
        found[min(items)].append(entity)
    return {item: sorted(entities) for item, entities in found.items()}


def _items_in_triples(data: RecommendationData) -> Integers:
    ends = np.unique(np.concatenate([data.triples.heads, data.triples.tails]))
    return ends[ends < len(data.items)]


def _collisions(
    raw: RawData, data: RecommendationData, mentioned: pa.ChunkedArray
) -> tuple[str, ...]:
    if raw.links is None:
        return ()
    same = pc.unique(mentioned.filter(pc.is_in(mentioned, data.items.ids)))
    other = same.filter(pc.invert(pc.is_in(same, pc.unique(raw.links["entity_id"]))))
    ids: list[str] = other.slice(0, _EXAMPLES).to_pylist()
    return tuple(ids)


def _samples(
    data: RecommendationData, owned: dict[str, list[str]], n_samples: int, seed: int
) -> tuple[LinkSample, ...]:
    known = _items_in_triples(data)
    rows = np.sort(np.random.default_rng(seed).permutation(known)[:n_samples])
    if not len(rows):
        return ()
    facts = _facts(data)
    # Rare facts say more: a director in common counts more than a language.
    rarity = sparse.diags_array(1.0 / np.maximum(np.asarray(facts.sum(axis=0)).ravel(), 1.0))
    alike = (facts[rows] @ rarity @ facts.T).toarray()
    alike[np.arange(len(rows)), rows] = 0
    found = []
    for row, likeness in zip(rows.tolist(), alike, strict=True):
        best = [other for other in np.argsort(-likeness, kind="stable")[:2] if likeness[other] > 0]
        item = data.items.decode([row])[0]
        found.append(
            LinkSample(
                item=item,
                entities=tuple(owned.get(item, ())),
                facts=_facts_of(data, row),
                alike=tuple(data.items.decode(best)),
            )
        )
    return tuple(found)


def _facts(data: RecommendationData) -> sparse.csr_array:
    """What each item has to do with which entity, by which relation: float64 [I, facts]."""
    triples, n_items, n_relations = data.triples, len(data.items), len(data.relations)
    ends = [(triples.heads, triples.tails, 0), (triples.tails, triples.heads, 1)]
    rows, keys = [], []
    for items, others, inverse in ends:
        of_item = items < n_items
        rows.append(items[of_item])
        keys.append((others[of_item] * n_relations + triples.relations[of_item]) * 2 + inverse)
    names, columns = np.unique(np.concatenate(keys), return_inverse=True)
    row = np.concatenate(rows)
    ones = np.ones(len(row))
    return sparse.csr_array((ones, (row, columns)), shape=(n_items, len(names)))


def _facts_of(data: RecommendationData, item: int) -> tuple[str, ...]:
    """Some facts of an item, of different relations."""
    triples = data.triples
    found: dict[str, str] = {}
    for index in np.flatnonzero((triples.heads == item) | (triples.tails == item)).tolist():
        relation = data.relations.decode([triples.relations[index]])[0]
        forward = triples.heads[index] == item
        other = data.entities.decode([(triples.tails if forward else triples.heads)[index]])[0]
        found.setdefault(relation if forward else f"{relation} of", other)
        if len(found) == _FACTS:
            break
    return tuple(f"{relation}: {other}" for relation, other in found.items())
