"""Values on which the processes of a run agree."""

import pytorch_lightning as pl
import torch


def largest(trainer: pl.Trainer, value: float) -> float:
    """The largest value of all processes, which call this together and wait for each other."""
    if trainer.world_size == 1:
        return value
    own = torch.tensor(value, dtype=torch.float64, device=trainer.strategy.root_device)
    return float(trainer.strategy.reduce(own, reduce_op="max"))
