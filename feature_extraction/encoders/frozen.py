"""What image and text encoders share: a frozen model that turns a batch into vectors."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from feature_extraction.encoders.identity import EncoderIdentity
from feature_extraction.encoders.loading import load_model
from feature_extraction.encoders.spec import EncoderSpec


class FrozenEncoder:
    """A frozen model; a subclass of ``ImageEncoder`` or ``TextEncoder`` says which, and pools.

    Args:
        spec: A spec of the subclass's kind.
        identity: What ``identify(spec)`` found.
        device: Where the model runs.

    Raises:
        FeatureError: The model cannot be loaded, or is of another kind.
    """

    expected: ClassVar[str]
    """What ``fits`` asks for, in words."""
    unused_weights: ClassVar[tuple[str, ...]] = ()
    """Beginnings of names of weights that may lack."""
    features: Callable[..., Tensor]
    """Takes the inputs of a batch by name, ``[b, ...]`` each, and returns ``[b, d]``."""

    def __init__(self, spec: EncoderSpec, identity: EncoderIdentity, device: torch.device) -> None:
        self.spec = spec
        self.device = device
        self.model = load_model(
            spec,
            identity,
            device,
            fits=self.fits,
            expected=self.expected,
            unused_weights=self.unused_weights,
        )
        self.preprocessing: dict[str, Any] = {}

    def fits(self, config: Any) -> bool:
        """Whether a model configuration of transformers is one that this encoder can use."""
        raise NotImplementedError

    def finish(self, vectors: Tensor) -> Tensor:
        """Change the vectors of whole items ``[n, d]`` (means, where there were several inputs)."""
        return vectors

    @torch.inference_mode()
    def encode(self, inputs: Mapping[str, Any]) -> Tensor:
        """Encode the inputs of a batch, arrays or tensors, to ``[b, d]`` float32 on the device."""
        moved = {}
        for name, values in inputs.items():
            tensor = torch.as_tensor(values)
            dtype = self.model.dtype if tensor.is_floating_point() else tensor.dtype
            moved[name] = tensor.to(self.device, dtype, non_blocking=True)
        return self.features(**moved).float()
