"""The kind ``timm``: image models of timm, such as ResNet and VGG as published features have them.

Shapes: b images, N tokens, d channels, H x W places.
"""

import json
import math
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from feature_extraction.encoders.hidden_layers import HiddenLayers, checked_layers
from feature_extraction.encoders.image_encoders import ImageEncoder, pooled_places
from feature_extraction.encoders.model_files import ModelFiles, damaged
from feature_extraction.errors import FeatureError
from feature_extraction.extras import extra_library

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


class TimmModel(ImageEncoder):
    """A model of timm, in the form of its hub: ``config.json`` and ``model.safetensors``.

    Args:
        pooling: ``pooler``: what enters the classifier, which is 4,096 columns of VGG and 2,048 of
            ResNet-50; ``cls``, ``mean`` or ``max`` of the tokens or places before that. None: the
            pooler, and of chosen layers the mean.
        layers: Names of modules to pool in place of the end of the model; the vectors of several
            are put one behind the other.

    Raises:
        FeatureError: The options contradict each other.
    """

    kind = "timm"
    needs = ("config.json", "model.safetensors")

    def __init__(
        self,
        pooling: Literal["pooler", "cls", "mean", "max"] | None = None,
        layers: str | list[str] | None = None,
    ) -> None:
        self._layers = checked_layers(layers, pooling)
        self.pooling = pooling or ("mean" if self._layers else "pooler")

    def load(self, files: ModelFiles) -> None:
        """Load the model and its preprocessing.

        Raises:
            FeatureError: timm is not there, or the files are not of a model that it knows.
        """
        timm = extra_library("timm", "timm", "the kind timm")
        from safetensors.torch import load_file

        from feature_extraction.encoders.loading import quiet_weights

        self.files, self.missing_weights = files, []
        config_file, weights = files.path("config.json"), files.path("model.safetensors")
        try:
            config = json.loads(config_file.read_bytes())
            with quiet_weights():
                model = timm.create_model(
                    config["architecture"],
                    pretrained=False,
                    num_classes=int(config.get("num_classes", 0)),
                    **config.get("model_args", {}),
                )
                model.load_state_dict(load_file(weights))
        except Exception as error:  # foreign model files fail in many ways
            raise damaged(str(config_file.parent), error) from error
        self.model = model.eval().to(self.device, self.dtype)
        self._hidden = HiddenLayers(self.model, self._layers)
        self.processor = _processor(config.get("pretrained_cfg", config), files.name)
        self.dim = self._encode_blank_images()

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Also the columns of each chosen layer."""
        return super().preprocessing | self._hidden.preprocessing

    def encode(self, inputs: "Mapping[str, Tensor]") -> "Tensor":
        """Pool the end of the model, or each chosen layer."""
        pixels = inputs["pixel_values"]
        if self._layers:
            return self._hidden({"x": pixels}, self._pooled)
        features = self.model.forward_features(pixels)
        if self.pooling == "pooler":
            whole: Tensor = self.model.forward_head(features, pre_logits=True)
            return whole.flatten(1)
        return self._pooled(features)

    def _pooled(self, hidden: "Tensor") -> "Tensor":
        """``[b, N, d]``, ``[b, d, H, W]`` or ``[b, d]`` to ``[b, d]`` in float32."""
        first = int(getattr(self.model, "num_prefix_tokens", 0))
        return pooled_places(
            hidden, self.pooling, self.files.name, has_class=first > 0, before=first
        )


def _processor(settings: dict[str, Any], name: str) -> Any:
    """An image processor that does what the settings of a timm model say."""
    from transformers import CLIPImageProcessorPil

    _, height, width = settings.get("input_size", (3, 224, 224))
    mode, share = settings.get("crop_mode", "center"), float(settings.get("crop_pct") or 0.875)
    filters = {one.name.lower(): one for one in Image.Resampling}
    interpolation = settings.get("interpolation", "bilinear")
    if mode not in ("center", "squash") or height != width or interpolation not in filters:
        raise FeatureError(
            f"{name} is prepared by crop_mode {mode!r}, {height} x {width}, {interpolation!r}",
            expected="squares, crop_mode center or squash, and a filter of Pillow",
            fix="mend pretrained_cfg in config.json, or take another model",
        )
    side = math.floor(height / share)
    size = {"shortest_edge": side} if mode == "center" else {"height": side, "width": side}
    return CLIPImageProcessorPil(
        size=size,
        crop_size={"height": height, "width": width},
        resample=filters[interpolation],
        image_mean=list(settings.get("mean", (0.485, 0.456, 0.406))),
        image_std=list(settings.get("std", (0.229, 0.224, 0.225))),
        do_convert_rgb=False,
    )
