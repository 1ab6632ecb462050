import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.sparse.topk import TopK, group_size, merge_topk, topk_stable
from tests.graphs.oracles import topk_columns

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


# Few distinct values: nearly every row has ties, inside and at the boundary.
@st.composite
def score_matrices(draw: st.DrawFn) -> Tensor:
    n_rows, n_columns = draw(st.integers(0, 5)), draw(st.integers(0, 12))
    value = st.sampled_from([-math.inf, -1.5, -0.0, 0.0, 0.25, 2.0])
    rows = st.lists(value, min_size=n_columns, max_size=n_columns)
    matrix = draw(st.lists(rows, min_size=n_rows, max_size=n_rows))
    return torch.tensor(matrix, dtype=torch.float32).view(n_rows, n_columns)


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=300, deadline=None)
@given(scores=score_matrices(), k=st.integers(1, 14))
def test_order_is_score_descending_then_index_ascending(
    device: str, scores: Tensor, k: int
) -> None:
    best = topk_stable(scores.to(device), k)
    expected = topk_columns(scores, k)
    assert best.indices.dtype == torch.int64
    assert best.indices.shape == best.values.shape == (len(scores), min(k, scores.shape[1]))
    assert best.indices.tolist() == expected
    assert torch.equal(best.values.cpu(), scores.gather(1, best.indices.cpu()))


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    n_groups=st.integers(4, 12),
    k=st.integers(1, 4),
    # From all values alike to few ties, and from nothing masked to everything.
    n_values=st.sampled_from([1, 2, 3, 50]),
    share_masked=st.sampled_from([0.0, 0.3, 0.97, 1.0]),
    ceiling=st.sampled_from([None, 1.0]),
)
def test_pruned_rows_keep_that_order(
    device: str,
    seed: int,
    n_groups: int,
    k: int,
    n_values: int,
    share_masked: float,
    ceiling: float | None,
) -> None:
    rng = torch.Generator().manual_seed(seed)
    n_columns = 32 * n_groups * k
    assert group_size(n_columns, k) > 1
    scores = torch.randint(0, n_values, (3, n_columns), generator=rng).float() - 1
    scores[torch.rand(3, n_columns, generator=rng) < share_masked] = -math.inf
    capped = scores if ceiling is None else scores.clamp(max=ceiling)
    best = topk_stable(scores.to(device).clone(), k, ceiling)
    assert best.indices.tolist() == topk_columns(capped, k)
    assert torch.equal(best.values.cpu(), capped.gather(1, best.indices.cpu()))


def test_rows_are_pruned_where_few_of_many_columns_are_kept() -> None:
    assert group_size(25_344, 50) == 32
    assert group_size(25_344, 10) == 64
    assert group_size(25_345, 10) == 1  # no whole groups
    assert group_size(25_344, 1000) == 1
    assert group_size(768, 50) == 1


def test_boundary_ties_of_a_wide_row_take_the_lowest_columns() -> None:
    scores = torch.zeros(2, 5000)
    scores[0, [4000, 17]] = 1.0
    best = topk_stable(scores, 4)
    assert best.indices.tolist() == [[17, 4000, 0, 1], [0, 1, 2, 3]]


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("n_columns", [7, 256])
@pytest.mark.parametrize("column", [0, 6])
def test_scores_that_are_not_finite_are_refused(value: float, n_columns: int, column: int) -> None:
    scores = torch.randn(3, n_columns, generator=torch.Generator().manual_seed(0))
    scores[1, column] = value
    with pytest.raises(ConfigError, match="NaN or \\+inf"):
        topk_stable(scores, 2)


def test_k_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="k is 0"):
        topk_stable(torch.zeros(1, 1), 0)


@settings(max_examples=200, deadline=None)
@given(scores=score_matrices(), cut=st.integers(0, 12), k=st.integers(1, 14))
def test_merging_two_parts_equals_the_top_k_of_the_whole(scores: Tensor, cut: int, k: int) -> None:
    cut = min(cut, scores.shape[1])
    left, right = topk_stable(scores[:, :cut], k), topk_stable(scores[:, cut:], k)
    merged = merge_topk(left, TopK(right.values, right.indices + cut), k)
    assert merged.indices.tolist() == topk_stable(scores, k).indices.tolist()
