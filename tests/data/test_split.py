from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slifmr_pl.data.split import carve_valid, leave_one_out, ratio, temporal
from slifmr_pl.errors import ConfigError, DataError

RATIOS = (0.8, 0.1, 0.1)
PAIRS = st.sets(st.tuples(st.integers(0, 4), st.integers(0, 30)), min_size=1, max_size=80).map(list)


def columns(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    array = np.array(pairs, dtype=np.int64)
    return array[:, 0], array[:, 1]


@given(
    pairs=PAIRS,
    ratios=st.sampled_from([RATIOS, (0.6, 0.2, 0.2), (0.9, 0.0, 0.1), (0.02, 0.49, 0.49)]),
    seed=st.integers(0, 9),
)
def test_ratio_gives_every_user_the_counts_of_recbole(
    pairs: list[tuple[int, int]], ratios: tuple[float, float, float], seed: int
) -> None:
    users, items = columns(pairs)
    labels = ratio(users, items, ratios, seed)
    assert labels.dtype == np.int8
    for user, n in Counter(users.tolist()).items():
        counts = [int(share * n + 1e-9) for share in ratios]
        counts[0] = n - counts[1] - counts[2]
        for part in (2, 1):
            if counts[part] == 0 and ratios[part] > 0 and counts[0] > 1:
                counts[part] += 1
                counts[0] -= 1
        assert np.bincount(labels[users == user], minlength=3).tolist() == counts
        assert counts[0] >= 1
        if n >= 3 and ratios[1] > 0:
            assert min(counts) >= 1


@given(pairs=PAIRS, data=st.data())
def test_no_split_depends_on_the_order_of_rows(
    pairs: list[tuple[int, int]], data: st.DataObject
) -> None:
    order = np.array(data.draw(st.permutations(range(len(pairs)))))
    users, items = columns(pairs)
    times = (users * 3 + items * 7 % 5).astype(np.float64)
    given_labels = np.where(items % 3 == 0, 2, 0).astype(np.int8)
    for straight, shuffled in (
        (ratio(users, items, RATIOS, 1), ratio(users[order], items[order], RATIOS, 1)),
        (
            leave_one_out(users, items, times),
            leave_one_out(users[order], items[order], times[order]),
        ),
        (temporal(times, RATIOS), temporal(times[order], RATIOS)),
        (
            carve_valid(users, items, given_labels, 0.3, 1),
            carve_valid(users[order], items[order], given_labels[order], 0.3, 1),
        ),
    ):
        assert straight[order].tolist() == shuffled.tolist()


def test_ratio_follows_its_seed() -> None:
    users, items = np.zeros(100, np.int64), np.arange(100)
    one, again, other = (ratio(users, items, RATIOS, seed) for seed in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).any()


def test_ratio_chooses_every_row_equally_often() -> None:
    users, items = np.zeros(5, np.int64), np.arange(5)
    tested = sum(ratio(users, items, RATIOS, seed) == 2 for seed in range(1000))
    assert tested.sum() == 1000
    assert abs(tested - 200).max() < 60  # 4.7 standard deviations


def test_leave_one_out_tests_on_the_last_row() -> None:
    users = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2])
    items = np.array([4, 5, 6, 7, 0, 1, 9, 8, 7])
    times = np.array([9.0, 1, 3, 2, 5, 6, 1, 1, 1])
    assert leave_one_out(users, items, times).tolist() == [2, 0, 1, 0, 0, 0, 2, 1, 0]


@given(times=st.lists(st.integers(0, 8), min_size=1, max_size=50))
def test_temporal_keeps_the_parts_in_order_and_equal_times_together(times: list[int]) -> None:
    array = np.array(times, dtype=np.float64)
    labels = temporal(array, RATIOS)
    ordered = labels[np.argsort(array)]
    assert (np.diff(ordered) >= 0).all()
    assert all(len(set(labels[array == time].tolist())) == 1 for time in times)
    assert (labels == 0).sum() >= 0.8 * len(times) - 1e-6


def test_temporal_cuts_distinct_times_at_the_shares() -> None:
    labels = temporal(np.arange(100.0)[::-1], RATIOS)
    assert np.bincount(labels).tolist() == [80, 10, 10]
    assert labels[:10].tolist() == [2] * 10


def test_carving_leaves_test_rows_and_a_training_row_of_every_user() -> None:
    users = np.repeat([0, 1, 2], [1, 2, 10])
    labels = np.zeros(13, np.int8)
    labels[-1] = 2
    carved = carve_valid(users, np.arange(13), labels, 1 / 9, 0)
    assert carved[-1] == 2
    assert [np.bincount(carved[users == user], minlength=3).tolist() for user in range(3)] == [
        [1, 0, 0],
        [1, 1, 0],
        [8, 1, 1],
    ]


def test_splits_by_time_need_timestamps() -> None:
    rows = np.zeros(3, np.int64)
    with pytest.raises(DataError, match="leave_one_out, but the interactions have no timestamps"):
        leave_one_out(rows, rows, None)
    with pytest.raises(DataError, match="temporal, but the interactions have no timestamps"):
        temporal(None, RATIOS)


@pytest.mark.parametrize("ratios", [(0.8, 0.1, 0.2), (1.2, -0.1, -0.1), (0.0, 0.5, 0.5)])
def test_bad_ratios_are_an_error(ratios: tuple[float, float, float]) -> None:
    rows = np.zeros(3, np.int64)
    with pytest.raises(ConfigError, match="split ratios"):
        ratio(rows, rows, ratios, 0)
    with pytest.raises(ConfigError, match="split ratios"):
        temporal(np.zeros(3), ratios)
