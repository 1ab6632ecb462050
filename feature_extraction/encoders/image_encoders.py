"""Image encoders: processed pixels to one vector per image.

Shapes: b images, S image side, P patches, d feature size.
"""

from typing import Any

import torch
from PIL import Image
from torch import Tensor

from feature_extraction.encoders.frozen import FrozenEncoder
from feature_extraction.encoders.identity import EncoderIdentity
from feature_extraction.encoders.loading import load_image_processor
from feature_extraction.encoders.preparation import ImagePreparation, stack
from feature_extraction.encoders.spec import EncoderSpec
from feature_extraction.errors import FeatureError
from feature_extraction.items.images import PIXEL_LIMIT
from feature_extraction.items.pictures import Pictures


class ImageEncoder(FrozenEncoder):
    """An image model with the preprocessing it was trained with; a subclass pools.

    Raises:
        FeatureError: The model cannot be loaded, is of another kind, or its preprocessing gives
            something else than it takes.
    """

    def __init__(self, spec: EncoderSpec, identity: EncoderIdentity, device: torch.device) -> None:
        super().__init__(spec, identity, device)
        self.processor = load_image_processor(spec, identity)
        self.preprocessing = _describe(self.processor)
        self.dim = self._try()

    def preparation(self, pictures: Pictures, batch_size: int) -> ImagePreparation:
        """Return what happens before ``encode``."""
        return ImagePreparation(self.processor, pictures, batch_size)

    def _try(self) -> int:
        """Encode blank images, so that what does not fit is said before the work begins."""
        pixels = [
            self.processor(images=Image.new("RGB", size), return_tensors="pt")
            for size in ((64, 32), (32, 64))
        ]
        found = [{name: values[0] for name, values in one.items()} for one in pixels]
        try:
            return self.encode(stack(found)).shape[1]
        except (RuntimeError, ValueError) as error:
            shapes = [tuple(values.shape) for one in found for values in one.values()]
            raise FeatureError(
                f"the image preprocessing of {self.spec.name} gives {shapes} ({error})",
                expected="arrays of one size, which is the size that its model takes",
                fix="mend size and crop_size in preprocessor_config.json",
            ) from error


class ClipImage(ImageEncoder):
    """The projected image tower of a CLIP model."""

    expected = "a 'clip' model"

    def fits(self, config: Any) -> bool:
        """Only CLIP."""
        return bool(config.model_type == "clip")

    def features(self, **inputs: Tensor) -> Tensor:
        """The projection of the class token."""
        vectors: Tensor = self.model.get_image_features(**inputs).pooler_output
        return vectors


class SiglipImage(ClipImage):
    """The image tower of a SigLIP or SigLIP 2 model, with its attention pooling."""

    expected = "a 'siglip' or 'siglip2' model"

    def fits(self, config: Any) -> bool:
        """SigLIP, and SigLIP 2 of either form."""
        return config.model_type in ("siglip", "siglip2")


class VisionTransformer(ImageEncoder):
    """The last layer of a vision transformer such as ViT or DINOv2."""

    expected = "a vision transformer with a class token (ViT, DINOv2)"
    unused_weights = ("pooler.",)

    def fits(self, config: Any) -> bool:
        """Vision models that cut images into patches."""
        return hasattr(config, "patch_size") and not hasattr(config, "text_config")

    def features(self, **inputs: Tensor) -> Tensor:
        """The class token, or the mean of the patches; registers are left out."""
        hidden: Tensor = self.model(**inputs).last_hidden_state  # [b, 1 + registers + P, d]
        if hidden.ndim != 3:
            raise FeatureError(
                f"{self.spec.name} is a {self.model.config.model_type!r} model",
                expected=self.expected,
                fix="choose another model, or register a kind that pools it",
            )
        if self.spec.pools_by == "cls":
            return hidden[:, 0]
        registers = getattr(self.model.config, "num_register_tokens", 0)
        return hidden[:, 1 + registers :].float().mean(1)


def _describe(processor: Any) -> dict[str, Any]:
    settings = processor.to_dict()
    names = ("size", "crop_size", "rescale_factor", "image_mean", "image_std")
    described = {name: settings[name] for name in names if settings.get(name) is not None}
    if settings.get("resample") is not None:
        described["resample"] = Image.Resampling(settings["resample"]).name.lower()
    return described | {"pixel_limit": PIXEL_LIMIT}
