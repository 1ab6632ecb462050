import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.sparse.edges import Edges
from slifmr_pl.graphs.sparse.spmm import SparseBackend, SparseGraph, resolve_backend, spmm
from tests.graphs.backends import every_backend
from tests.graphs.oracles import close, dense, edges_of, generator, gradients, sparse_matrix

symmetric_or_not = pytest.mark.parametrize("symmetric", [True, False])

# Unsorted, repeated, none, one that has no edges (row 4 below), all.
ROWS = [[3, 0, 2], [1, 1, 5, 1], [], [4], [4, 4, 0], list(range(6))]


def matrix_and_input(symmetric: bool) -> tuple[Tensor, Tensor]:
    """Float64 matrix with an empty row (and, if symmetric, column), and a dense operand."""
    columns = 6 if symmetric else 9
    matrix = sparse_matrix(6, columns, seed=1, density=0.4, symmetric=symmetric)
    matrix[4] = 0.0
    if symmetric:
        matrix[:, 4] = 0.0
    return matrix, torch.randn(columns, 5, generator=generator(2), dtype=torch.float64)


@every_backend
@symmetric_or_not
def test_product_and_gradient_equal_the_dense_ones(backend: SparseBackend, symmetric: bool) -> None:
    matrix, x = matrix_and_input(symmetric)
    graph = SparseGraph.build(edges_of(matrix), symmetric=symmetric, backend=backend)
    close(spmm(graph, x), matrix @ x)
    close(gradients(lambda x: spmm(graph, x), x), gradients(lambda x: matrix @ x, x))
    assert torch.autograd.gradcheck(lambda x: spmm(graph, x), x.requires_grad_())


@every_backend
@symmetric_or_not
@pytest.mark.parametrize("rows", ROWS)
def test_rows_equal_the_full_product_indexed(
    backend: SparseBackend, symmetric: bool, rows: list[int]
) -> None:
    matrix, x = matrix_and_input(symmetric)
    graph = SparseGraph.build(edges_of(matrix), symmetric=symmetric, backend=backend)
    wanted = torch.tensor(rows, dtype=torch.int64)
    result = spmm(graph, x, wanted)
    assert result.shape == (len(rows), 5)
    close(result, (matrix @ x)[wanted])
    close(
        gradients(lambda x: spmm(graph, x, wanted), x), gradients(lambda x: (matrix @ x)[wanted], x)
    )
    if rows:
        assert torch.autograd.gradcheck(lambda x: spmm(graph, x, wanted), x.requires_grad_())


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    n=st.integers(1, 12),
    m=st.integers(1, 12),
    density=st.floats(0, 1),
    picks=st.lists(st.integers(0, 11), max_size=20),
)
def test_random_graphs_equal_dense_autograd(
    seed: int, n: int, m: int, density: float, picks: list[int]
) -> None:
    matrix = sparse_matrix(n, m, seed, density=density)
    graph = SparseGraph.build(edges_of(matrix), symmetric=False)
    x = torch.randn(m, 3, generator=generator(seed), dtype=torch.float64)
    rows = torch.tensor([pick % n for pick in picks], dtype=torch.int64)
    close(spmm(graph, x), matrix @ x)
    close(gradients(lambda x: spmm(graph, x), x), gradients(lambda x: matrix @ x, x))
    close(spmm(graph, x, rows), (matrix @ x)[rows])
    close(gradients(lambda x: spmm(graph, x, rows), x), gradients(lambda x: (matrix @ x)[rows], x))


@every_backend
def test_graph_without_edges_gives_zeros_with_zero_gradients(backend: SparseBackend) -> None:
    graph = SparseGraph.build(Edges.empty((4, 3)), symmetric=False, backend=backend)
    for rows in (None, torch.tensor([2, 2])):
        x = torch.ones(3, 2, requires_grad=True)
        result = spmm(graph, x, rows)
        assert torch.equal(result, torch.zeros(4 if rows is None else 2, 2))
        result.sum().backward()
        assert torch.equal(x.grad, torch.zeros(3, 2))


def test_indices_are_int32_in_every_direction() -> None:
    graph = SparseGraph.build(edges_of(matrix_and_input(False)[0]), symmetric=False)
    selected = graph.forward.select(torch.tensor([5, 0]))
    for csr in (graph.forward, graph.backward, selected, selected.transposed()):
        assert csr.offsets.dtype == torch.int32
        assert csr.columns.dtype == torch.int32


