"""Products in ordinary autograd: plain, slower, and differentiable in the values of the edges.

Beside each product with a hand-written backward stands one of these. Tests hold the two equal, and
training takes these where something learns the weights of edges. Memory grows with edges × d.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from slifmr_pl.graphs.sparse.edges import Edges


@dataclass(frozen=True)
class ReferenceGraph:
    """A sparse matrix whose values may carry gradients.

    Attributes:
        edges: The matrix, [n, m].
    """

    edges: Edges

    @property
    def shape(self) -> tuple[int, int]:
        """(number of rows, number of columns)."""
        return self.edges.shape

    def __len__(self) -> int:
        return len(self.edges)

    def __matmul__(self, dense: Tensor) -> Tensor:
        """Product with float32 [m, d], differentiable in both."""
        return weighted_sums(
            self.edges.rows, self.edges.columns, self.edges.values, dense, self.shape[0]
        )

    def with_dropped_edges(self, share: float, generator: torch.Generator) -> "ReferenceGraph":
        """See `SparseGraph.with_dropped_edges`."""
        factors = edge_dropout_factors(len(self), share, generator).to(self.edges.values)
        return ReferenceGraph(self.edges.with_values(self.edges.values * factors))


def weighted_sums(
    rows: Tensor, columns: Tensor, values: Tensor, dense: Tensor, n_rows: int
) -> Tensor:
    """Σ over the edges of each row of value · dense[column], float32 [n_rows, d].

    Args:
        rows: int64 [e], row of each edge.
        columns: int64 [e].
        values: float32 [e].
        dense: float32 [m, d].
        n_rows: Number of rows.
    """
    messages = values.unsqueeze(1) * dense.index_select(0, columns)
    return dense.new_zeros(n_rows, dense.shape[1]).index_add(0, rows, messages)


def edge_dropout_factors(n: int, share: float, generator: torch.Generator) -> Tensor:
    """What edge dropout multiplies values with: 0 for a random share, 1 ÷ (1 - share) otherwise.

    Args:
        n: Number of edges.
        share: At least 0 and below 1.
        generator: Of the CPU; n numbers are drawn from it.

    Returns:
        float32 [n] on the CPU.
    """
    kept = torch.rand(n, generator=generator) >= share
    return kept.float() / (1.0 - share)
