from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slifmr_pl.data.canonical import RawData
from slifmr_pl.data.dataset import FilterConfig, RecommendationData, SplitConfig, build_dataset
from slifmr_pl.data.formats import frames
from slifmr_pl.data.interactions import Interactions
from slifmr_pl.errors import DataError

STRATEGIES = ("ratio", "leave_one_out", "temporal", "given")


def raw_data(n: int = 300, seed: int = 0) -> RawData:
    rng = np.random.default_rng(seed)
    items = [f"i{k}" for k in rng.integers(0, 25, n)]
    interactions = pa.table(
        {
            "user_id": [f"u{k}" for k in rng.integers(0, 20, n)],
            "item_id": items,
            "rating": rng.integers(1, 6, n).astype(np.float64),
            "timestamp": rng.permutation(n).astype(np.float64),
            "split": rng.choice(["train", "valid", "test"], n, p=[0.8, 0.1, 0.1]),
        }
    )
    catalogue = [f"i{k}" for k in range(40) if k != 3]
    return RawData(
        interactions=interactions,
        items=pa.table({"item_id": catalogue, "title": [f"title of {i}" for i in catalogue]}),
        kg=pa.table({"head_id": ["m1", "m2"], "relation_id": ["r", "r"], "tail_id": ["m9", "m1"]}),
        links=pa.table({"item_id": ["i1", "i2"], "entity_id": ["m1", "m2"]}),
        root=Path("toy"),
    )


def named(data: RecommendationData, part: Interactions) -> set[tuple[str, str]]:
    return set(zip(data.users.decode(part.users), data.items.decode(part.items), strict=True))


def without(raw: RawData, *columns: str) -> RawData:
    return replace(raw, interactions=raw.interactions.drop_columns(list(columns)))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_parts_are_disjoint_and_make_up_the_positives(strategy: str) -> None:
    raw = raw_data()
    data = build_dataset(raw, FilterConfig(minimum_rating=3), SplitConfig(strategy))
    parts = [named(data, part) for part in (data.train, data.valid, data.test)]
    rows = raw.interactions.to_pylist()
    positive = {(row["user_id"], row["item_id"]) for row in rows if row["rating"] >= 3}
    assert set.union(*parts) == positive
    assert sum(map(len, parts)) == len(positive)
    summary = data.summary
    assert (summary.train, summary.valid, summary.test) == tuple(map(len, parts))
    assert summary.interactions_read == (
        summary.interactions + summary.duplicates + summary.below_minimum_rating
    )
    assert all(part.users.dtype == part.items.dtype == np.int64 for part in (data.train, data.test))


@given(data=st.data(), strategy=st.sampled_from(STRATEGIES))
@settings(max_examples=30, deadline=None)
def test_row_order_changes_nothing(data: st.DataObject, strategy: str) -> None:
    raw = raw_data(60)
    order = np.array(data.draw(st.permutations(range(60))))
    shuffled = replace(
        raw,
        interactions=raw.interactions.take(order),
        items=raw.items.take(np.arange(raw.items.num_rows)[::-1]),
        kg=raw.kg.take([1, 0]),
        links=raw.links.take([1, 0]),
    )
    filters = FilterConfig(minimum_rating=2, k_core=2)
    one, other = (build_dataset(r, filters, SplitConfig(strategy)) for r in (raw, shuffled))
    assert one.fingerprint == other.fingerprint
    assert one.summary == other.summary
    assert one.item_table.equals(other.item_table)


@pytest.mark.parametrize(
    ("strategy", "fingerprint"),
    [
        ("ratio", "3e6380cbed064739"),
        ("leave_one_out", "a1db465b8b288262"),
        ("temporal", "b172416ba285b378"),
        ("given", "4324d0494e0af5ef"),
    ],
)
def test_fingerprint_stays_what_checkpoints_were_trained_with(
    strategy: str, fingerprint: str
) -> None:
    filters = FilterConfig(minimum_rating=2, k_core=3)
    data = build_dataset(raw_data(), filters, SplitConfig(strategy))
    assert data.fingerprint.startswith(fingerprint)


def test_fingerprint_follows_split_and_knowledge() -> None:
    raw = raw_data()
    prints = {
        build_dataset(raw, FilterConfig(), SplitConfig(seed=seed), knowledge).fingerprint
        for seed in (1, 2)
        for knowledge in (True, False)
    }
    assert len(prints) == 4


def test_k_core_leaves_no_user_or_item_with_fewer_and_counts_what_it_drops() -> None:
    data = build_dataset(raw_data(), FilterConfig(k_core=7), SplitConfig())
    pairs = [named(data, part) for part in (data.train, data.valid, data.test)]
    users, items = zip(*set.union(*pairs), strict=True)
    assert min(users.count(user) for user in data.users.ids.to_pylist()) >= 7
    assert min(items.count(item) for item in data.items.ids.to_pylist()) >= 7
    assert data.summary.outside_k_core > 0
    assert data.summary.interactions == len(users)


def test_item_table_is_aligned_to_item_rows() -> None:
    data = build_dataset(raw_data(), FilterConfig(), SplitConfig())
    assert data.item_table is not None
    assert data.item_table["item_id"].to_pylist() == data.items.ids.to_pylist()
    titles = dict(
        zip(data.items.ids.to_pylist(), data.item_table["title"].to_pylist(), strict=True)
    )
    assert titles.pop("i3") == ""
    assert all(title == f"title of {item}" for item, title in titles.items())
    assert data.summary.items_without_metadata == 1
    assert data.summary.metadata_outside_catalogue == 15


