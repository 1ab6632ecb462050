"""The one sparse product that all propagation goes through.

A `SparseGraph` is a matrix in CSR form with int32 indices and its transpose in the same form, so
that backward is the same fast product as forward. It is no buffer and no parameter:
DistributedDataParallel fails on sparse tensors.
"""

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.sparse.edges import Edges
from slifmr_pl.graphs.sparse.reference_products import ReferenceGraph, edge_dropout_factors

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

    @classmethod
    def of(cls, edges: Edges, backend: SparseBackend = "csr") -> "Csr":
        """The matrix of edges.

        Raises:
            ConfigError: If it is too large for int32 indices.
        """
        check_size(len(edges), edges.shape)
        return cls.of_runs(
            edges.row_lengths(), edges.columns, edges.values, edges.shape[1], backend
        )

    @classmethod
    def of_runs(
        cls,
        lengths: Tensor,
        columns: Tensor,
        values: Tensor,
        n_columns: int,
        backend: SparseBackend = "csr",
    ) -> "Csr":
        """Rows given one after the other.

        Args:
            lengths: int64 [number of rows], entries of each row.
            columns: int [nnz].
            values: float32 [nnz].
            n_columns: Number of columns.
            backend: Which library multiplies.
        """
        offsets = torch.zeros(len(lengths) + 1, dtype=torch.int32, device=lengths.device)
        torch.cumsum(lengths, 0, dtype=torch.int32, out=offsets[1:])
        return cls(offsets, columns.int(), values, (len(lengths), n_columns), backend)

    def to(self, device: torch.device | str) -> "Csr":
        """The same matrix on another device."""
        return Csr(
            self.offsets.to(device),
            self.columns.to(device),
            self.values.to(device),
            self.shape,
            self.backend,
        )

    def scaled(self, rows: Tensor, columns: Tensor) -> "Csr":
        """diag(rows) · A · diag(columns): float32 scales, multiplied with each other first.

        A matrix and its transpose are therefore scaled alike to the last bit.
        """
        scales = torch.repeat_interleave(
            rows, torch.diff(self.offsets), output_size=len(self.values)
        )
        scales *= columns.index_select(0, self.columns)
        return Csr(self.offsets, self.columns, self.values * scales, self.shape, self.backend)

    def with_factors(self, factors: Tensor) -> "Csr":
        """The matrix with each entry multiplied by a factor of its own, float32 [nnz]."""
        values = self.values * factors.to(self.values)
        return Csr(self.offsets, self.columns, values, self.shape, self.backend)

    def __matmul__(self, dense: Tensor) -> Tensor:
        """Product with float [m, d], in the precision of the values, also under autocast.

        No gradient flows through it; `spmm` is the differentiable product.
        """
        dense = dense.detach().to(self.values.dtype).contiguous()
        if len(self.values) == 0:
            return dense.new_zeros(self.shape[0], dense.shape[1])
        with torch.autocast(dense.device.type, enabled=False):
            return self._product(dense)

    def _product(self, dense: Tensor) -> Tensor:
        product: Tensor
        if self.backend == "torch_sparse":
            product = _torch_sparse().matmul(self._operand, dense)
        elif dense.device.type == "cpu":
            # The same sums as a sparse product, by a kernel that vectorises over d and prefetches
            # the rows it gathers; each row is summed in order, whatever rows come with it.
            product = embedding_bag(
                self.columns,
                dense,
                self.offsets,
                mode="sum",
                per_sample_weights=self.values,
                include_last_offset=True,
            )
        else:
            product = self._operand @ dense
        return product

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

    def select(self, rows: Tensor) -> "Csr":
        """The given rows (int64 [r], any order) as a matrix of r rows."""
        if rows.device.type == "cpu":
            return Csr.from_scipy(self.scipy[rows.numpy()], self.backend)
        starts = self.offsets[rows].long()
        lengths = self.offsets[rows + 1].long() - starts
        ends = lengths.cumsum(0)
        shift = torch.repeat_interleave(starts - ends + lengths, lengths)
        positions = torch.arange(len(shift), device=rows.device) + shift
        return Csr.of_runs(
            lengths, self.columns[positions], self.values[positions], self.shape[1], self.backend
        )

    def slice(self, first: int, last: int) -> "Csr":
        """The rows from `first` up to `last`, sharing their memory."""
        low, high = int(self.offsets[first]), int(self.offsets[last])
        return Csr(
            self.offsets[first : last + 1] - low,
            self.columns[low:high],
            self.values[low:high],
            (last - first, self.shape[1]),
            self.backend,
        )

    def transposed(self) -> "Csr":
        """The transpose; entries of a row keep the order of the rows that they came from."""
        if self.values.device.type == "cpu":
            return Csr.from_scipy(self.scipy.T.tocsr(), self.backend)
        lengths = torch.diff(self.offsets).long()
        rows = torch.repeat_interleave(
            torch.arange(self.shape[0], dtype=torch.int32, device=self.columns.device), lengths
        )
        order = torch.argsort(self.columns, stable=True)
        counts = torch.bincount(self.columns, minlength=self.shape[1])
        return Csr.of_runs(counts, rows[order], self.values[order], self.shape[0], self.backend)

    @cached_property
    def scipy(self) -> Any:
        """The same memory as a SciPy matrix, whose row selection and transpose are linear."""
        from scipy import sparse

        arrays = (self.values.numpy(), self.columns.numpy(), self.offsets.numpy())
        return sparse.csr_array(arrays, shape=self.shape)

    @classmethod
    def from_scipy(cls, matrix: Any, backend: SparseBackend = "csr") -> "Csr":
        """A `scipy.sparse.csr_array`, on the CPU."""
        return cls(
            torch.from_numpy(matrix.indptr).int(),
            torch.from_numpy(matrix.indices).int(),
            torch.from_numpy(matrix.data),
            matrix.shape,
            backend,
        )


