"""What a data set hands to a model: graphs and frozen features."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from slifmr_pl.data.catalogue import Catalogue
from slifmr_pl.graphs.heterogeneous import HeterogeneousGraph


class ItemFeatures(NamedTuple):
    """One modality's frozen features.

    Attributes:
        values: float32 [I, d_m], finite everywhere; rows that are not present are not used.
        present: bool [I].
    """

    values: Tensor
    present: Tensor

    @classmethod
    def absent(cls, present: Tensor, size: int) -> "ItemFeatures":
        """Zeros in the place of features that are not at hand; they take no memory."""
        return cls(torch.zeros(1, 1).expand(len(present), size), present)


@dataclass(frozen=True)
class ModelInputs:
    """Graphs and features of one data set.

    Attributes:
        graph: The data set's graphs.
        features: Frozen features by modality.
        fingerprint: Content hash of the data that the graphs were made from.
        vocabulary: Hash of the raw ids and their rows alone, which the fingerprint covers too.
        catalogue: The raw ids; None for graphs that were made without any.
        cache: Folder that keeps what takes long to compute of them; None keeps nothing.
        features_are_absent: Whether zeros stand for the features: a checkpoint holds their sizes
            alone.
    """

    graph: HeterogeneousGraph
    features: Mapping[str, ItemFeatures]
    fingerprint: str
    vocabulary: str
    catalogue: Catalogue | None = None
    cache: Path | None = None
    features_are_absent: bool = False
