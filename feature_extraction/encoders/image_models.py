"""The kind ``image``: any vision model that transformers loads, at its end or at chosen layers.

Shapes: b images, N class tokens and patches, d channels, H x W places.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from feature_extraction.encoders.hidden_layers import HiddenLayers, checked_layers
from feature_extraction.encoders.image_encoders import ImageEncoder, pooled_places
from feature_extraction.encoders.model_files import ModelFiles
from feature_extraction.encoders.pretrained import (
    pooler_output,
    require_repeatable,
    require_weights_of_pooler,
)

if TYPE_CHECKING:
    from torch import Tensor

# Parameters of models that put tokens before those of the patches, and how many.
_CLASS_TOKENS = ("cls_token", "class_embedding")
_OTHER_TOKENS = ("distillation_token", "register_tokens")


class ImageModel(ImageEncoder):
    """A vision model: ViT, DINOv2, DINOv3, Swin, ConvNeXt, ResNet, EfficientNet, MobileNet, ...

    Args:
        pooling: ``pooler``: the model's own pooled output; ``cls``: the class token; ``mean`` or
            ``max`` of the patches or places. None: of the whole model its pooler, or else as of
            chosen layers: the class token where there is one, or else the mean.
        layers: Layers to pool in place of the end of the model, see ``Layer``; the vectors of
            several are put one behind the other.

    Raises:
        FeatureError: The options contradict each other.
    """

    kind = "image"
    expected = "a vision model (of a model of images and texts: the kind clip)"
    unused_weights = ("pooler.",)

    def __init__(
        self,
        pooling: Literal["pooler", "cls", "mean", "max"] | None = None,
        layers: int | str | list[int | str] | None = None,
    ) -> None:
        self._layers = checked_layers(layers, pooling)
        self.pooling = pooling or "auto"

    def fits(self, config: Any) -> bool:
        """Models of pictures alone."""
        of_pictures = hasattr(config, "num_channels") or hasattr(config, "image_size")
        return of_pictures and not hasattr(config, "text_config")

    def load(self, files: ModelFiles) -> None:
        """Load the model, and choose its pooling where none is asked for.

        Raises:
            FeatureError: See ``ImageEncoder.load``; or the model has not what is asked for.
        """
        super().load(files)
        if self.pooling == "pooler":
            require_weights_of_pooler(self)
        if self.pooling == "auto":  # all layers are vectors by themselves
            self.pooling = "model"
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        require_repeatable(self, self.collate([self.transform()(Image.fromarray(noise))]))

    def part(self, model: Any) -> Any:
        """All of the model; here is seen which tokens it has."""
        tokens = {name.rpartition(".")[2]: value for name, value in model.named_parameters()}
        self._has_class = any(name in tokens for name in _CLASS_TOKENS)
        others = [tokens[name].shape[1] for name in _OTHER_TOKENS if name in tokens]
        self._before_patches = self._has_class + sum(others)
        self._hidden = HiddenLayers(model, self._layers)
        return model

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Also the columns of each chosen layer."""
        return super().preprocessing | self._hidden.preprocessing

    def encode(self, inputs: "Mapping[str, Tensor]") -> "Tensor":
        """Pool the end of the model, or each chosen layer."""
        if self._layers:
            return self._hidden(inputs, self._pooled)
        output = self.model(**inputs)
        has_pooler = getattr(output, "pooler_output", None) is not None
        if self.pooling == "auto" and has_pooler and not self.missing_weights:
            self.pooling = "pooler"
        if self.pooling == "pooler":
            return pooler_output(self, output).flatten(1)
        return self._pooled(output.last_hidden_state)

    def _pooled(self, hidden: "Tensor") -> "Tensor":
        """``[b, N, d]``, ``[b, d, H, W]`` or ``[b, d]`` to ``[b, d]`` in float32."""
        if self.pooling == "auto" and hidden.ndim != 2:
            self.pooling = "cls" if self._has_class and hidden.ndim == 3 else "mean"
        return pooled_places(
            hidden,
            self.pooling,
            self.files.name,
            has_class=self._has_class,
            before=self._before_patches,
        )
