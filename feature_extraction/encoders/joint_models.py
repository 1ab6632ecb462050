"""The kind ``clip``: models that put images and texts into one space, either side of them."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from feature_extraction.encoders.encoder import Encoder
from feature_extraction.encoders.image_encoders import ImageEncoder
from feature_extraction.encoders.model_files import ModelFiles
from feature_extraction.encoders.preparation import Preparation
from feature_extraction.encoders.text_encoders import TextEncoder
from feature_extraction.encoders.text_preparation import LongTexts
from feature_extraction.errors import FeatureError
from feature_extraction.items.input_files import Files

if TYPE_CHECKING:
    from torch import Tensor

_FAMILIES = ("align", "chinese_clip", "clip", "siglip", "siglip2")
_PADDED = ("siglip", "siglip2")  # trained on texts padded to all positions, without a mask
_EXPECTED = f"a model of images and texts: {', '.join(_FAMILIES)}"


class JointModel(Encoder):
    """One side of a model of images and texts: CLIP, SigLIP, SigLIP 2, Chinese-CLIP or ALIGN.

    The vectors of both sides are of one space: a picture is near its caption, by cosine.

    Args:
        side: ``image`` or ``text``.
        max_length: Of texts, see ``TextEncoder``.
        long_texts: Of texts, see ``TextEncoder``.

    Raises:
        FeatureError: An option of texts with the side of images.
    """

    kind = "clip"

    def __init__(
        self,
        side: Literal["image", "text"],
        max_length: int | None = None,
        long_texts: LongTexts = "truncate",
    ) -> None:
        if side == "image" and (max_length is not None or long_texts != "truncate"):
            raise FeatureError(
                "max_length or long_texts with side image",
                expected="them with side text alone",
                fix="leave them out, or choose side text",
            )
        self._side: _ImageSide | _TextSide
        self._side = _ImageSide() if side == "image" else _TextSide(max_length, long_texts)
        self.reads = self._side.reads
        self.whole_shards = self._side.whole_shards
        self.long_inputs = self._side.long_inputs

    def load(self, files: ModelFiles) -> None:
        """Load the model, and the preprocessing or the tokenizer of the side."""
        self._side.device, self._side.dtype = self.device, self.dtype
        self._side.load(files)
        self.dim = self._side.dim

    @property
    def preprocessing(self) -> dict[str, Any]:
        """As of the side."""
        return self._side.preprocessing

    def transform(self) -> Callable[[Any], Mapping[str, Any]]:
        """As of the side."""
        return self._side.transform()

    def preparation(self, files: Files, batch_size: int) -> Preparation:
        """As of the side."""
        return self._side.preparation(files, batch_size)

    def encode(self, inputs: "Mapping[str, Tensor]") -> "Tensor":
        """The vector of the side in the joint space."""
        return self._side.encode(inputs)


class _ImageSide(ImageEncoder):
    expected = _EXPECTED

    def fits(self, config: Any) -> bool:
        return config.model_type in _FAMILIES

    def encode(self, inputs: "Mapping[str, Tensor]") -> "Tensor":
        vectors: Tensor = self.model.get_image_features(**inputs).pooler_output
        return vectors


class _TextSide(TextEncoder):
    expected = _EXPECTED

    def fits(self, config: Any) -> bool:
        self.pads_fully = config.model_type in _PADDED
        return config.model_type in _FAMILIES

    def encode(self, inputs: "Mapping[str, Tensor]") -> "Tensor":
        named = {"input_ids": inputs["input_ids"]} if self.pads_fully else inputs
        vectors: Tensor = self.model.get_text_features(**named).pooler_output
        return vectors
