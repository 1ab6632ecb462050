from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from benchmarks.data import (
    ITEM_EXPONENT,
    USER_EXPONENT,
    Integers,
    generate,
    generate_knowledge,
    power_law_interactions,
    read_kgat,
    write_kgat,
    write_layout,
)
from slifmr_pl.data.dataset import FilterConfig, SplitConfig, build_dataset
from slifmr_pl.data.formats.data_folder import read
from slifmr_pl.errors import DataError

SIZE = (6_000, 2_000, 150_000)


def slope(rows: Integers, n_rows: int) -> float:
    """Of log(count) over log(rank), without the head and the thin tail."""
    counts: npt.NDArray[np.int64] = np.sort(np.bincount(rows, minlength=n_rows))[::-1]
    ranks = np.arange(n_rows // 100, n_rows // 2)
    return float(np.polyfit(np.log(ranks + 1), np.log(counts[ranks]), 1)[0])


def test_generated_pairs_are_distinct_sorted_and_leave_no_row_out() -> None:
    n_users, n_items, n = SIZE
    pairs = power_law_interactions(*SIZE)
    keys = pairs.users * n_items + pairs.items
    assert len(pairs) == n
    assert (np.diff(keys) > 0).all()
    assert len(np.unique(pairs.users)) == n_users
    assert len(np.unique(pairs.items)) == n_items
    assert pairs.items.max() < n_items


def test_generated_pairs_follow_power_laws() -> None:
    n_users, n_items, _ = SIZE
    pairs = power_law_interactions(*SIZE)
    assert slope(pairs.users, n_users) == pytest.approx(-USER_EXPONENT, abs=0.1)
    assert slope(pairs.items, n_items) == pytest.approx(-ITEM_EXPONENT, abs=0.1)
    popularity = np.bincount(pairs.items)
    assert abs(np.corrcoef(popularity, np.arange(n_items))[0, 1]) < 0.1


def test_generation_depends_on_its_arguments_alone() -> None:
    first, again = generate(*SIZE), generate(*SIZE)
    other = generate(*SIZE, seed=1)
    for part in ("train", "test"):
        for column in ("users", "items"):
            a, b, c = (getattr(getattr(x, part), column) for x in (first, again, other))
            assert np.array_equal(a, b)
            assert not np.array_equal(a, c)


def test_dense_request_is_refused() -> None:
    with pytest.raises(ValueError, match="at most half"):
        power_law_interactions(10, 10, 51)
    assert len(power_law_interactions(10, 10, 50)) == 50


def test_parts_do_not_meet() -> None:
    data = generate(300, 200, 4_000)
    train, test = (set(zip(p.users, p.items, strict=True)) for p in (data.train, data.test))
    assert not train & test
    assert len(train) + len(test) == 4_000
    assert 0.15 < len(test) / 4_000 < 0.25


def test_kgat_files_are_read_back_with_ids_sorted_as_strings(tmp_path: Path) -> None:
    data = generate(30, 20, 200)
    write_kgat(data, tmp_path)
    read = read_kgat(tmp_path)
    assert (read.n_users, read.n_items) == (30, 20)
    user_ids, item_ids = (np.array(sorted(map(str, range(n)))).astype(int) for n in (30, 20))
    for part in ("train", "test"):
        written, reread = getattr(data, part), getattr(read, part)
        pairs = set(zip(user_ids[reread.users], item_ids[reread.items], strict=True))
        assert pairs == set(zip(written.users, written.items, strict=True))


def test_kgat_lines_may_be_without_items_and_repeat_them(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("0 5 5 6\n1 \n2 7\n")
    (tmp_path / "test.txt").write_text("0 6 7\n2\n")
    data = read_kgat(tmp_path)
    assert data.train.users.tolist() == [0, 0, 1]  # user 1 has no items: users 0 and 2
    assert data.train.items.tolist() == [0, 1, 2]
    assert (data.test.users.tolist(), data.test.items.tolist()) == ([0], [2])


def test_bad_kgat_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("0 1\n1 two\n")
    (tmp_path / "test.txt").write_text("0 2\n")
    with pytest.raises(DataError, match=r"train\.txt, row 2"):
        read_kgat(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        read_kgat(tmp_path / "absent")


def test_layout_is_read_by_the_package(tmp_path: Path) -> None:
    data = generate(30, 20, 200)
    write_layout(data, tmp_path)
    split = SplitConfig("given", ratios=(1.0, 0.0, 0.0))
    dataset = build_dataset(read(tmp_path, "layout"), FilterConfig(), split)
    assert (len(dataset.users), len(dataset.items)) == (30, 20)
    assert (len(dataset.train), len(dataset.test)) == (len(data.train), len(data.test))


def test_knowledge_graph_has_its_size_and_both_directions() -> None:
    triples = generate_knowledge(50, 80, 4, 900)
    again = generate_knowledge(50, 80, 4, 900)
    assert len(triples) == 1_800
    assert (triples.n_entities, triples.n_relations) == (130, 8)
    assert torch.equal(triples.tails, again.tails)
    forward = triples.relations < 4
    assert int(forward.sum()) == 900
    assert int(triples.heads[forward].max()) < 50
    assert int(triples.tails[forward].min()) >= 50
    rows = torch.stack([triples.heads, triples.relations, triples.tails], dim=1)
    assert len(rows.unique(dim=0)) == 1_800
