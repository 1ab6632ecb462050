import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slifmr_pl.data.pairs import first_of_runs, order_by, pack, unpack
from slifmr_pl.errors import DataError

LARGE = 2**31 - 1  # as many ids as Arrow numbers
PARTS = st.one_of(st.integers(0, 3), st.integers(0, LARGE))
PAIRS = st.lists(st.tuples(PARTS, PARTS), max_size=30)


def columns(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    array = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


@given(pairs=PAIRS)
def test_keys_sort_like_pairs_and_give_them_back(pairs: list[tuple[int, int]]) -> None:
    keys = pack(*columns(pairs), LARGE + 1)
    assert list(zip(*unpack(np.sort(keys), LARGE + 1), strict=True)) == sorted(pairs)


@given(pairs=PAIRS)
def test_order_is_that_of_lexsort(pairs: list[tuple[int, int]]) -> None:
    first, second = columns(pairs)
    values = second / 7 - 1e8
    assert order_by(first, values).tolist() == np.lexsort((values, first)).tolist()


def test_pairs_that_do_not_fit_are_an_error() -> None:
    largest = np.array([2**31 - 1])
    facts = pack(largest, largest, 2**31)
    assert pack(facts, np.array([1]), 2).tolist() == [2**63 - 1]
    with pytest.raises(DataError, match="4611686018427387904 times 3 pairs"):
        pack(facts, np.array([2]), 3)


def test_first_of_runs_marks_changes() -> None:
    assert first_of_runs(np.array([2, 2, 5, 2])).tolist() == [True, False, True, True]
    assert first_of_runs(np.array([], np.int64)).tolist() == []
