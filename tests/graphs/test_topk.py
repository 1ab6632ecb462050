import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.topk import (
    BLOCK_COLUMNS,
    BLOCK_ROWS,
    TileSizes,
    TopK,
    merge_topk,
    product_topk,
    rows_within,
    tile_sizes,
    topk_stable,
)

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def reference_topk(scores: Tensor, k: int) -> list[list[int]]:
    return [
        sorted(range(len(row)), key=lambda column, row=row: (-row[column], column))[:k]
        for row in scores.tolist()
    ]


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
    expected = reference_topk(scores, k)
    assert best.indices.dtype == torch.int64
    assert best.indices.shape == best.values.shape == (len(scores), min(k, scores.shape[1]))
    assert best.indices.tolist() == expected
    assert torch.equal(best.values.cpu(), scores.gather(1, best.indices.cpu()))


def test_boundary_ties_of_a_wide_row_take_the_lowest_columns() -> None:
    scores = torch.zeros(2, 5000)
    scores[0, [4000, 17]] = 1.0
    best = topk_stable(scores, 4)
    assert best.indices.tolist() == [[17, 4000, 0, 1], [0, 1, 2, 3]]


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("column", [0, 6])
def test_scores_that_are_not_finite_are_refused(value: float, column: int) -> None:
    scores = torch.randn(3, 7, generator=torch.Generator().manual_seed(0))
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


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    n_rows=st.integers(0, 9),
    n_columns=st.integers(0, 11),
    k=st.integers(1, 13),
    tiles=st.builds(TileSizes, st.integers(1, 10), st.integers(1, 12)),
)
def test_product_in_tiles_equals_the_whole_product(
    seed: int, n_rows: int, n_columns: int, k: int, tiles: TileSizes
) -> None:
    # Small integers: products are exact, so every tiling must give the same ties.
    rng = torch.Generator().manual_seed(seed)
    left = torch.randint(-2, 3, (n_rows, 3), generator=rng).float()
    right = torch.randint(-2, 3, (n_columns, 3), generator=rng).float()
    masked = torch.rand(n_rows, n_columns, generator=rng) < 0.3

    def mask(scores: Tensor, row: int, column: int) -> None:
        part = masked[row : row + scores.shape[0], column : column + scores.shape[1]]
        scores.masked_fill_(part, -torch.inf)

    best = product_topk(left, right, k, tiles=tiles, edit=mask)
    expected = (left @ right.T).masked_fill(masked, -torch.inf)
    assert best.indices.tolist() == reference_topk(expected, k)
    assert torch.equal(best.values, expected.gather(1, best.indices))


@pytest.mark.parametrize("device", DEVICES)
def test_product_is_bitwise_equal_for_every_tiling_and_every_batch_of_rows(device: str) -> None:
    rng = torch.Generator().manual_seed(3)
    left = torch.randn(300, 24, generator=rng).to(device)
    right = torch.randn(2500, 24, generator=rng).to(device)
    right[1700:] = right[:800]  # exact copies: their scores must tie wherever they lie in a block
    whole = product_topk(left, right, 20, tiles=TileSizes(384, 3072))
    blocks = product_topk(left, right, 20, tiles=TileSizes(BLOCK_ROWS, BLOCK_COLUMNS))
    assert torch.equal(whole.values, blocks.values)
    assert torch.equal(whole.indices, blocks.indices)
    some = product_topk(left[77:91], right, 20, tiles=TileSizes(384, 3072))
    assert torch.equal(some.values, whole.values[77:91])
    assert torch.equal(some.indices, whole.indices[77:91])
    pairs = (whole.indices[:, :-1] + 1700 == whole.indices[:, 1:]).sum()
    assert int(pairs) > 500


def test_half_precision_is_scored_in_float32_also_under_autocast() -> None:
    left, right = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 1e-3], [1.0, 2e-3]])
    tiles = TileSizes(1, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert product_topk(left, right, 1, tiles=tiles).indices.tolist() == [[1]]
    half = product_topk(left.bfloat16(), right.bfloat16(), 1, tiles=tiles)
    assert half.values.dtype == torch.float32
    assert half.indices.tolist() == [[1]]


class LargestResult(TorchDispatchMode):
    """Records the largest tensor that any operation returns."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.numel = max(self.numel, result.numel())
        return result


def test_no_tensor_is_larger_than_a_tile_of_the_budget() -> None:
    left, right = torch.randn(1000, 4), torch.randn(5000, 4)
    tiles = tile_sizes(1000, 5000, memory_budget_mb=8, dtype=torch.float32)
    with LargestResult() as largest:
        product_topk(left, right, 5, tiles=tiles)
    assert largest.numel == tiles.rows * tiles.columns
    assert largest.numel * 20 <= 8 * 2**20


def test_tiles_are_whole_blocks_wide_before_high_and_cover_no_more_than_needed() -> None:
    million = 1_000_000
    assert tile_sizes(10, 10, 1024, torch.float32) == (BLOCK_ROWS, BLOCK_COLUMNS)
    assert tile_sizes(10, 10, 1, torch.float64) == (BLOCK_ROWS, BLOCK_COLUMNS)
    rows, columns = tile_sizes(million, 24_915, 1024, torch.float32)
    assert columns == 25 * BLOCK_COLUMNS
    assert rows % BLOCK_ROWS == 0
    assert 0.9 * 2**30 < rows * columns * 20 <= 2**30
    rows, columns = tile_sizes(million, million, 256, torch.float32)
    assert rows == BLOCK_ROWS
    assert columns % BLOCK_COLUMNS == 0
    assert 0.9 * 2**28 < rows * columns * 20 <= 2**28


def test_budget_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="memory_budget_mb is 0"):
        tile_sizes(1, 1, 0, torch.float32)


def test_rows_within_a_budget_are_at_least_one() -> None:
    assert rows_within(100, 30) == 3
    assert rows_within(10, 30) == 1
    assert rows_within(10, 0) == 10
