"""Sparse product forward and backward against torch.sparse COO, CSR autograd and torch-sparse.

The matrix is the normalised user–item adjacency; the result that is checked is the product and
the gradient of the dense operand.
"""

import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks import ours
from benchmarks.baselines import coo_adjacency
from benchmarks.data import load
from benchmarks.harness import Report, UnavailableError, Variant, bandwidth_limit, compare
from benchmarks.settings import Settings
from slifmr_pl.graphs.sparse.spmm import spmm

Product = Callable[[Tensor], Tensor]
Run = Callable[[], tuple[Tensor, Tensor]]


def benchmark(settings: Settings) -> Iterator[Report]:
    data = load(settings)
    adjacency = coo_adjacency(data, settings.device)
    rng = torch.Generator().manual_seed(0)
    shape = (adjacency.shape[0], settings.dim)
    dense, gradient = (torch.randn(shape, generator=rng).to(settings.device) for _ in range(2))

    def both_ways(product: Product) -> Run:
        return forward_and_backward(product, dense, gradient)

    def prepare_ours() -> Run:
        graph = ours.adjacency(data, settings.device)
        return both_ways(lambda x: spmm(graph, x))

    def prepare_blocks() -> Run:
        graph = ours.interaction_graph(data, settings.device)

        def product(table: Tensor) -> Tensor:
            return torch.cat(graph.propagate(*table.split([data.n_users, data.n_items])))

        # The matrix is symmetric: the gradient is the same product.
        return lambda: (product(dense), product(gradient))

    def prepare_csr() -> Run:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            matrix = adjacency.to_sparse_csr()
        return both_ways(lambda x: matrix @ x)

    def prepare_torch_sparse() -> Run:
        try:
            import torch_sparse
        except ImportError as error:
            raise UnavailableError(
                f"{error}; pip install 'slifmr-pl[sparse]' --no-build-isolation"
            ) from error
        rows, columns = adjacency.indices()
        matrix = torch_sparse.SparseTensor(
            row=rows, col=columns, value=adjacency.values(), sparse_sizes=tuple(adjacency.shape)
        )
        return both_ways(lambda x: torch_sparse.matmul(matrix, x))

    edges = adjacency._nnz()
    yield compare(
        f"One sparse product, forward and backward ({data.title}; {edges:,} edges, "
        f"d {settings.dim})",
        [
            Variant("ours", prepare_ours),
            Variant(
                "ours, user and item blocks",
                prepare_blocks,
                kind="ours",
                note="what the interaction view does; with joining the tables",
            ),
            Variant("torch.sparse COO", lambda: both_ways(lambda x: torch.sparse.mm(adjacency, x))),
            Variant("CSR, stock autograd", prepare_csr),
            Variant("torch-sparse", prepare_torch_sparse),
        ],
        settings,
        limits=[
            bandwidth_limit(2 * product_bytes(edges, *shape), settings, "gather + write, no cache"),
            bandwidth_limit(
                2 * 4 * (2 * edges + shape[0] * (2 * settings.dim + 1)),
                settings,
                name="limit: each array once ÷ copy bandwidth",
            ),
        ],
    )


def forward_and_backward(product: Product, dense: Tensor, gradient: Tensor) -> Run:
    """Computes the product and, for the given gradient of it, that of the dense operand."""
    operand = dense.clone().requires_grad_()

    def run() -> tuple[Tensor, Tensor]:
        result = product(operand)
        (backward,) = torch.autograd.grad(result, operand, gradient)
        return result.detach(), backward

    return run


def product_bytes(edges: int, rows: int, dim: int) -> int:
    """Bytes that one product moves without a cache.

    A gathered row, an index and a value an edge; an offset and a written row each row. All of
    these take 4 bytes a number.
    """
    return 4 * (edges * (dim + 2) + rows * (dim + 1))
