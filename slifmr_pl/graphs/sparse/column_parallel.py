"""Columns of the embedding tables, shared out over processes.

A product with a constant graph computes each column of the result from the same column of the
table. So a process can propagate the columns that it holds without the others. What processes
exchange is small: sums over all columns, such as scores, and the views of a batch where a function
needs whole rows.

A tensor is one of two kinds. *Parts* [..., d/N] hold this process's columns. Everything else is
*common*: every process computes the same values. Every process computes the whole loss, so the
gradient of a common tensor has to be complete, and that of parts has to be complete for this
process's columns. Three methods of `EmbeddingColumns` see to that: `sum_of`, `gathered` and
`with_summed_gradients`. N = processes, d = embedding size.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from slifmr_pl.errors import ConfigError


@dataclass(frozen=True)
class EmbeddingColumns:
    """The columns of the embedding tables that this process holds; by default all.

    Attributes:
        rank: This process.
        count: Number N of processes.
    """

    rank: int = 0
    count: int = 1

    def width(self, dim: int) -> int:
        """d/N.

        Raises:
            ConfigError: If d columns cannot be shared out evenly.
        """
        if dim % self.count:
            raise ConfigError(
                f"{dim} embedding columns for {self.count} processes",
                expected="as many columns for each process",
                fix=f"set model.network.embedding_dim to a multiple of {self.count}, "
                "or use another number of processes",
            )
        return dim // self.count

    def own(self, whole: Tensor) -> Tensor:
        """This process's columns [..., d/N] of a table [..., d], copied."""
        width = self.width(whole.shape[-1])
        return whole[..., self.rank * width : (self.rank + 1) * width].clone()

    def sum_of(self, parts: Tensor) -> Tensor:
        """Sum over all processes of what each has summed over its own columns; common.

        Its gradient reaches the parts as it is: each process has the whole of it.
        """
        return _apply(_Sum, parts, self)

    def gathered(self, parts: Tensor) -> Tensor:
        """Whole rows [..., d] from parts [..., d/N]; common.

        Of its gradient, each process keeps what belongs to its columns.
        """
        return _apply(_Gather, parts, self)

    def with_summed_gradients(self, common: Tensor) -> Tensor:
        """A common tensor that enters a function of parts.

        What comes back to it is the gradient by this process's columns alone, so the gradients of
        all processes are summed.
        """
        return _apply(_SumGradients, common, self)


def unit_rows(parts: Tensor, columns: EmbeddingColumns) -> Tensor:
    """Rows divided by their Euclidean length over all columns; rows of zeros stay.

    Args:
        parts: float [r, d/N].
        columns: Which columns these are.
    """
    lengths = torch.linalg.vector_norm(parts, dim=1, keepdim=True)
    if columns.count > 1:
        lengths = torch.linalg.vector_norm(columns.gathered(lengths), dim=1, keepdim=True)
    return parts / columns.with_summed_gradients(lengths.clamp_min(1e-12))


def _apply(
    function: type[torch.autograd.Function], tensor: Tensor, columns: EmbeddingColumns
) -> Tensor:
    if columns.count == 1:
        return tensor
    result: Tensor = function.apply(tensor, columns)
    return result


def _total(tensor: Tensor) -> Tensor:
    total = tensor.clone(memory_format=torch.contiguous_format)
    torch.distributed.all_reduce(total)
    return total


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, parts: Tensor, columns: EmbeddingColumns) -> Tensor:
        return _total(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


class _SumGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, common: Tensor, columns: EmbeddingColumns) -> Tensor:
        return common.view_as(common)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _total(gradients[0]), None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, parts: Tensor, columns: EmbeddingColumns) -> Tensor:
        ctx.columns = columns
        parts = parts.contiguous()
        every = [torch.empty_like(parts) for _ in range(columns.count)]
        torch.distributed.all_gather(every, parts)
        return torch.cat(every, dim=-1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.columns.own(gradients[0]), None