def test_symmetric_graph_holds_one_copy_and_others_their_transpose() -> None:
    matrix, _ = matrix_and_input(True)
    one = SparseGraph.build(edges_of(matrix), symmetric=True)
    assert one.backward is one.forward
    matrix, _ = matrix_and_input(False)
    two = SparseGraph.build(edges_of(matrix), symmetric=False)
    assert two.backward.shape == (9, 6)
    assert torch.equal(two.backward @ torch.eye(6, dtype=torch.float64), matrix.T)


@every_backend
@pytest.mark.parametrize("rows", [None, torch.tensor([3, 1, 3])])
def test_product_and_gradient_stay_float32_under_bfloat16_autocast(
    backend: SparseBackend, rows: Tensor | None
) -> None:
    matrix, x = matrix_and_input(True)
    graph = SparseGraph.build(edges_of(matrix.float()), symmetric=True, backend=backend)
    x = x.float().requires_grad_()
    expected = spmm(graph, x, rows)
    (wanted,) = torch.autograd.grad(expected.square().sum(), x)
    with torch.autocast("cpu", torch.bfloat16):
        result = spmm(graph, x, rows)
        (gradient,) = torch.autograd.grad(result.square().sum(), x)
    assert result.dtype == gradient.dtype == torch.float32
    assert torch.equal(result, expected)
    assert torch.equal(gradient, wanted)


@every_backend
def test_half_precision_operand_gets_a_float32_product_and_its_own_gradient_type(
    backend: SparseBackend,
) -> None:
    matrix, x = matrix_and_input(True)
    graph = SparseGraph.build(edges_of(matrix.float()), symmetric=True, backend=backend)
    half = x.bfloat16().requires_grad_()
    result = spmm(graph, half)
    assert result.dtype == torch.float32
    close(result, matrix.float() @ half.float())
    result.sum().backward()
    assert half.grad.dtype == torch.bfloat16


def test_gradient_that_is_not_contiguous_is_taken() -> None:
    matrix, x = matrix_and_input(False)
    graph = SparseGraph.build(edges_of(matrix), symmetric=False)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(spmm(graph, x).T.contiguous().sum(), x)
    close(gradient, matrix.sum(0).unsqueeze(1).expand(9, 5))


def test_columns_of_the_dense_operand_may_be_strided() -> None:
    matrix, x = matrix_and_input(False)
    graph = SparseGraph.build(edges_of(matrix), symmetric=False)
    close(spmm(graph, x.T.contiguous().T), matrix @ x)
    close(spmm(graph, x[:, ::2]), matrix @ x[:, ::2])


def test_missing_backend_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_sparse", None)
    with pytest.raises(ConfigError, match=r"pip install 'slifmr-pl\[sparse\]'"):
        SparseGraph.build(Edges.empty((2, 2)), symmetric=True, backend="torch_sparse")


def test_unknown_backend_is_refused() -> None:
    with pytest.raises(ConfigError, match="'coo'"):
        resolve_backend("coo")


@every_backend
def test_chosen_backend_is_the_one_that_multiplies(backend: SparseBackend) -> None:
    graph = SparseGraph.build(
        edges_of(matrix_and_input(False)[0]), symmetric=False, backend=backend
    )
    selected = graph.forward.select(torch.tensor([1]))
    for csr in (graph.forward, graph.backward, selected, selected.transposed()):
        assert csr.backend == backend
    assert resolve_backend("auto") == "csr"


@pytest.mark.parametrize("shape", [(2**31, 3), (3, 2**31)])
def test_graph_beyond_int32_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="2147483648"):
        SparseGraph.build(Edges.empty(shape), symmetric=False)


def test_selected_rows_keep_their_edges_in_order() -> None:
    matrix, _ = matrix_and_input(False)
    graph = SparseGraph.build(edges_of(matrix), symmetric=False)
    rows = torch.tensor([5, 4, 5])
    selected = graph.forward.select(rows)
    as_edges = Edges(
        torch.repeat_interleave(torch.arange(3), torch.diff(selected.offsets).long()),
        selected.columns.long(),
        selected.values,
        selected.shape,
    )
    assert torch.equal(dense(as_edges), matrix[rows])
