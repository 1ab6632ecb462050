import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slifmr_pl.data.filtering import distinct_pairs, k_core, rated_at_least
from slifmr_pl.errors import DataError

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=40)


def columns(pairs: list[tuple[int, ...]]) -> tuple[np.ndarray, ...]:
    width = len(pairs[0]) if pairs else 2
    return tuple(np.array([pair[i] for pair in pairs], dtype=np.int64) for i in range(width))


def k_core_by_loops(pairs: list[tuple[int, int]], k: int) -> set[int]:
    kept = set(range(len(pairs)))
    while True:
        poor = {
            row
            for row in kept
            if sum(pairs[other][0] == pairs[row][0] for other in kept) < k
            or sum(pairs[other][1] == pairs[row][1] for other in kept) < k
        }
        if not poor:
            return kept
        kept -= {next(iter(poor))}


@given(pairs=PAIRS, k=st.integers(0, 4))
def test_k_core_is_the_largest_set_with_k_rows_each(pairs: list[tuple[int, int]], k: int) -> None:
    mask = k_core(*columns(pairs), k)
    assert set(np.flatnonzero(mask)) == k_core_by_loops(pairs, k)


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)),
        min_size=1,
        max_size=30,
    )
)
def test_earliest_time_and_its_lowest_label_are_kept(rows: list[tuple[int, int, int, int]]) -> None:
    users, items, times, labels = columns(rows)
    kept = distinct_pairs(users, items, times.astype(np.float64), labels.astype(np.int8))
    expected = {
        pair: min(row[2:] for row in rows if row[:2] == pair) for pair in {r[:2] for r in rows}
    }
    pairs = list(zip(kept.users.tolist(), kept.items.tolist(), strict=True))
    assert pairs == sorted(expected)
    assert kept.timestamps is not None
    assert kept.labels is not None
    timed_labels = zip(kept.timestamps.tolist(), kept.labels.tolist(), strict=True)
    assert dict(zip(pairs, timed_labels, strict=True)) == expected


@given(pairs=PAIRS)
def test_pairs_alone_are_sorted_and_distinct(pairs: list[tuple[int, int]]) -> None:
    kept = distinct_pairs(*columns(pairs))
    assert list(zip(kept.users, kept.items, strict=True)) == sorted(set(pairs))
    assert kept.timestamps is kept.labels is None


def test_without_timestamps_the_lowest_label_is_kept() -> None:
    pair = np.zeros(3, dtype=np.int64)
    kept = distinct_pairs(pair, pair, labels=np.array([2, 0, 1], np.int8))
    assert kept.labels is not None
    assert kept.labels.tolist() == [0]


def test_without_labels_the_earliest_time_is_kept() -> None:
    pair = np.zeros(3, dtype=np.int64)
    kept = distinct_pairs(pair, pair, np.array([2.5, -1.0, 7.0]))
    assert kept.timestamps is not None
    assert kept.timestamps.tolist() == [-1.0]


def test_rating_at_the_minimum_counts() -> None:
    assert rated_at_least(np.array([3.9, 4.0, 5.0]), 4.0).tolist() == [False, True, True]


def test_minimum_without_ratings_is_an_error() -> None:
    with pytest.raises(DataError, match="no ratings"):
        rated_at_least(None, 4.0)
