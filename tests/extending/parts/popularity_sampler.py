"""Negatives by popularity."""

import numpy as np
import torch
from torch import Tensor

from slifmr_pl import NegativeSampler

TRIES = 8


class PopularitySampler(NegativeSampler):
    """Popular items are drawn more often: by their number of users to a power."""

    def __init__(self, power: float = 0.75) -> None:
        self.power = power

    def build(self) -> None:
        counts = np.bincount(self.positives.items, minlength=self.n_items)
        self._weights = torch.from_numpy((counts + 1.0) ** self.power)

    def sample(
        self, users: Tensor, positives: Tensor, n: int, generator: torch.Generator
    ) -> Tensor:
        items = self._draw(len(users), n, generator)
        for _ in range(TRIES):
            again = self._draw(len(users), n, generator)
            items = torch.where(self.is_positive(users, items), again, items)
        return items

    def _draw(self, rows: int, n: int, generator: torch.Generator) -> Tensor:
        drawn = torch.multinomial(self._weights, rows * n, replacement=True, generator=generator)
        return drawn.view(rows, n)
