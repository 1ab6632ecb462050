import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.sparse.blocked_topk import (
    CPU_BLOCK,
    GPU_BLOCK,
    Block,
    ProductTopK,
    tile_columns,
)
from slifmr_pl.graphs.sparse.topk import TopK
from tests.graphs.memory import PeakBytes
from tests.graphs.oracles import generator, topk_columns

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
MIB = 2**20


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    n_rows=st.integers(0, 9),
    n_columns=st.integers(0, 200),
    k=st.integers(1, 210),
    share_masked=st.sampled_from([0.0, 0.3, 1.0]),
    block=st.builds(Block, st.sampled_from([1, 4, 512]), st.integers(1, 40)),
    memory_budget_mb=st.sampled_from([1, 64]),
)
def test_equals_sorting_the_whole_product(
    seed: int,
    n_rows: int,
    n_columns: int,
    k: int,
    share_masked: float,
    block: Block,
    memory_budget_mb: int,
) -> None:
    # Small integers: products are exact, so every tiling must give the same ties.
    rng = generator(seed)
    left = torch.randint(-2, 3, (n_rows, 3), generator=rng).float()
    right = torch.randint(-2, 3, (n_columns, 3), generator=rng).float()
    masked = torch.rand(n_rows, n_columns, generator=rng) < share_masked

    def mask(scores: Tensor, row: int, column: int) -> None:
        part = masked[row : row + scores.shape[0], column : column + scores.shape[1]]
        scores.masked_fill_(part, -torch.inf)

    product = ProductTopK(right, k, memory_budget_mb=memory_budget_mb, block=block)
    best = product(left, mask)
    expected = (left @ right.T).masked_fill(masked, -torch.inf)
    assert best.indices.tolist() == topk_columns(expected, k)
    assert torch.equal(best.values, expected.gather(1, best.indices))


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("block", [CPU_BLOCK, GPU_BLOCK])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dim", [1, 2, 24, 64, 100, 257])
def test_a_score_depends_on_neither_the_row_nor_the_column_of_its_vectors(
    dim: int, dtype: torch.dtype, block: Block, n_threads: int
) -> None:
    rng = generator(dim)
    left = torch.randn(1, dim, generator=rng, dtype=dtype).expand(600, -1)
    right = torch.randn(1, dim, generator=rng, dtype=dtype).expand(1000, -1)
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        best = ProductTopK(right, 1000, memory_budget_mb=256, block=block)(left)
    finally:
        torch.set_num_threads(before)
    assert best.values.unique().numel() == 1
    assert torch.equal(best.indices, torch.arange(1000).expand(600, -1))


Operands = tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def operands() -> Operands:
    """More rows than a block and five blocks of columns, some of them exact copies."""
    rng = generator(3)
    left, right = torch.randn(700, 24, generator=rng), torch.randn(3500, 24, generator=rng)
    right[2700:] = right[:800]
    return left, right


def assert_equal(found: TopK, expected: TopK) -> None:
    assert torch.equal(found.values, expected.values)
    assert torch.equal(found.indices, expected.indices)


@pytest.mark.parametrize("device", DEVICES)
def test_bitwise_equal_for_every_budget_and_every_batch_of_rows(
    operands: Operands, device: str
) -> None:
    left, right = (operand.to(device) for operand in operands)
    assert tile_columns(3500, 20, 1, torch.float32, CPU_BLOCK) < 3500
    whole = ProductTopK(right, 20, memory_budget_mb=1024)
    best = whole(left)
    assert_equal(ProductTopK(right, 20, memory_budget_mb=1)(left), best)
    for first, last in ((0, 1), (77, 91), (500, 530), (511, 700)):
        assert_equal(whole(left[first:last]), TopK(*(part[first:last] for part in best)))
    pairs = (best.indices[:, :-1] + 2700 == best.indices[:, 1:]).sum()
    assert int(pairs) > 1000  # copies tie, in the order of their columns


def test_half_precision_is_scored_in_float32_also_under_autocast() -> None:
    left, right = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 1e-3], [1.0, 2e-3]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ProductTopK(right, 1, memory_budget_mb=1)(left).indices.tolist() == [[1]]
    half = ProductTopK(right.bfloat16(), 1, memory_budget_mb=1)(left.bfloat16())
    assert half.values.dtype == torch.float32
    assert half.indices.tolist() == [[1]]


def test_scores_above_the_ceiling_are_tied() -> None:
    right = torch.tensor([[0.5], [1.5], [3.0], [2.0]])
    best = ProductTopK(right, 3, memory_budget_mb=1, ceiling=1.0)(torch.ones(1, 1))
    assert best.values.tolist() == [[1.0, 1.0, 1.0]]
    assert best.indices.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("k", [1, 50])
@pytest.mark.parametrize("all_tied", [False, True])
def test_work_space_stays_within_the_budget(k: int, all_tied: bool) -> None:
    rng = generator(0)
    left, right = torch.randn(600, 4, generator=rng), torch.randn(20_000, 4, generator=rng)
    if all_tied:
        left.zero_()
    assert tile_columns(20_000, k, 24, torch.float32, CPU_BLOCK) < 20_000
    with PeakBytes(left, right) as memory:
        best = ProductTopK(right, k, memory_budget_mb=24)(left)
    held = sum(part.nbytes for part in best)
    assert 12 * MIB < memory.peak - held <= 24 * MIB


def test_tiles_are_whole_blocks_as_wide_as_the_budget_allows() -> None:
    block = CPU_BLOCK
    assert tile_columns(10, 5, 1, torch.float32, block) == block.columns
    assert tile_columns(10**6, 5, 1, torch.float64, block) == block.columns
    assert tile_columns(24_915, 50, 1024, torch.float32, block) == 33 * block.columns
    narrow, wide = (tile_columns(10**6, 10, mb, torch.float32, block) for mb in (64, 256))
    assert narrow % block.columns == wide % block.columns == 0
    assert 3.5 * narrow < wide < 10**6


def test_budget_and_k_below_one_are_refused() -> None:
    with pytest.raises(ConfigError, match="memory_budget_mb is 0"):
        ProductTopK(torch.ones(1, 1), 1, memory_budget_mb=0)
    with pytest.raises(ConfigError, match="k is 0"):
        ProductTopK(torch.ones(1, 1), 0, memory_budget_mb=1)
