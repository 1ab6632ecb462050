"""An encoder kind of the user's: any convolutional network of transformers, pooled."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from feature_extraction import ImageEncoder


class PooledCnn(ImageEncoder):
    """The mean or the maximum over the places of a layer.

    Args:
        layer: Which one; the last by default.
        pool: What is taken over all places.
    """

    kind = "pooled-cnn"
    expected = "a convolutional network (ResNet, EfficientNet, ConvNeXt)"

    def __init__(self, layer: int = -1, pool: Literal["mean", "max"] = "mean") -> None:
        self.layer = layer
        self.pooling = pool

    def fits(self, config: Any) -> bool:
        return config.model_type in ("resnet", "efficientnet", "convnext")

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        maps = self.model(**inputs, output_hidden_states=True).hidden_states[self.layer]
        return maps.mean((2, 3)) if self.pooling == "mean" else maps.amax((2, 3))
