from collections import defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slifmr_pl.graphs.sparse.edges import Edges, add, symmetrically_normalised, symmetrised
from tests.graphs.oracles import close, dense, edges_of, normalised, sparse_matrix

N_ROWS, N_COLUMNS = 5, 7
# Multiples of 1/8: their sums are exact in any order.
VALUES = st.integers(1, 16).map(lambda eighths: eighths / 8)


def lists(n_rows: int, n_columns: int) -> st.SearchStrategy[list[tuple[int, int, float]]]:
    return st.lists(
        st.tuples(st.integers(0, n_rows - 1), st.integers(0, n_columns - 1), VALUES), max_size=40
    )


def built(
    triplets: list[tuple[int, int, float]], shape: tuple[int, int], repeats: str = "sum"
) -> Edges:
    return Edges.build(
        torch.tensor([row for row, _, _ in triplets], dtype=torch.int64),
        torch.tensor([column for _, column, _ in triplets], dtype=torch.int64),
        torch.tensor([value for _, _, value in triplets]),
        shape,
        repeats=repeats,
    )


def as_dictionary(edges: Edges) -> dict[tuple[int, int], float]:
    return {
        (row, column): value
        for row, column, value in zip(
            edges.rows.tolist(), edges.columns.tolist(), edges.values.tolist(), strict=True
        )
    }


@settings(max_examples=100, deadline=None)
@given(triplets=lists(N_ROWS, N_COLUMNS), repeats=st.sampled_from(["sum", "max"]))
def test_build_sorts_and_merges_repeats(
    triplets: list[tuple[int, int, float]], repeats: str
) -> None:
    groups = defaultdict(list)
    for row, column, value in triplets:
        groups[row, column].append(value)
    merge = {"sum": sum, "max": max}[repeats]
    edges = built(triplets, (N_ROWS, N_COLUMNS), repeats)
    pairs = list(zip(edges.rows.tolist(), edges.columns.tolist(), strict=True))
    assert pairs == sorted(groups)
    assert as_dictionary(edges) == {pair: merge(values) for pair, values in groups.items()}
    assert edges.rows.dtype == edges.columns.dtype == torch.int64
    assert edges.values.dtype == torch.float32
    assert len(edges) == len(groups)


@settings(max_examples=60, deadline=None)
@given(triplets=lists(N_ROWS, N_COLUMNS))
def test_transpose_scaling_and_row_sums_equal_dense(
    triplets: list[tuple[int, int, float]],
) -> None:
    edges = built(triplets, (N_ROWS, N_COLUMNS))
    matrix = dense(edges)
    transposed = edges.transposed()
    assert transposed.shape == (N_COLUMNS, N_ROWS)
    assert torch.equal(dense(transposed), matrix.T)
    keys = transposed.rows * N_ROWS + transposed.columns
    assert torch.equal(keys, keys.unique())
    assert torch.equal(dense(edges.scaled(0.5)), matrix * 0.5)
    assert torch.equal(edges.row_sums(), matrix.sum(1))
    assert torch.equal(edges.row_lengths(), (matrix > 0).sum(1))


@settings(max_examples=60, deadline=None)
@given(first=lists(4, 4), second=lists(4, 4))
def test_sum_equals_dense(
    first: list[tuple[int, int, float]], second: list[tuple[int, int, float]]
) -> None:
    a, b = built(first, (4, 4)), built(second, (4, 4))
    assert torch.equal(dense(add(a, b)), dense(a) + dense(b))
    assert torch.equal(dense(add(a)), dense(a))


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**16), n=st.integers(1, 10), density=st.floats(0, 1))
def test_symmetrised_and_normalised_graphs_are_symmetric_to_the_last_bit(
    seed: int, n: int, density: float
) -> None:
    # A third of a random float has no short binary form: rounding would show.
    matrix = (sparse_matrix(n, n, seed, density=density) / 3).float()
    both = symmetrised(edges_of(matrix))
    assert torch.equal(dense(both), torch.maximum(matrix, matrix.T))
    result = symmetrically_normalised(both)
    normal = dense(result)
    assert torch.equal(normal, normal.T)
    assert normal.isfinite().all()
    close(normal.double(), normalised(dense(both)))


def test_nodes_without_edges_and_graphs_without_edges_have_no_nan() -> None:
    edges = built([(0, 2, 1.0), (2, 0, 1.0)], (4, 4))
    matrix = dense(symmetrically_normalised(edges))
    assert matrix.tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    empty = Edges.empty((3, 3))
    for result in (
        symmetrically_normalised(empty),
        symmetrised(empty),
        add(empty, empty),
        empty.transposed(),
    ):
        assert len(result) == 0
        assert result.shape == (3, 3)
    assert empty.row_sums().tolist() == [0, 0, 0]


def test_an_edge_of_weight_zero_stays_zero() -> None:
    edges = built([(0, 1, 0.0), (1, 0, 0.0)], (2, 2))
    assert symmetrically_normalised(edges).values.tolist() == [0, 0]


def test_pairs_beyond_32_bit_products_keep_apart() -> None:
    n = 3_000_000_000
    edges = Edges.build(
        torch.tensor([n - 1, 0, n - 1]),
        torch.tensor([n - 1, n - 1, n - 2]),
        torch.tensor([1.0, 2.0, 3.0]),
        (n, n),
    )
    assert as_dictionary(edges) == {(0, n - 1): 2, (n - 1, n - 2): 3, (n - 1, n - 1): 1}


@pytest.mark.parametrize("repeats", ["sum", "max"])
def test_repeats_below_zero_are_merged_too(repeats: str) -> None:
    edges = built([(1, 1, -0.5), (1, 1, -0.25)], (2, 2), repeats)
    assert edges.values.tolist() == [-0.75 if repeats == "sum" else -0.25]
