"""Load the encoder of a spec, and choose where it runs."""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from feature_extraction.encoders.identity import EncoderIdentity
from feature_extraction.encoders.image_encoders import (
    ClipImage,
    ImageEncoder,
    SiglipImage,
    VisionTransformer,
)
from feature_extraction.encoders.preparation import Preparation
from feature_extraction.encoders.spec import KINDS, EncoderSpec
from feature_extraction.encoders.text_encoders import (
    Bert,
    ClipText,
    SentenceTransformer,
    SiglipText,
    TextEncoder,
)
from feature_extraction.errors import FeatureError
from feature_extraction.items.pictures import Pictures

__all__ = [
    "Encoder",
    "ImageEncoder",
    "TextEncoder",
    "load_encoder",
    "resolve_device",
]

_OWN: dict[str, type[ImageEncoder] | type[TextEncoder]] = {
    "clip-image": ClipImage,
    "clip-text": ClipText,
    "siglip-image": SiglipImage,
    "siglip-text": SiglipText,
    "vit": VisionTransformer,
    "bert": Bert,
    "sentence-transformer": SentenceTransformer,
}


class Encoder(Protocol):
    """What extraction asks of an encoder; ``ImageEncoder`` and ``TextEncoder`` have it.

    Attributes:
        device: Where it runs.
        dim: Feature size d.
        preprocessing: How it prepares its inputs, as JSON values.
    """

    device: torch.device
    dim: int
    preprocessing: dict[str, Any]

    def preparation(self, pictures: Pictures, batch_size: int) -> Preparation:
        """Return what turns items into batches; it runs on the CPU and can be pickled."""

    def encode(self, inputs: Mapping[str, Any]) -> Tensor:
        """Encode the inputs of a batch to ``[b, d]`` float32 on the device."""

    def finish(self, vectors: Tensor) -> Tensor:
        """Change the vectors of whole items ``[n, d]``."""


def load_encoder(spec: EncoderSpec, identity: EncoderIdentity, device: torch.device) -> Encoder:
    """Load the encoder of a spec.

    Raises:
        FeatureError: It cannot be loaded, or the model is of another kind.
    """
    factory = KINDS[spec.kind].factory or _OWN[spec.kind]
    encoder: Encoder = factory(spec, identity, device)
    return encoder


def resolve_device(device: str) -> torch.device:
    """Return the device for ``auto`` (CUDA where there is one, else CPU) or for a torch name.

    Raises:
        FeatureError: There is no such device here.
    """
    cuda = torch.cuda.is_available()
    if device == "auto":
        return torch.device("cuda" if cuda else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA fails an assertion
        raise FeatureError(
            f"the device {device!r} cannot be used",
            expected="'auto', 'cpu'" + (" or 'cuda'" if cuda else "; no CUDA device is here"),
            fix="choose another device",
        ) from error
    return chosen
