"""Dense reference formulas, written from the equations, and random graphs to hold them against."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from slifmr_pl.graphs.interaction import InteractionGraph
from slifmr_pl.graphs.sparse.edges import Edges


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def dense(edges: Edges) -> Tensor:
    """The matrix of the edges; a repeated edge would count twice."""
    matrix = torch.zeros(edges.shape, dtype=edges.values.dtype)
    return matrix.index_put_((edges.rows, edges.columns), edges.values, accumulate=True)


def edges_of(matrix: Tensor) -> Edges:
    rows, columns = matrix.nonzero(as_tuple=True)
    return Edges(rows, columns, matrix[rows, columns], (matrix.shape[0], matrix.shape[1]))


def normalised(matrix: Tensor) -> Tensor:
    """D^-1/2 A D^-1/2 in float64; nodes without edges keep zero rows."""
    matrix = matrix.double()
    degrees = matrix.sum(1)
    scale = torch.where(degrees > 0, degrees, torch.inf) ** -0.5
    return torch.diag(scale) @ matrix @ torch.diag(scale)


def sparse_matrix(
    rows: int, columns: int, seed: int, *, density: float = 0.3, symmetric: bool = False
) -> Tensor:
    """A random matrix with about `density` positive entries."""
    rng = generator(seed)
    matrix = torch.rand(rows, columns, generator=rng, dtype=torch.float64) + 0.1
    matrix[torch.rand(rows, columns, generator=rng) > density] = 0.0
    return torch.maximum(matrix, matrix.T) if symmetric else matrix


def correlation_of(n_items: int, seed: int) -> Edges:
    """A normalised symmetric item graph, as the self-loop would give one."""
    matrix = sparse_matrix(n_items, n_items, seed, density=0.4, symmetric=True)
    matrix.fill_diagonal_(0.0)
    return edges_of(normalised(matrix).float())


def interaction_matrix(
    users: Tensor, items: Tensor, n_users: int, n_items: int, corner: Tensor | None = None
) -> Tensor:
    """norm([[0, Y], [Y^T, corner]])."""
    y = torch.zeros(n_users, n_items, dtype=torch.float64)
    y[users, items] = 1.0
    corner = torch.zeros(n_items, n_items) if corner is None else corner
    return normalised(
        torch.cat([torch.cat([torch.zeros(n_users, n_users), y], 1), torch.cat([y.T, corner], 1)])
    )


def dense_blocks(graph: InteractionGraph) -> Tensor:
    """The blocks of an interaction graph as one dense matrix."""
    blocks = (graph.user_items, graph.item_users, graph.item_items)
    for block in blocks:
        assert block is None or block.forward.offsets.dtype == torch.int32
        assert block is None or block.forward.columns.dtype == torch.int32
    y, y_transposed, corner = (
        None if block is None else torch.from_numpy(block.forward.scipy.toarray())
        for block in blocks
    )
    assert y is not None
    assert y_transposed is not None
    n_users, n_items = y.shape
    corner = torch.zeros(n_items, n_items) if corner is None else corner
    nothing = torch.zeros(n_users, n_users)
    return torch.cat([torch.cat([nothing, y], 1), torch.cat([y_transposed, corner], 1)])


def topk_columns(scores: Tensor, k: int) -> list[list[int]]:
    """The k best columns of every row by plain sorting: highest first, then lowest column."""
    return [
        sorted(range(len(row)), key=lambda column, row=row: (-row[column], column))[:k]
        for row in scores.tolist()
    ]


def gradients(
    function: Callable[..., Tensor], *inputs: Tensor, seed: int = 0
) -> tuple[Tensor, ...]:
    """Gradients of a random linear functional of the result, so that no entry is alike."""
    inputs = tuple(x.detach().clone().requires_grad_() for x in inputs)
    result = function(*inputs)
    weights = torch.randn(result.shape, generator=generator(seed), dtype=torch.float64)
    return torch.autograd.grad((result * weights.to(result.dtype)).sum(), inputs)


close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-6)
