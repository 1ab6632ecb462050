"""What a metric may know besides the ranked lists."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.model_inputs import ItemFeatures, ModelInputs


@dataclass(frozen=True)
class MetricInputs:
    """Popularity, features and graphs of the data that is evaluated.

    Attributes:
        popularity: int64 ``[I]``, training interactions of each item.
        model_inputs: Graphs, features and raw ids, on the CPU; None where there is no data set.
    """

    popularity: Tensor
    model_inputs: ModelInputs | None = None

    def __post_init__(self) -> None:
        """Refuses a popularity that is no count of each item."""
        counts = self.popularity
        if counts.dtype != torch.int64 or counts.dim() != 1 or len(counts) == 0:
            raise ConfigError(
                f"popularity is {counts.dtype} of shape {tuple(counts.shape)}",
                expected="int64 [items], at least one item",
                fix="count the training interactions of every item, with 0 for items without any",
            )
        if bool((counts < 0).any()) or int(counts.sum()) == 0:
            raise ConfigError(
                "popularity has negative counts or no interaction at all",
                expected="counts of training interactions, at least one of them above 0",
                fix="count the training interactions of every item",
            )

    @classmethod
    def of(cls, inputs: ModelInputs) -> Self:
        """What metrics may know of a data set."""
        return cls(inputs.graph.support, inputs)

    @property
    def n_items(self) -> int:
        """I, size of the catalogue."""
        return len(self.popularity)

    @property
    def device(self) -> torch.device:
        """Where popularity and features are, and the lists will be."""
        return self.popularity.device

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        return replace(self, popularity=self.popularity.to(device))

    def features(self, modality: str) -> ItemFeatures:
        """Frozen features of the items: float32 ``[I, d]``, and which items have any, bool ``[I]``.

        Raises:
            ConfigError: If the data has no such modality.
        """
        features = {} if self.model_inputs is None else self.model_inputs.features
        if modality not in features:
            raise ConfigError(
                f"a metric needs the modality {modality}",
                expected=f"one of {', '.join(features)}" if features else "data with modalities",
                fix="name one of data.modalities in the metric's init_args, or add it to the data",
            )
        return ItemFeatures(*(part.to(self.device) for part in features[modality]))
