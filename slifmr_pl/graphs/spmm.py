"""The one sparse product that all propagation goes through.

A `SparseGraph` keeps its CSR form with int32 indices and, unless it is symmetric, the CSR form of
its transpose, so that backward is the same fast product as forward. It is no buffer and no
parameter: DistributedDataParallel fails on sparse tensors.
"""

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.edges import Edges

SparseBackend = Literal["auto", "csr", "torch_sparse"]
INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class Csr:
    """Compressed sparse rows.

    Attributes:
        offsets: int32 [number of rows + 1].
        columns: int32 [nnz].
        values: float32 [nnz].
        shape: (number of rows, number of columns).
        backend: Which library multiplies.
    """

    offsets: Tensor
    columns: Tensor
    values: Tensor
    shape: tuple[int, int]
    backend: SparseBackend = "csr"

    @cached_property
    def _operand(self) -> Any:
        if self.backend == "torch_sparse":
            return _torch_sparse().SparseTensor(
                rowptr=self.offsets.long(),
                col=self.columns.long(),
                value=self.values,
                sparse_sizes=self.shape,
                is_sorted=True,
                trust_data=True,
            )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            return torch.sparse_csr_tensor(
                self.offsets, self.columns, self.values, self.shape, check_invariants=False
            )

    def __matmul__(self, dense: Tensor) -> Tensor:
        """Product with float [m, d], in the precision of the values, also under autocast."""
        dense = dense.to(self.values.dtype).contiguous()
        if len(self.values) == 0:
            return dense.new_zeros(self.shape[0], dense.shape[1])
        product: Tensor
        with torch.autocast(dense.device.type, enabled=False):
            if self.backend == "torch_sparse":
                product = _torch_sparse().matmul(self._operand, dense)
            else:
                product = self._operand @ dense
        return product

    def select(self, rows: Tensor) -> "Csr":
        """The given rows (int64 [r], any order) as a matrix of r rows."""
        starts = self.offsets[rows].long()
        lengths = self.offsets[rows + 1].long() - starts
        offsets = torch.zeros(len(rows) + 1, dtype=torch.int64, device=rows.device)
        torch.cumsum(lengths, 0, out=offsets[1:])
        shift = torch.repeat_interleave(starts - offsets[:-1], lengths)
        positions = torch.arange(len(shift), device=rows.device) + shift
        return Csr(
            offsets.int(),
            self.columns[positions],
            self.values[positions],
            (len(rows), self.shape[1]),
            self.backend,
        )

    def transposed(self) -> "Csr":
        """The transpose, by one stable sort of the columns."""
        lengths = torch.diff(self.offsets).long()
        rows = torch.repeat_interleave(
            torch.arange(self.shape[0], dtype=torch.int32, device=self.columns.device), lengths
        )
        order = torch.argsort(self.columns, stable=True)
        counts = torch.bincount(self.columns, minlength=self.shape[1])
        offsets = torch.zeros(self.shape[1] + 1, dtype=torch.int32, device=rows.device)
        offsets[1:] = counts.cumsum(0)
        shape = (self.shape[1], self.shape[0])
        return Csr(offsets, rows[order], self.values[order], shape, self.backend)


@dataclass(frozen=True)
class SparseGraph:
    """A constant sparse matrix that gradients flow through.

    Attributes:
        forward: The matrix.
        backward: Its transpose; the same object where the matrix is symmetric.
    """

    forward: Csr
    backward: Csr

    @classmethod
    def build(
        cls, edges: Edges, *, symmetric: bool, backend: SparseBackend = "auto"
    ) -> "SparseGraph":
        """Makes the product's operands from edges.

        Args:
            edges: The matrix.
            symmetric: Whether it is its own transpose, bit for bit; then only one copy is held.
            backend: "csr", "torch_sparse" (an extra), or "auto".

        Raises:
            ConfigError: If the matrix is too large for int32 indices, or the backend is absent.
        """
        backend = resolve_backend(backend)
        if max(len(edges), *edges.shape) > INT32_MAX:
            raise ConfigError(
                f"a graph of {edges.shape[0]} × {edges.shape[1]} with {len(edges)} edges",
                expected=f"at most {INT32_MAX} edges and nodes (int32 indices)",
                fix="filter the interactions (data.filters.k_core) or the knowledge graph",
            )
        device = edges.rows.device
        offsets = torch.zeros(edges.shape[0] + 1, dtype=torch.int32, device=device)
        offsets[1:] = edges.row_lengths().cumsum(0)
        forward = Csr(offsets, edges.columns.int(), edges.values, edges.shape, backend)
        return cls(forward, forward if symmetric else forward.transposed())

    @property
    def shape(self) -> tuple[int, int]:
        """(number of rows, number of columns)."""
        return self.forward.shape

    def __len__(self) -> int:
        return len(self.forward.values)


def resolve_backend(backend: SparseBackend) -> SparseBackend:
    """Settles "auto" (CSR, several times faster on a CPU) and checks that the backend is there.

    Raises:
        ConfigError: If there is no such backend, or torch-sparse is asked for and not installed.
    """
    if backend not in get_args(SparseBackend):
        raise ConfigError(
            f"sparse_backend is {backend!r}",
            expected=f"one of {', '.join(get_args(SparseBackend))}",
            fix="set model.sparse_backend to one of them",
        )
    if backend == "torch_sparse":
        _torch_sparse()
        return backend
    return "csr"


def spmm(graph: SparseGraph, dense: Tensor, rows: Tensor | None = None) -> Tensor:
    """Product of a constant sparse matrix and a dense one, differentiable in the dense one.

    Args:
        graph: Matrix [n, m].
        dense: float32 [m, d].
        rows: int64 [r]: compute just these rows of the product, forward and backward; the result
            equals `spmm(graph, dense)[rows]`.

    Returns:
        float32 [n, d], or [r, d] with `rows`.
    """
    transpose: Csr | None
    matrix, transpose = graph.forward, graph.backward
    if rows is not None:
        matrix, transpose = graph.forward.select(rows), None
    # torch declares Function.apply without types
    result: Tensor = _Product.apply(dense, matrix, transpose)  # type: ignore[no-untyped-call]
    return result


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: Csr, transpose: Csr | None) -> Tensor:
        ctx.operands = matrix, transpose
        return matrix @ dense

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        matrix, transpose = ctx.operands
        if transpose is None:  # selected rows differ from step to step, and evaluation needs none
            transpose = matrix.transposed()
        return transpose @ gradients[0], None, None


def _torch_sparse() -> Any:
    try:
        import torch_sparse
    except ImportError as error:
        raise ConfigError(
            f"sparse_backend: torch_sparse, but it cannot be imported ({error})",
            expected="the extra `sparse`",
            fix="pip install 'slifmr-pl[sparse]' --no-build-isolation, or sparse_backend: csr",
        ) from error
    return torch_sparse
