import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slifmr_pl.data.pairs import first_of_runs, order_by, pack, unpack

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
    for values in (second, second / 7 - 1e8):
        assert order_by(first, values).tolist() == np.lexsort((values, first)).tolist()


def test_first_of_runs_marks_changes() -> None:
    assert first_of_runs(np.array([2, 2, 5, 2])).tolist() == [True, False, True, True]
    assert first_of_runs(np.array([], np.int64)).tolist() == []