@dataclass(frozen=True)
class SparseGraph:
    """A constant sparse matrix that gradients flow through.

    Attributes:
        forward: The matrix.
        transpose: Its transpose, if it is there already; a symmetric matrix is its own.
    """

    forward: Csr
    transpose: Csr | None = None

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
        matrix = Csr.of(edges, resolve_backend(backend))
        return cls(matrix, matrix if symmetric else None)

    @cached_property
    def backward(self) -> Csr:
        """The transpose; made when the first gradient asks for it, and kept."""
        return self.forward.transposed() if self.transpose is None else self.transpose

    def to(self, device: torch.device | str) -> "SparseGraph":
        """The same graph on another device."""
        forward, transpose = self.forward.to(device), self.transpose
        if transpose is self.forward:
            return SparseGraph(forward, forward)
        return SparseGraph(forward, None if transpose is None else transpose.to(device))

    def transposed(self) -> "SparseGraph":
        """The transposed graph."""
        return SparseGraph(self.backward, self.forward)

    def select(self, rows: Tensor | None) -> "SparseGraph":
        """The graph of the given rows (int64 [r], any order; None: itself)."""
        return self if rows is None else SparseGraph(self.forward.select(rows))

    def with_dropped_edges(self, share: float, generator: torch.Generator) -> "SparseGraph":
        """The graph without a random share of its edges, the others scaled up by 1 ÷ (1 - share).

        Args:
            share: At least 0 and below 1.
            generator: Of the CPU; one number for each edge is drawn from it.
        """
        factors = edge_dropout_factors(len(self), share, generator)
        return SparseGraph(self.forward.with_factors(factors))

    @property
    def shape(self) -> tuple[int, int]:
        """(number of rows, number of columns)."""
        return self.forward.shape

    def __len__(self) -> int:
        return len(self.forward.values)


def check_size(n_edges: int, shape: tuple[int, int]) -> None:
    """Refuses what int32 indices cannot count.

    Raises:
        ConfigError: If there are too many edges or nodes.
    """
    if max(n_edges, *shape) > INT32_MAX:
        raise ConfigError(
            f"a graph of {shape[0]} × {shape[1]} with {n_edges} edges",
            expected=f"at most {INT32_MAX} edges and nodes (int32 indices)",
            fix="filter the interactions (data.filters.k_core) or the knowledge graph",
        )


def resolve_backend(backend: SparseBackend) -> SparseBackend:
    """Settles "auto" (CSR, many times faster on a CPU) and checks that the backend is there.

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


def spmm(graph: SparseGraph | ReferenceGraph, dense: Tensor, rows: Tensor | None = None) -> Tensor:
    """Product of a constant sparse matrix and a dense one, differentiable in the dense one.

    Args:
        graph: Matrix [n, m]; a `ReferenceGraph` is differentiable in its values, too.
        dense: float32 [m, d].
        rows: int64 [r]: the rows of the product that are wanted, `spmm(graph, dense)[rows]`. On a
            CPU only they are computed, forward and backward. On a GPU, where the whole product
            takes less time than the host needs to size a selection, they are taken from it.

    Returns:
        float32 [n, d], or [r, d] with `rows`.
    """
    if isinstance(graph, ReferenceGraph):
        product = graph @ dense
        return product if rows is None else product.index_select(0, rows)
    if rows is not None and not computes_single_rows(rows):
        return spmm(graph, dense).index_select(0, rows)
    # torch declares Function.apply without types
    result: Tensor = _Product.apply(dense, graph.select(rows))  # type: ignore[no-untyped-call]
    return result


def computes_single_rows(rows: Tensor) -> bool:
    """Whether a product computes the wanted rows alone, see `spmm`."""
    return rows.device.type == "cpu"


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dense: Tensor, graph: SparseGraph) -> Tensor:
        ctx.graph = graph
        return graph.forward @ dense

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.graph.backward @ gradients[0], None


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
