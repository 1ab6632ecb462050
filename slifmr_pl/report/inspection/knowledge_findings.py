"""Findings in the knowledge graph: what it knows of the items, and whether links look right."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from slifmr_pl.data.canonical import RawData
from slifmr_pl.data.dataset import RecommendationData
from slifmr_pl.data.pairs import pack, unpack
from slifmr_pl.report.inspection.link_findings import (
    Agreement,
    LinkSample,
    agreement,
    item_facts,
    link_samples,
)

Integers = npt.NDArray[np.int64]
_EXAMPLES = 10  # conflicts and collisions that are named


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
        agreement: Whether facts and texts tell the same items alike; None where that is not known.
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
    agreement: Agreement | None


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
    owned, facts = _owned(raw, data), item_facts(data)
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
        samples=link_samples(data, facts, owned, samples, seed),
        agreement=agreement(data, facts, seed),
    )


def _relations(data: RecommendationData) -> tuple[Relation, ...]:
    triples, n_items, n_relations = data.triples, len(data.items), len(data.relations)
    relations, ends = np.tile(triples.relations, 2), np.concatenate([triples.heads, triples.tails])
    at_item = ends < n_items
    pairs = np.unique(pack(relations[at_item], ends[at_item], n_items))
    items = np.bincount(unpack(pairs, n_items)[0], minlength=n_relations)
    counts = np.bincount(triples.relations, minlength=n_relations)
    order = np.argsort(-counts, kind="stable")
    return tuple(
        Relation(name, int(counts[row]), int(items[row]), float(items[row] / n_items))
        for row, name in zip(order, data.relations.decode(order), strict=True)
    )


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
    linked: dict[str, set[str]] = defaultdict(set)
    if links is not None:
        inside = links.filter(pc.is_in(links["item_id"], data.items.ids))
        for item, entity in zip(
            *(inside[name].to_pylist() for name in ("item_id", "entity_id")), strict=True
        ):
            linked[entity].add(item)
    return linked


def _owned(raw: RawData, data: RecommendationData) -> dict[str, list[str]]:
    """Entities of each item that has one."""
    entities_of: dict[str, list[str]] = defaultdict(list)
    if raw.links is None:
        rows = np.flatnonzero(np.diff(item_facts(data).indptr))
        return {item: [item] for item in data.items.decode(rows)}
    for entity, items in _items_of_entities(raw.links, data).items():
        entities_of[min(items)].append(entity)
    return {item: sorted(entities) for item, entities in entities_of.items()}


def _collisions(
    raw: RawData, data: RecommendationData, mentioned: pa.ChunkedArray
) -> tuple[str, ...]:
    if raw.links is None:
        return ()
    same = pc.unique(mentioned.filter(pc.is_in(mentioned, data.items.ids)))
    other = same.filter(pc.invert(pc.is_in(same, pc.unique(raw.links["entity_id"]))))
    ids: list[str] = other.slice(0, _EXAMPLES).to_pylist()
    return tuple(ids)
