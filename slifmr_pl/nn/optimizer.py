"""The optimizer of training."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from slifmr_pl.config.bounds import is_number, require


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam (Kingma & Ba 2015).

    Attributes:
        learning_rate: Step size.
        fused: Use torch's fused implementation: the same update, several times faster.
    """

    learning_rate: float = 5e-3
    fused: bool = True

    def __post_init__(self) -> None:
        rate = self.learning_rate
        holds = is_number(rate, above=0)
        require("model.optimizer", ("learning_rate", rate, holds, "a number above 0"))


def adam(
    config: OptimizerConfig, parameters: Iterable[torch.nn.Parameter], *, may_fuse: bool = True
) -> torch.optim.Optimizer:
    """Adam over all parameters.

    Args:
        config: Its settings.
        parameters: What is trained.
        may_fuse: False where something cannot do with torch's fused implementation.
    """
    fused = config.fused and may_fuse
    return torch.optim.Adam(parameters, lr=config.learning_rate, fused=fused)
