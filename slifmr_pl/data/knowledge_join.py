"""Join a knowledge graph with the catalogue: an entity that is an item takes the item's row."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from slifmr_pl.data.pairs import first_of_runs, pack, unpack
from slifmr_pl.data.summary import KnowledgeSummary
from slifmr_pl.data.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Triples:
    """Facts, sorted by head, relation and tail.

    Attributes:
        heads: Entity rows int64 ``[T]``.
        relations: Relation rows int64 ``[T]``.
        tails: Entity rows int64 ``[T]``.
    """

    heads: npt.NDArray[np.int64]
    relations: npt.NDArray[np.int64]
    tails: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.heads)


@dataclass(frozen=True, eq=False)
class Knowledge:
    """A knowledge graph whose first entities are the items of the catalogue.

    Attributes:
        entities: Items in their order, then the other entities that a triple has, sorted.
        relations: Relations that a triple has, sorted.
        triples: No repetition, no self triple, no inverse relation.
        summary: What was dropped on the way.
    """

    entities: Vocabulary
    relations: Vocabulary
    triples: Triples
    summary: KnowledgeSummary


def no_knowledge(items: Vocabulary) -> Knowledge:
    """Make the empty graph over the items."""
    empty = np.empty(0, dtype=np.int64)
    summary = KnowledgeSummary(unlinked_items=len(items))
    return Knowledge(items, Vocabulary([]), Triples(empty, empty, empty), summary)


def join_knowledge(items: Vocabulary, kg: pa.Table, links: pa.Table | None) -> Knowledge:
    """Give the entities and relations of triples their rows.

    With links, an entity that is linked to an item of the catalogue is that item; of several items
    the first in sorted order keeps the entity, and an item may own several entities. An entity that
    is linked to none but has the id of an item is a different thing and is renamed
    ``entity:ID``. Without links, an entity with the id of an item is that item.

    Args:
        items: The catalogue.
        kg: ``head_id``, ``relation_id``, ``tail_id`` string.
        links: ``item_id``, ``entity_id`` string, or None.

    Returns:
        Entities, relations and triples.
    """
    ends = pa.chunked_array([*kg["head_id"].chunks, *kg["tail_id"].chunks], pa.string())
    raw_entities, raw_rows = Vocabulary.number(ends)
    owners = _Owners.of(items, raw_entities, links)
    free = _with_facts(raw_rows, len(raw_entities)) & (owners.items < 0)
    others = raw_entities.ids.filter(pa.array(free))
    renamed = _apart_from(items, others) if links is not None else others
    entities = items.extend(renamed)
    rows = owners.items.copy()
    rows[free] = entities.encode(renamed)

    all_relations, relation_rows = Vocabulary.number(kg["relation_id"])
    heads, tails = np.split(rows[raw_rows], 2)
    triples, self_triples = distinct_triples(heads, relation_rows, tails)
    used = np.bincount(triples.relations, minlength=len(all_relations)) > 0
    relations = Vocabulary(all_relations.ids.filter(pa.array(used)))
    triples = replace(triples, relations=(np.cumsum(used) - 1)[triples.relations])
    linked = np.zeros(len(entities), dtype=np.bool_)
    linked[triples.heads] = linked[triples.tails] = True
    linked_items = int(linked[: len(items)].sum())
    summary = KnowledgeSummary(
        triples_read=kg.num_rows,
        duplicate_triples=kg.num_rows - self_triples - len(triples),
        self_triples=self_triples,
        triples=len(triples),
        links_read=owners.links_read,
        links_outside_catalogue=owners.links_outside,
        contested_links=owners.contested,
        linked_items=linked_items,
        unlinked_items=len(items) - linked_items,
        renamed_entities=pc.sum(pc.not_equal(renamed, others)).as_py() or 0,
    )
    return Knowledge(entities, relations, triples, summary)


@dataclass(frozen=True, eq=False)
class _Owners:
    """For each raw entity ``[n]`` the item that it is, or -1."""

    items: npt.NDArray[np.int64]
    links_read: int = 0
    links_outside: int = 0
    contested: int = 0

    @classmethod
    def of(cls, items: Vocabulary, entities: Vocabulary, links: pa.Table | None) -> "_Owners":
        if links is None:
            return cls(items.encode(entities.ids, unknown=-1))
        # Entities beyond the triples count too: their links can be contested all the same.
        linked = entities.extend(links["entity_id"])
        item_ids, item_rows = Vocabulary.number(links["item_id"])
        pairs = np.unique(pack(linked.encode(links["entity_id"]), item_rows, len(item_ids)))
        of_entity, raw_item = unpack(pairs, len(item_ids))
        of_item = items.encode(item_ids.ids, unknown=-1)[raw_item]
        inside = of_item >= 0
        of_entity, of_item = of_entity[inside], of_item[inside]
        # Pairs are sorted by entity, then by item id: the first of an entity wins.
        owned, first = np.unique(of_entity, return_index=True)
        owners = np.full(len(linked), -1, dtype=np.int64)
        owners[owned] = of_item[first]
        return cls(
            items=owners[: len(entities)],
            links_read=len(pairs),
            links_outside=int((~inside).sum()),
            contested=len(of_entity) - len(owned),
        )


def _with_facts(ends: npt.NDArray[np.int64], n_entities: int) -> npt.NDArray[np.bool_]:
    """Mark the entities that a triple joins with another one.

    Args:
        ends: All heads, then all tails.
        n_entities: Number of entities.
    """
    heads, tails = np.split(ends, 2)
    marked = np.zeros(n_entities, dtype=np.bool_)
    other = heads != tails
    marked[heads[other]] = marked[tails[other]] = True
    return marked


def _apart_from(items: Vocabulary, others: pa.StringArray) -> pa.StringArray:
    """Prefix the ids that equal an item's, until they differ from every item and other entity."""
    taken = pc.is_in(others, items.ids)
    known = pa.concat_arrays([items.ids, others])
    prefix = "entity:"
    renamed = pc.binary_join_element_wise(prefix, others.filter(taken), "")
    while pc.any(pc.is_in(renamed, known)).as_py():
        renamed = pc.binary_join_element_wise(prefix, renamed, "")
    return pc.replace_with_mask(others, taken, renamed)


def distinct_triples(
    heads: npt.NDArray[np.int64],
    relations: npt.NDArray[np.int64],
    tails: npt.NDArray[np.int64],
) -> tuple[Triples, int]:
    """Sort triples; drop those of an entity with itself, which are counted, and repetitions.

    Args:
        heads: Entity rows int64 ``[n]``.
        relations: Relation rows int64 ``[n]``.
        tails: Entity rows int64 ``[n]``.

    Returns:
        The triples, and the number of self triples.
    """
    other = heads != tails
    heads, relations, tails = heads[other], relations[other], tails[other]
    n_relations, n_tails = (int(rows.max(initial=0)) + 1 for rows in (relations, tails))
    keys = pack(pack(heads, relations, n_relations), tails, n_tails)
    keys.sort()
    facts, tails = unpack(keys[first_of_runs(keys)], n_tails)
    heads, relations = unpack(facts, n_relations)
    return Triples(heads, relations, tails), int((~other).sum())
