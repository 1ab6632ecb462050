"""Lookup of ids and the choice of the best, each against its plain form."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from slifmr_pl.errors import DataError
from slifmr_pl.serving.service.export_files import map_tensors
from slifmr_pl.serving.service.rankings import ListRanking, best
from slifmr_pl.serving.service.sorted_ids import SortedIds

IDS = st.text(st.characters(codec="utf-8"), max_size=4)


@given(st.lists(IDS, unique=True), st.lists(IDS))
def test_rows_of_ids_are_those_of_a_dictionary(ids: list[str], asked: list[str]) -> None:
    lookup = SortedIds(pa.array(ids, pa.string()))
    rows = {raw: row for row, raw in enumerate(ids)}
    for raw in [*ids, *asked]:
        assert lookup.row(raw) == rows.get(raw)
    found, unknown = lookup.rows([*asked, *ids[:2]])
    assert found.tolist() == sorted({rows[raw] for raw in [*asked, *ids[:2]] if raw in rows})
    assert unknown == list(dict.fromkeys(raw for raw in asked if raw not in rows))


@given(
    st.lists(st.sampled_from([-np.inf, 0.0, 1.0, 2.5]), min_size=1, max_size=12),
    st.integers(1, 14),
    st.data(),
)
def test_best_are_those_of_a_stable_sort(scores: list[float], k: int, data: st.DataObject) -> None:
    flags = st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))
    allowed = np.array(data.draw(flags))
    values = np.where(allowed, scores, -np.inf)
    order = [row for row in np.argsort(-values, kind="stable") if np.isfinite(values[row])]
    ranked = best(np.array(scores), k, allowed)
    assert ranked.items.tolist() == order[:k]
    assert ranked.scores.tolist() == values[order[:k]].tolist()


def test_mapped_tensors_are_those_of_the_file_and_cannot_be_changed(tmp_path: Path) -> None:
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.arange(3)}
    save_file(tensors, tmp_path / "some.safetensors")
    mapped = map_tensors(tmp_path / "some.safetensors")
    assert mapped.keys() == tensors.keys()
    for name, values in tensors.items():
        assert np.array_equal(mapped[name], values)
        assert not mapped[name].flags.writeable


@pytest.mark.parametrize("cut", [0, 5, 60, -4])
def test_damaged_file_is_named(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "some.safetensors"
    save_file({"a": np.zeros(3, np.float32)}, path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match="export again") as raised:
        map_tensors(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("columns", [None, ["user_id", "item_id"]])
def test_lists_that_are_absent_or_not_whole_are_named(
    tmp_path: Path, columns: list[str] | None
) -> None:
    path, ids = tmp_path / "recommendations.parquet", pa.array(["a"])
    if columns is not None:
        pq.write_table(pa.table(dict.fromkeys(columns, ids)), path)
    with pytest.raises(DataError, match="export again") as raised:
        ListRanking(tmp_path, ids, ids)
    assert str(path) in str(raised.value)
