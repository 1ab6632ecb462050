import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slifmr_pl.data.interactions import Interactions, UserItems

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=30)


def interactions(pairs: list[tuple[int, int]]) -> Interactions:
    array = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return Interactions(array[:, 0], array[:, 1])


@given(one=PAIRS, other=PAIRS, asked=st.lists(st.integers(0, 6), max_size=10))
def test_selected_rows_hold_the_sorted_items_of_their_users(
    one: list[tuple[int, int]], other: list[tuple[int, int]], asked: list[int]
) -> None:
    rows = UserItems.of(7, interactions(one), interactions(other))
    expected = [sorted({i for u, i in one + other if u == user}) for user in range(7)]
    assert rows.counts.tolist() == [len(items) for items in expected]
    offsets, items = rows.select(np.array(asked, dtype=np.int64))
    assert offsets.dtype == items.dtype == np.int64
    assert [items[a:b].tolist() for a, b in itertools.pairwise(offsets)] == [
        expected[user] for user in asked
    ]
