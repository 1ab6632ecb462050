"""Means of named values over an epoch, exact for several processes and for a resumed epoch."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


class EpochMeans:
    """Sums up values of batches, and gives their means over the rows of all batches.

    Summed here and logged once an epoch: logging each batch takes longer than the sums. Where there
    are several processes, all of them call `take` and `state` together.
    """

    def __init__(self) -> None:
        # The names of a batch are mostly those of the batch before: one sum for all of them.
        self._sums: dict[tuple[str, ...], Tensor] = {}

    def add(self, values: Mapping[str, Tensor], weight: float) -> None:
        """Adds the values of a batch; the weights of all processes add up to its rows."""
        rows = torch.stack([value.detach().double() for value in values.values()])
        weighted = torch.cat([rows, rows.new_ones(1)]) * weight
        before = self._sums.get(tuple(values))
        self._sums[tuple(values)] = (
            weighted if before is None else before.to(weighted.device) + weighted
        )

    def take(self) -> dict[str, float]:
        """Means over the rows of all batches that had a value, by name; starts anew."""
        totals: dict[str, tuple[float, float]] = {}
        for entry in self.state():
            *sums, weight = entry["sums"]
            for name, value in zip(entry["names"], sums, strict=True):
                before = totals.get(name, (0.0, 0.0))
                totals[name] = before[0] + value, before[1] + weight
        self._sums = {}
        return {name: value / weight for name, (value, weight) in totals.items() if weight}

    def state(self) -> list[dict[str, Any]]:
        """The sums of all processes in plain types, for the checkpoint of an unfinished epoch."""
        own = {names: sums.tolist() for names, sums in self._sums.items()}
        if torch.distributed.is_initialized():
            gathered: list[Any] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(gathered, own)
        else:
            gathered = [own]
        total: dict[tuple[str, ...], list[float]] = {}
        for part in gathered:
            for names, sums in part.items():
                before = total.get(names, [0.0] * len(sums))
                total[names] = [a + b for a, b in zip(before, sums, strict=True)]
        return [{"names": list(names), "sums": sums} for names, sums in total.items()]

    def load(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Goes on from a checkpoint; in the first process, so that nothing counts twice."""
        first = not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
        self._sums = {
            tuple(entry["names"]): torch.tensor(entry["sums"], dtype=torch.float64)
            for entry in state
            if first
        }
