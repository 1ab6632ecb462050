"""Weighted edges as sorted arrays, and the normalisations of the method.

Everything here is concatenation, one sort and segment reductions: O(nnz log nnz), on the device of
its inputs, and deterministic. Shapes: n = nodes, nnz = edges.
"""

from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Edges:
    """A sparse matrix as coordinate arrays, sorted by (row, column), without repeats.

    Attributes:
        rows: int64 [nnz].
        columns: int64 [nnz].
        values: float32 [nnz].
        shape: (number of rows, number of columns).
    """

    rows: Tensor
    columns: Tensor
    values: Tensor
    shape: tuple[int, int]

    @classmethod
    def build(
        cls,
        rows: Tensor,
        columns: Tensor,
        values: Tensor,
        shape: tuple[int, int],
        *,
        repeats: Literal["sum", "max"] = "sum",
    ) -> Self:
        """Sorts edges given in any order and merges repeated ones by sum or maximum."""
        keys = rows * shape[1] + columns
        order = torch.argsort(keys, stable=True)
        unique, counts = torch.unique_consecutive(keys[order], return_counts=True)
        merged = values[order]
        if len(unique) < len(keys):
            merged = torch.segment_reduce(merged, repeats, lengths=counts)
        return cls(unique // shape[1], unique % shape[1], merged, shape)

    @classmethod
    def empty(cls, shape: tuple[int, int], device: torch.device | None = None) -> Self:
        """A matrix without edges."""
        index = torch.empty(0, dtype=torch.int64, device=device)
        return cls(index, index, torch.empty(0, dtype=torch.float32, device=device), shape)

    def __len__(self) -> int:
        return len(self.values)

    def to(self, device: torch.device | str) -> "Edges":
        """The same edges on another device."""
        return Edges(
            self.rows.to(device), self.columns.to(device), self.values.to(device), self.shape
        )

    def scaled(self, factor: float) -> "Edges":
        """The matrix times a number."""
        return self.with_values(self.values * factor)

    def with_values(self, values: Tensor) -> "Edges":
        """The same edges with other values, float32 [nnz]; these may carry gradients."""
        return Edges(self.rows, self.columns, values, self.shape)

    def detached(self) -> "Edges":
        """The same edges without gradients."""
        return self.with_values(self.values.detach())

    def row_lengths(self) -> Tensor:
        """Edges in each row, int64 [number of rows]."""
        return torch.bincount(self.rows, minlength=self.shape[0])

    def row_sums(self) -> Tensor:
        """Sum of each row, float32 [number of rows]."""
        return torch.segment_reduce(self.values, "sum", lengths=self.row_lengths(), initial=0.0)

    def transposed(self) -> "Edges":
        """The transposed matrix."""
        return Edges.build(self.columns, self.rows, self.values, (self.shape[1], self.shape[0]))


def add(*terms: Edges) -> Edges:
    """Sum of matrices of one shape."""
    return Edges.build(
        torch.cat([term.rows for term in terms]),
        torch.cat([term.columns for term in terms]),
        torch.cat([term.values for term in terms]),
        terms[0].shape,
    )


def symmetrised(edges: Edges) -> Edges:
    """Maximum of a square matrix and its transpose, symmetric to the last bit.

    An edge that only one of the two has keeps its value, also below zero.
    """
    return Edges.build(
        torch.cat([edges.rows, edges.columns]),
        torch.cat([edges.columns, edges.rows]),
        torch.cat([edges.values, edges.values]),
        edges.shape,
        repeats="max",
    )


def symmetrically_normalised(edges: Edges) -> Edges:
    """D^-1/2 A D^-1/2 with D the row sums of A (Kipf & Welling 2017, without self-edges).

    The two scales are multiplied first, so that a symmetric A stays symmetric to the last bit.
    """
    scale = edges.row_sums().clamp_min(1e-12).rsqrt()
    return Edges(
        edges.rows,
        edges.columns,
        edges.values * (scale[edges.rows] * scale[edges.columns]),
        edges.shape,
    )
