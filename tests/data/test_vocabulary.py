import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.errors import DataError

IDS = st.lists(st.text(max_size=6), max_size=30)
DISTINCT = st.lists(st.text(max_size=6), max_size=30, unique=True)


@given(ids=IDS)
def test_decode_undoes_encode(ids: list[str]) -> None:
    vocabulary = Vocabulary.build(ids)
    rows = vocabulary.encode(ids)
    assert rows.dtype == np.int64
    assert vocabulary.decode(rows) == ids
    assert sorted(set(rows.tolist())) == list(range(len(vocabulary)))


@given(ids=IDS, seed=st.integers())
def test_build_is_sorted_and_ignores_order(ids: list[str], seed: int) -> None:
    shuffled = random.Random(seed).sample(ids, len(ids))
    assert Vocabulary.build(shuffled).ids.to_pylist() == sorted(set(ids))


@given(ids=IDS, cut=st.integers(0, 30))
def test_number_equals_build_and_then_encode(ids: list[str], cut: int) -> None:
    chunks = pa.chunked_array([ids[:cut], ids[cut:]], pa.string())
    for column in (ids, chunks):
        vocabulary, rows = Vocabulary.number(column)
        assert vocabulary == Vocabulary.build(ids)
        assert rows.dtype == np.int64
        assert rows.tolist() == vocabulary.encode(ids).tolist()


@given(ids=DISTINCT)
def test_constructor_keeps_order(ids: list[str]) -> None:
    assert Vocabulary(ids).encode(ids).tolist() == list(range(len(ids)))


@given(first=IDS, more=IDS)
def test_extend_keeps_rows_and_appends_the_new(first: list[str], more: list[str]) -> None:
    vocabulary = Vocabulary.build(first)
    longer = vocabulary.extend(more)
    assert longer.ids.to_pylist() == sorted(set(first)) + sorted(set(more) - set(first))


@given(ids=IDS, asked=IDS)
def test_unknown_ids_take_the_given_row(ids: list[str], asked: list[str]) -> None:
    vocabulary = Vocabulary.build(ids)
    rows = vocabulary.encode(asked, unknown=-7)
    assert [row != -7 for row in rows] == [raw in ids for raw in asked]
    assert [raw in vocabulary for raw in asked] == [raw in ids for raw in asked]


@given(one=DISTINCT, other=DISTINCT)
def test_fingerprints_are_equal_only_for_equal_ids_in_equal_order(
    one: list[str], other: list[str]
) -> None:
    same = Vocabulary(one).fingerprint() == Vocabulary(other).fingerprint()
    assert same == (one == other)
    assert (Vocabulary(one) == Vocabulary(other)) == (one == other)


def test_fingerprint_of_a_slice_is_that_of_its_ids() -> None:
    part = pa.array(["x", "ab", "c", "y"])[1:3]
    assert Vocabulary(part).fingerprint() == Vocabulary(["ab", "c"]).fingerprint()
    assert Vocabulary(["a", "bc"]).fingerprint() != Vocabulary(["ab", "c"]).fingerprint()


def test_numpy_and_arrow_ids_are_taken() -> None:
    vocabulary = Vocabulary.build(np.array(["b", "a"]))
    assert vocabulary.encode(pa.chunked_array([["a"], ["b", "a"]])).tolist() == [0, 1, 0]
    assert vocabulary.encode(pa.array(["b"], pa.large_string())).tolist() == [1]
    vocabulary.encode(["a"])[0] = 5  # the result is the caller's to change


def test_unknown_id_is_an_error_that_names_the_closest() -> None:
    with pytest.raises(DataError, match=r"1 of 2 ids are unknown, the first is 'usr1'") as caught:
        Vocabulary(["user1", "user2"]).encode(["user1", "usr1"])
    assert "user1" in caught.value.fix


def test_repeated_id_is_an_error() -> None:
    with pytest.raises(DataError, match="'a' occurs more than once"):
        Vocabulary(["a", "b", "a"])


@pytest.mark.parametrize("ids", [[1, 2], ["a", None], pa.array([1])])
def test_only_strings_are_ids(ids: list[str]) -> None:
    with pytest.raises(DataError, match="not a list of ids"):
        Vocabulary.build(ids)


@pytest.mark.parametrize("row", [-1, 2])
def test_row_outside_is_an_error(row: int) -> None:
    with pytest.raises(DataError, match=f"rows from {row} to {row}"):
        Vocabulary(["a", "b"]).decode([row])
