"""The optimizer of training."""

from collections.abc import Iterable
from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import MixedPrecision


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam (Kingma & Ba 2015).

    Attributes:
        learning_rate: Step size.
        fused: Use torch's fused implementation: the same update, several times faster.
    """

    learning_rate: float = 5e-3
    fused: bool = True


def adam(
    config: OptimizerConfig, parameters: Iterable[torch.nn.Parameter], trainer: pl.Trainer | None
) -> torch.optim.Optimizer:
    """Adam over all parameters, fused where the trainer can do with it."""
    # Lightning clips no gradients of a fused optimizer in mixed precision.
    clipped = trainer is not None and bool(trainer.gradient_clip_val)
    mixed = trainer is not None and isinstance(trainer.precision_plugin, MixedPrecision)
    fused = config.fused and not (clipped and mixed)
    return torch.optim.Adam(parameters, lr=config.learning_rate, fused=fused)
