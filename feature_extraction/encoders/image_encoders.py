"""Image encoders: processed pixels to one vector per image.

Shapes: b images, S image side, P patches, d feature size.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from feature_extraction.encoders.model_files import ModelFiles
from feature_extraction.encoders.pretrained import PretrainedEncoder
from feature_extraction.errors import FeatureError
from feature_extraction.items.images import PIXEL_LIMIT, ImageModality

if TYPE_CHECKING:
    from torch import Tensor


class ImageEncoder(PretrainedEncoder):
    """An image model with the preprocessing it was trained with; a subclass pools.

    ``encode`` gets what the image processor gives, such as ``pixel_values`` [b, 3, S, S].
    """

    reads = ImageModality()

    def load(self, files: ModelFiles) -> None:
        """Load the model and its preprocessing.

        Raises:
            FeatureError: The model cannot be loaded, is of another kind, or its preprocessing
                gives something else than it takes.
        """
        from feature_extraction.encoders.loading import load_image_processor

        super().load(files)
        self.processor = load_image_processor(files)
        self.dim = self._encode_blank_images()

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Size, scale and colours."""
        settings = self.processor.to_dict()
        names = ("size", "crop_size", "rescale_factor", "image_mean", "image_std")
        described = {name: settings[name] for name in names if settings.get(name) is not None}
        if settings.get("resample") is not None:
            described["resample"] = Image.Resampling(settings["resample"]).name.lower()
        return described | {"pixel_limit": PIXEL_LIMIT}

    def transform(self) -> Callable[[Any], Mapping[str, Any]]:
        """Scale, crop and normalise an image as the model was trained with."""
        return _Processed(self.processor)

    def _encode_blank_images(self) -> int:
        """Return d; what does not fit is said before the work begins."""
        blank = [self.transform()(Image.new("RGB", size)) for size in ((64, 32), (32, 64))]
        try:
            return self(self.collate(blank)).shape[1]
        except (RuntimeError, ValueError) as error:
            shapes = [tuple(values.shape) for one in blank for values in one.values()]
            raise FeatureError(
                f"the image preprocessing of {self.files.name} gives {shapes} ({error})",
                expected="arrays of one size, which is the size that its model takes",
                fix="mend size and crop_size in preprocessor_config.json",
            ) from error


def pooled_places(
    hidden: "Tensor", pooling: str, name: str, *, has_class: bool, before: int
) -> "Tensor":
    """Pool the tokens or places of a layer in float32.

    Args:
        hidden: ``[b, N, d]``, ``[b, d, H, W]``, or vectors ``[b, d]``, which stay as they are.
        pooling: ``cls``, ``mean`` or ``max``.
        name: Of the model, for the error.
        has_class: Whether the first of its tokens is a class token.
        before: Tokens before those of the patches.

    Returns:
        ``[b, d]``.

    Raises:
        FeatureError: The pooling is ``cls``, and there is no class token.
    """
    if hidden.ndim == 2:
        return hidden.float()
    if pooling == "cls":
        if not has_class or hidden.ndim != 3:
            raise FeatureError(
                f"{name} has no class token in {list(hidden.shape)}",
                expected="mean or max",
                fix="choose another pooling, or leave it out",
            )
        return hidden[:, 0].float()
    places = hidden.flatten(2).mT if hidden.ndim == 4 else hidden[:, before:]
    return places.float().mean(1) if pooling == "mean" else places.float().amax(1)


class SiglipImage(ImageEncoder):
    """The image tower of a SigLIP or SigLIP 2 model, with its attention pooling."""

    kind = "siglip-image"
    expected = "a 'siglip' or 'siglip2' model"

    def fits(self, config: Any) -> bool:
        """SigLIP, and SigLIP 2 of either form."""
        return config.model_type in ("siglip", "siglip2")

    def encode(self, inputs: "Mapping[str, Tensor]") -> "Tensor":
        """The pooled output of the tower."""
        vectors: Tensor = self.model.get_image_features(**inputs).pooler_output
        return vectors


class ClipImage(SiglipImage):
    """The projected image tower of a CLIP model: the projection of the class token.

    Args:
        pooling: ``mean`` changes nothing: older configurations name it, and CLIP pools by itself.
    """

    kind = "clip-image"
    expected = "a 'clip' model"

    def __init__(self, pooling: Literal["mean"] | None = None) -> None:
        pass

    def fits(self, config: Any) -> bool:
        """Only CLIP."""
        return bool(config.model_type == "clip")


class VisionTransformer(ImageEncoder):
    """The last layer of a vision transformer such as ViT or DINOv2.

    Args:
        pooling: The class token, or the mean of the patches.
    """

    kind = "vit"
    expected = "a vision transformer with a class token (ViT, DINOv2)"
    unused_weights = ("pooler.",)

    def __init__(self, pooling: Literal["cls", "mean"] = "cls") -> None:
        self.pooling = pooling

    def fits(self, config: Any) -> bool:
        """Vision models that cut images into patches."""
        return hasattr(config, "patch_size") and not hasattr(config, "text_config")

    def encode(self, inputs: "Mapping[str, Tensor]") -> "Tensor":
        """The class token, or the mean of the patches; registers are left out."""
        hidden: Tensor = self.model(**inputs).last_hidden_state  # [b, 1 + registers + P, d]
        if hidden.ndim != 3:
            raise FeatureError(
                f"{self.files.name} is a {self.model.config.model_type!r} model",
                expected=self.expected,
                fix="choose another model, or write a kind that pools it (docs/features.md)",
            )
        if self.pooling == "cls":
            return hidden[:, 0]
        registers = getattr(self.model.config, "num_register_tokens", 0)
        return hidden[:, 1 + registers :].float().mean(1)


@dataclass(frozen=True)
class _Processed:
    """An image processor of transformers, applied to one image."""

    processor: Any

    def __call__(self, image: Image.Image) -> dict[str, "Tensor"]:
        processed = self.processor(images=image, return_tensors="pt")
        return {name: values[0] for name, values in processed.items()}
