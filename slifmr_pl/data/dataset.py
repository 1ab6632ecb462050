"""From raw tables to what trains: filtered, numbered, split, joined with knowledge, accounted."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from slifmr_pl.config.bounds import is_number, require, require_counts, require_seed
from slifmr_pl.config.changed import changed_fields
from slifmr_pl.data import cautions
from slifmr_pl.data import split as splitting
from slifmr_pl.data.canonical import RawData
from slifmr_pl.data.filtering import DistinctPairs, distinct_pairs, k_core, rated_at_least
from slifmr_pl.data.interactions import Interactions
from slifmr_pl.data.knowledge_join import Knowledge, Triples, join_knowledge, no_knowledge
from slifmr_pl.data.summary import Caution, DataSummary, Ratings
from slifmr_pl.data.table_columns import SPLIT_NAMES
from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.errors import DataError

SplitStrategy = Literal["ratio", "leave_one_out", "temporal", "given"]


@dataclass(frozen=True)
class FilterConfig:
    """Which interactions count.

    Attributes:
        minimum_rating: Lowest rating that is positive feedback; None takes every interaction.
        k_core: Fewest interactions of every user and every item; 0 keeps all.
        keep_cold_items: Whether items of the item table that nobody interacted with (after
            filtering) belong to the catalogue.
    """

    minimum_rating: float | None = None
    k_core: int = 0
    keep_cold_items: bool = False

    def __post_init__(self) -> None:
        rating = self.minimum_rating
        holds = rating is None or is_number(rating)
        require("data.filters", ("minimum_rating", rating, holds, "a number, or null"))
        require_counts("data.filters", 0, k_core=self.k_core)


@dataclass(frozen=True)
class SplitConfig:
    """How interactions are split.

    Attributes:
        strategy: ``ratio`` at random per user, ``leave_one_out`` by time per user, ``temporal`` by
            time for all, ``given`` by the data's own column.
        ratios: Shares of train, valid and test; ``given`` uses them only for data without a
            validation part, which is then carved from training.
        seed: Seed of whatever is random.
    """

    strategy: SplitStrategy = "ratio"
    ratios: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 2026

    def __post_init__(self) -> None:
        strategies = get_args(SplitStrategy)
        require(
            "data.split",
            ("strategy", self.strategy, self.strategy in strategies, ", ".join(strategies)),
        )
        splitting.require_ratios(self.ratios)
        require_seed("data.split", self.seed)


def unused_of_split(split: SplitConfig, carved: bool) -> dict[str, list[str]]:
    """Names of settings of a split that were given and have no effect, by what makes them so.

    Args:
        split: The settings.
        carved: Whether a validation part was carved from training.
    """
    names: dict[SplitStrategy, tuple[str, ...]] = {
        "leave_one_out": ("ratios", "seed"),
        "temporal": ("seed",),
        "given": () if carved or not split.ratios[1] else ("ratios", "seed"),
    }
    unread = names.get(split.strategy)
    given = changed_fields(split, *unread) if unread else []
    reason = f"data.split.strategy is {split.strategy}"
    if split.strategy == "given":
        reason += " and the data have a validation part"
    return {reason: [f"data.split.{name}" for name in given]} if given else {}


@dataclass(frozen=True, eq=False)
class RecommendationData:
    """Everything that training reads, in rows; independent of the order of the files' rows.

    Attributes:
        users: Users, sorted.
        items: The catalogue, sorted.
        entities: The items in their order, then the other entities, sorted.
        relations: Relations, sorted.
        train: Training pairs.
        valid: Validation pairs; no pair is in two parts.
        test: Test pairs.
        triples: Facts over entities and relations.
        item_table: ``item_id`` and other string columns, row i describes item i (empty strings
            where the file has no row for it); None without an item table.
        summary: What was dropped on the way.
        vocabulary_fingerprint: SHA-256 (hex) of the vocabularies: which id has which row.
        fingerprint: SHA-256 (hex) of vocabularies, parts and triples.
    """

    users: Vocabulary
    items: Vocabulary
    entities: Vocabulary
    relations: Vocabulary
    train: Interactions
    valid: Interactions
    test: Interactions
    triples: Triples
    item_table: pa.Table | None
    summary: DataSummary
    vocabulary_fingerprint: str
    fingerprint: str


@dataclass(frozen=True, eq=False)
class _Kept:
    """Interactions that passed the filters, and what did not."""

    users: Vocabulary
    items: Vocabulary
    pairs: DistinctPairs
    below_minimum_rating: int
    duplicates: int
    outside_k_core: int
    ratings: Ratings | None
    cautions: list[Caution]


def build_dataset(
    raw: RawData, filters: FilterConfig, split: SplitConfig, use_knowledge: bool = True
) -> RecommendationData:
    """Filter, number, split and join.

    Args:
        raw: Tables of one data folder.
        filters: Which interactions count.
        split: How they are split.
        use_knowledge: Whether to read the knowledge graph, if there is one.

    Raises:
        DataError: A column that a config asks for is missing, nothing is left, or links come
            without a knowledge graph.
        ConfigError: A config is out of range.
    """
    kept = _filter(raw, filters, split.strategy, use_knowledge)
    users, items, pairs = kept.users, kept.items, kept.pairs
    labels, carved = _labels(pairs, split)
    train, valid, test = (_part(pairs, labels == part) for part in range(3))
    if not len(train):
        raise DataError(
            f"no training interactions among {len(pairs)}",
            expected="training interactions",
            fix="check the split",
            path=raw.root,
        )
    knowledge = _knowledge(raw, items, use_knowledge)
    item_table, missing, outside = _item_table(raw, items)
    given_unused = split.strategy != "given" and "split" in raw.interactions.column_names
    without = [len(users) - _distinct(part.users) for part in (train, valid, test)]
    found = [*_cautions(kept, raw, filters), *raw.cautions]
    for name, part in (("validation", valid), ("test", test)):
        given = split.strategy == "given"
        found += cautions.of_parts(train.users, part.users, name, users, given, raw.root)
    summary = DataSummary(
        interactions_read=raw.interactions.num_rows,
        below_minimum_rating=kept.below_minimum_rating,
        duplicates=kept.duplicates,
        outside_k_core=kept.outside_k_core,
        interactions=len(pairs),
        users=len(users),
        items=len(items),
        train=len(train),
        valid=len(valid),
        test=len(test),
        valid_carved_from_train=carved,
        given_split_unused=len(pairs) if given_unused else 0,
        users_without_train=without[0],
        users_without_valid=without[1],
        users_without_test=without[2],
        cold_items=len(items) - _distinct(train.items),
        items_without_metadata=missing,
        metadata_outside_catalogue=outside,
        knowledge=knowledge.summary,
        ratings=kept.ratings,
        cautions=tuple(found),
    )
    digest = hashlib.sha256()
    for vocabulary in (users, items, knowledge.entities, knowledge.relations):
        digest.update(vocabulary.fingerprint().encode())
    vocabulary_fingerprint = digest.hexdigest()
    triples = knowledge.triples
    parts = [column for part in (train, valid, test) for column in (part.users, part.items)]
    for array in (*parts, triples.heads, triples.relations, triples.tails):
        digest.update(np.int64(len(array)).tobytes())
        digest.update(np.ascontiguousarray(array, dtype="<i8").data)
    return RecommendationData(
        users=users,
        items=items,
        entities=knowledge.entities,
        relations=knowledge.relations,
        train=train,
        valid=valid,
        test=test,
        triples=triples,
        item_table=item_table,
        summary=summary,
        vocabulary_fingerprint=vocabulary_fingerprint,
        fingerprint=digest.hexdigest(),
    )


def _filter(raw: RawData, filters: FilterConfig, strategy: str, use_knowledge: bool) -> _Kept:
    table = raw.interactions
    # From here on ids are integers: no string is copied or compared again.
    with ThreadPoolExecutor() as pool:
        numbered = pool.map(Vocabulary.number, (table["user_id"], table["item_id"]))
    (all_users, users), (all_items, items) = numbered
    found: list[Caution] = []
    for name, other, lacking in (
        ("item table", raw.items, "have neither text nor picture"),
        ("links", raw.links if use_knowledge else None, "have no knowledge"),
    ):
        if other is not None:
            found += cautions.overlap(all_items, other["item_id"], name, lacking, raw.root)
    times = _floats(table, "timestamp") if strategy != "ratio" else None
    given = _given_labels(raw) if strategy == "given" else None
    ratings = _floats(table, "rating")
    if filters.minimum_rating is not None:
        rated = rated_at_least(ratings, filters.minimum_rating)
        users, items = users[rated], items[rated]
        times = None if times is None else times[rated]
        given = None if given is None else given[rated]
    distinct = distinct_pairs(users, items, times, given)
    if given is not None and len(distinct) < len(users):
        found += cautions.of_repeated_pairs(users, items, given)
    pairs = distinct.where(k_core(distinct.users, distinct.items, filters.k_core))
    below = table.num_rows - len(users)
    duplicates = len(users) - len(distinct)
    if not len(pairs):
        raise DataError(
            f"no interactions are left of {table.num_rows}: {below} below the minimum "
            f"rating, {duplicates} duplicates, {len(distinct)} outside the k-core",
            expected="interactions that pass the filters",
            fix="lower minimum_rating or k_core",
            path=raw.root,
        )
    kept_users, user_rows = _renumbered(all_users, pairs.users, None)
    kept_items, item_rows = _renumbered(all_items, pairs.items, _cold_items(raw, filters))
    return _Kept(
        users=kept_users,
        items=kept_items,
        pairs=replace(pairs, users=user_rows, items=item_rows),
        below_minimum_rating=below,
        duplicates=duplicates,
        outside_k_core=len(distinct) - len(pairs),
        ratings=None if ratings is None or not len(ratings) else cautions.ratings_of(ratings),
        cautions=found,
    )


def _cautions(kept: _Kept, raw: RawData, filters: FilterConfig) -> Iterator[Caution]:
    """What may be wrong with the tables themselves."""
    if kept.ratings is not None and filters.minimum_rating is None:
        yield from cautions.of_ratings(kept.ratings)
    yield from kept.cautions
    yield from cautions.of_ids(kept.users.ids, "user_id")
    yield from cautions.of_ids(kept.items.ids, "item_id")
    if raw.items is not None:
        yield from cautions.of_texts(raw.items)


def _cold_items(raw: RawData, filters: FilterConfig) -> pa.ChunkedArray | None:
    """Ids that belong to the catalogue whether or not someone interacted with them."""
    if not filters.keep_cold_items:
        return None
    if raw.items is None:
        raise DataError(
            "keep_cold_items, but there is no item table",
            expected="items beside the interactions",
            fix="add the item table, or set keep_cold_items to false",
            path=raw.root,
        )
    return raw.items["item_id"]


def _renumbered(
    vocabulary: Vocabulary, rows: npt.NDArray[np.int64], more: pa.ChunkedArray | None
) -> tuple[Vocabulary, npt.NDArray[np.int64]]:
    """Reduce a vocabulary to the rows in use and to further ids; sorted rows stay sorted."""
    used = np.bincount(rows, minlength=len(vocabulary)) > 0
    ids = vocabulary.ids.filter(pa.array(used))
    reduced = Vocabulary(ids)
    if more is not None:
        reduced = Vocabulary.build(pa.chunked_array([ids, *more.chunks]))
    new_rows = np.full(len(vocabulary), -1, dtype=np.int64)
    new_rows[used] = reduced.encode(ids)
    return reduced, new_rows[rows]


def _labels(pairs: DistinctPairs, split: SplitConfig) -> tuple[splitting.Labels, int]:
    """Label the kept pairs; count those that were carved from training."""
    if split.strategy == "ratio":
        return splitting.ratio(pairs.users, pairs.items, split.ratios, split.seed), 0
    if split.strategy == "leave_one_out":
        return splitting.leave_one_out(pairs.users, pairs.items, pairs.timestamps), 0
    if split.strategy == "temporal":
        return splitting.temporal(pairs.timestamps, split.ratios), 0
    assert pairs.labels is not None
    labels = pairs.labels
    if (labels == splitting.VALID).any() or split.ratios[1] == 0:
        return labels, 0
    share = split.ratios[1] / (split.ratios[0] + split.ratios[1])
    labels = splitting.carve_valid(pairs.users, pairs.items, labels, share, split.seed)
    return labels, int((labels == splitting.VALID).sum())


def _given_labels(raw: RawData) -> splitting.Labels:
    if "split" not in raw.interactions.column_names:
        raise DataError(
            "the split strategy given, but the interactions have no column split",
            expected="a column split or x_label",
            fix="add the column, or use the strategy ratio",
            path=raw.root,
        )
    labels: splitting.Labels = (
        pc.index_in(raw.interactions["split"], pa.array(SPLIT_NAMES)).to_numpy().astype(np.int8)
    )
    return labels


def _part(pairs: DistinctPairs, mask: npt.NDArray[np.bool_]) -> Interactions:
    return Interactions(pairs.users[mask], pairs.items[mask])


def _distinct(rows: npt.NDArray[np.int64]) -> int:
    return int(np.count_nonzero(np.bincount(rows)))


def _knowledge(raw: RawData, items: Vocabulary, use_knowledge: bool) -> Knowledge:
    if not use_knowledge:
        return no_knowledge(items)
    if raw.kg is not None:
        knowledge = join_knowledge(items, raw.kg, raw.links)
        _require_linked(knowledge, raw)
        return knowledge
    if raw.links is not None:
        raise DataError(
            "links without a knowledge graph",
            expected="both, or neither",
            fix="add the knowledge graph, or set use_knowledge to false",
            path=raw.root,
        )
    return no_knowledge(items)


def _require_linked(knowledge: Knowledge, raw: RawData) -> None:
    """Refuses a knowledge graph that says nothing of any item, whatever the filters keep."""
    if not knowledge.summary.triples or knowledge.summary.linked_items:
        return
    assert raw.kg is not None
    ours, where = raw.interactions["item_id"], "the interactions"
    if raw.links is not None:
        ours, where = raw.links["entity_id"], "the links"
    entities = pa.chunked_array([*raw.kg["head_id"].chunks, *raw.kg["tail_id"].chunks])
    if not pc.any(pc.is_in(pc.unique(ours), pc.unique(entities))).as_py():
        raise DataError(
            f"no item is in a fact of the knowledge graph: {entities[0].as_py()!r} stands "
            f"there, {ours[0].as_py()!r} in {where}",
            expected="items in facts, by their own ids or through links",
            fix="write the ids alike in both files, add links, or set use_knowledge to false",
            path=raw.root,
        )


def _item_table(raw: RawData, items: Vocabulary) -> tuple[pa.Table | None, int, int]:
    """Align the item table to the catalogue; count items without a row and rows without an item."""
    if raw.items is None:
        return None, 0, 0
    rows = pc.index_in(items.ids, raw.items["item_id"].combine_chunks())
    columns = {
        name: items.ids if name == "item_id" else pc.fill_null(raw.items[name].take(rows), "")
        for name in raw.items.column_names
    }
    outside = raw.items.num_rows - (len(rows) - rows.null_count)
    return pa.table(columns), rows.null_count, outside


def _floats(table: pa.Table, name: str) -> npt.NDArray[np.float64] | None:
    return table[name].to_numpy() if name in table.column_names else None
