"""Alignment of two views of the same items.

Shapes: n items, d embedding size.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from slifmr_pl.errors import ConfigError
from slifmr_pl.losses.ranking_losses import check_temperature

# Below it, exp(-2 / τ) leaves the range of float32.
_LOWEST_IN_RANGE = 0.03
# Shorter vectors have no direction worth a gradient, which would grow with 1 / length.
_SHORTEST = 1e-8


@dataclass(frozen=True)
class ProcessShare:
    """Which part of a loss this process computes, where several compute one loss together.

    All processes get the value of the whole loss. Its gradients are those of this process's part:
    their sum over processes, with `weight` 1, is the gradient of the whole.

    Attributes:
        rank: This process.
        count: Number of processes.
        weight: Factor of the gradients; `count` where they are averaged, not summed.
    """

    rank: int = 0
    count: int = 1
    weight: float = 1.0

    def anchors(self, n: int) -> slice:
        """This process's part of n items."""
        return slice(self.rank * n // self.count, (self.rank + 1) * n // self.count)


def info_nce(
    a: Tensor,
    b: Tensor,
    temperature: float,
    mask: Tensor | None = None,
    share: ProcessShare = ProcessShare(),
) -> Tensor:
    """Symmetric InfoNCE with cosine similarity and in-batch negatives.

    Half of the cross-entropy of finding ``b_i`` among all ``b`` given ``a_i``, plus half of the
    other direction: van den Oord et al., 2018, arXiv 1807.03748, eq. 4, in the symmetric form of
    Radford et al., 2021, arXiv 2103.00020, figure 3. Similarities are computed in at least
    float32, also under autocast.

    Args:
        a: float ``[n, d]``, one view of n different items.
        b: float ``[n, d]``, another view of the same items in the same order.
        temperature: τ > 0, divides the similarities.
        mask: bool ``[n]``; only items where it is True take part, as anchors and as negatives.
            All others may hold anything, also NaN.
        share: This process's part, where all processes call this with the same views.

    Returns:
        Scalar. With fewer than two items there is nothing to tell apart: zero, with zero gradients.

    Raises:
        ConfigError: If the shapes do not fit together or the temperature is not above zero.
    """
    check_temperature(temperature)
    _check_views(a, b, mask)
    if mask is not None:
        a, b = a[mask], b[mask]
    if a.shape[0] < 2:
        return (a.sum() + b.sum()) * 0.0
    with torch.autocast(a.device.type, enabled=False):
        a, b = _unit_rows(a), _unit_rows(b)
        if temperature >= _LOWEST_IN_RANGE:
            # torch declares Function.apply without types
            loss: Tensor = _SymmetricInfoNce.apply(  # type: ignore[no-untyped-call]
                a[share.anchors(len(a))], b, temperature, share
            )
            return loss
        logits = a @ b.T / temperature
        same = torch.arange(logits.shape[0], device=logits.device)
        whole = (cross_entropy(logits, same) + cross_entropy(logits.T, same)) / 2
        part = whole * (share.weight / share.count)  # every process computes all of it
        return part if share.count == 1 else part + (whole - part).detach()


class _SymmetricInfoNce(torch.autograd.Function):
    """Both directions from one exponential of the similarities, forward and backward.

    Cosines are at most 1, so that exp((cosine - 1) / τ) needs no maximum taken out first. A process
    that has some of the anchors a has some rows of the similarities with all b. What it needs of
    the others are their sums of each column.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, temperature: float, share: ProcessShare) -> Tensor:
        similarities = a @ b.T
        offset = share.anchors(len(b)).start
        matches = (similarities.diagonal(offset) - 1) / temperature
        own = -matches.sum()
        weights = similarities.sub_(1).div_(temperature).exp_()
        to_b, to_a = weights.sum(1), weights.sum(0)
        own += to_b.log().sum() / 2
        if share.count > 1:
            sums = torch.cat([to_a, own.unsqueeze(0)])
            torch.distributed.all_reduce(sums)
            to_a, own = sums[:-1], sums[-1]
        ctx.save_for_backward(a, b, weights, to_b, to_a)
        ctx.temperature, ctx.share, ctx.offset = temperature, share, offset
        return (own + to_a.log().sum() / 2) / len(b)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        a, b, weights, to_b, to_a = ctx.saved_tensors
        with torch.autocast(a.device.type, enabled=False):
            gradient = (0.5 / to_b).unsqueeze(1) + 0.5 / to_a
            gradient *= weights
            gradient.diagonal(ctx.offset).sub_(1)
            gradient *= gradients[0] * ctx.share.weight / (len(b) * ctx.temperature)
            return gradient @ b, gradient.T @ a, None, None


def _unit_rows(rows: Tensor) -> Tensor:
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / torch.where(lengths > _SHORTEST, lengths, 1.0)


def _check_views(a: Tensor, b: Tensor, mask: Tensor | None) -> None:
    if a.dim() != 2 or a.shape != b.shape:
        raise ConfigError(
            f"views of shape {tuple(a.shape)} and {tuple(b.shape)}",
            expected="two views of the same shape [n, d]",
            fix="project both views to one embedding size and select the same items",
        )
    if mask is not None and (mask.dtype != torch.bool or mask.shape != a.shape[:1]):
        raise ConfigError(
            f"the mask is {mask.dtype} of shape {tuple(mask.shape)}",
            expected=f"bool of shape ({a.shape[0]},), one entry for each item",
            fix="select the presence mask with the same items as the views",
        )