def test_cold_items_join_the_catalogue_when_asked() -> None:
    warm = build_dataset(raw_data(), FilterConfig(), SplitConfig())
    cold = build_dataset(raw_data(), FilterConfig(keep_cold_items=True), SplitConfig())
    assert (len(warm.items), len(cold.items)) == (25, 40)
    assert cold.summary.cold_items - warm.summary.cold_items == 15
    assert named(warm, warm.test) == named(cold, cold.test)


def test_items_come_first_among_entities() -> None:
    data = build_dataset(raw_data(), FilterConfig(), SplitConfig())
    assert data.entities.ids.to_pylist() == [*data.items.ids.to_pylist(), "m9"]
    assert data.summary.knowledge.linked_items == 2
    bare = build_dataset(raw_data(), FilterConfig(), SplitConfig(), use_knowledge=False)
    assert bare.entities == bare.items
    assert len(bare.triples) == len(bare.relations) == 0


def test_given_split_is_kept() -> None:
    raw = raw_data()
    data = build_dataset(raw, FilterConfig(), SplitConfig("given"))
    first: dict[tuple[str, str], str] = {}
    for row in sorted(raw.interactions.to_pylist(), key=lambda row: row["timestamp"]):
        first.setdefault((row["user_id"], row["item_id"]), row["split"])
    assert named(data, data.test) == {pair for pair, part in first.items() if part == "test"}
    assert data.summary.valid_carved_from_train == 0
    assert data.summary.given_split_unused == 0


def test_missing_validation_part_is_carved_from_training_and_reported() -> None:
    raw = raw_data()
    names = pa.array(
        ["test" if part == "test" else "train" for part in raw.interactions["split"].to_pylist()]
    )
    bare = without(raw, "split")
    raw = replace(bare, interactions=bare.interactions.append_column("split", names))
    data = build_dataset(raw, FilterConfig(), SplitConfig("given"))
    assert data.summary.valid_carved_from_train == data.summary.valid > 0
    assert data.summary.users_without_train == 0
    kept = build_dataset(raw, FilterConfig(), SplitConfig("given", ratios=(0.9, 0.0, 0.1)))
    assert kept.summary.valid == 0
    assert named(kept, kept.test) == named(data, data.test)


def test_unused_given_split_is_reported() -> None:
    summary = build_dataset(raw_data(), FilterConfig(), SplitConfig()).summary
    assert summary.given_split_unused == summary.interactions


def test_users_without_a_part_are_counted() -> None:
    table = pa.table(
        {
            "user_id": ["a", "a", "a", "b"],
            "item_id": ["1", "2", "3", "1"],
            "timestamp": [1.0, 2, 3, 4],
        }
    )
    raw = RawData(table, None, None, None, Path("toy"))
    data = build_dataset(raw, FilterConfig(), SplitConfig("leave_one_out"))
    assert data.item_table is None
    summary = data.summary
    assert (summary.users_without_train, summary.users_without_valid) == (0, 1)
    assert (summary.users_without_test, summary.cold_items) == (1, 2)


@pytest.mark.parametrize(
    ("missing", "filters", "split", "found"),
    [
        (
            "rating",
            FilterConfig(minimum_rating=4),
            SplitConfig(),
            "a minimum rating of 4, but",
        ),
        (
            "timestamp",
            FilterConfig(),
            SplitConfig("leave_one_out"),
            "leave_one_out, but the interactions have no timestamps",
        ),
        (
            "timestamp",
            FilterConfig(),
            SplitConfig("temporal"),
            "temporal, but the interactions have no timestamps",
        ),
        (
            "split",
            FilterConfig(),
            SplitConfig("given"),
            "given, but the interactions have no column split",
        ),
    ],
)
def test_missing_column_is_an_error(
    missing: str, filters: FilterConfig, split: SplitConfig, found: str
) -> None:
    with pytest.raises(DataError, match=found):
        build_dataset(without(raw_data(), missing), filters, split)


@pytest.mark.parametrize("filters", [FilterConfig(minimum_rating=9), FilterConfig(k_core=99)])
def test_nothing_left_is_an_error(filters: FilterConfig) -> None:
    with pytest.raises(DataError, match="no interactions are left of 300"):
        build_dataset(raw_data(), filters, SplitConfig())


def test_no_training_part_is_an_error() -> None:
    table = pa.table({"user_id": ["a"], "item_id": ["1"], "split": ["test"]})
    with pytest.raises(DataError, match="no training interactions among 1"):
        build_dataset(
            RawData(table, None, None, None, Path("toy")), FilterConfig(), SplitConfig("given")
        )


def test_cold_items_without_an_item_table_are_an_error() -> None:
    with pytest.raises(DataError, match="there is no item table"):
        build_dataset(
            replace(raw_data(), items=None), FilterConfig(keep_cold_items=True), SplitConfig()
        )


def test_links_without_a_graph_are_an_error() -> None:
    raw = replace(raw_data(), kg=None)
    with pytest.raises(DataError, match="links without a knowledge graph"):
        build_dataset(raw, FilterConfig(), SplitConfig())
    assert len(build_dataset(raw, FilterConfig(), SplitConfig(), False).triples) == 0


@pytest.mark.parametrize(("name", "called"), [("items", "item table"), ("links", "links")])
def test_tables_of_other_items_are_refused_with_an_id_of_each(name: str, called: str) -> None:
    interactions = pa.table({"user_id": ["a", "b"], "item_id": ["12", "13"]})
    tables = {"items": {"item_id": ["12.0"]}, "links": {"item_id": ["12.0"], "entity_id": ["e"]}}
    kg = pa.table({"head_id": ["e"], "relation_id": ["r"], "tail_id": ["f"]})
    raw = frames.raw_data(interactions, kg=kg, **{name: pa.table(tables[name])})
    with pytest.raises(DataError, match=f"no item of the {called} .*'12.0' stands there, '12' in"):
        build_dataset(raw, FilterConfig(), SplitConfig())
