"""A raw modality without files: a series of numbers in a column, or a number in each of several."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from feature_extraction import Encoder, InputError, ModelFiles, RawModality


class Series(RawModality):
    name = "series"
    expects = "a list of numbers, or numbers"

    def from_columns(self, cells: Mapping[str, Any]) -> tuple[Any, ...]:
        values = list(cells.values())
        return super().from_columns(cells) if len(values) == 1 else (values,)

    def decode(self, raw: Any) -> npt.NDArray[np.float32]:
        try:
            series = np.asarray(raw, np.float32)
        except (TypeError, ValueError) as error:
            raise InputError("not numbers") from error
        if series.ndim != 1 or not 0 < len(series) <= 1000:
            raise InputError(f"an array of shape {series.shape}")
        return series


class Quantiles(Encoder):
    reads = Series()
    needs = ()
    dim = 3

    def load(self, files: ModelFiles) -> None:
        pass

    @staticmethod
    def collate(inputs: Any) -> dict[str, Any]:
        """Series of any length, padded."""
        longest = max(len(one["values"]) for one in inputs)
        padded = np.full((len(inputs), longest), np.nan, np.float32)
        for row, one in enumerate(inputs):
            padded[row, : len(one["values"])] = one["values"]
        return {"values": padded}

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        levels = inputs["values"].new_tensor([0.0, 0.5, 1.0])
        return inputs["values"].nanquantile(levels, dim=1).T
