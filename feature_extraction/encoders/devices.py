"""Where an encoder runs: choose the device, and load the encoder of a spec there."""

import json

import torch

from feature_extraction.encoders.encoder import Encoder
from feature_extraction.encoders.model_files import ModelFiles
from feature_extraction.encoders.spec import EncoderSpec
from feature_extraction.errors import FeatureError


def load_encoder(spec: EncoderSpec, files: ModelFiles, device: torch.device) -> Encoder:
    """Load the encoder of a spec.

    Args:
        spec: The encoder.
        files: What ``identify(spec)`` found.
        device: Where it is to run.

    Raises:
        FeatureError: It cannot be loaded, the model is of another kind, or the encoder does not
            say what it has to.
    """
    encoder = spec.encoder()
    encoder.device, encoder.dtype = device, getattr(torch, spec.precision)
    encoder.load(files)
    try:
        json.dumps(encoder.preprocessing)
    except (TypeError, ValueError) as error:
        raise _incomplete(spec, f"preprocessing is not plain ({error})", "JSON values") from error
    dim = getattr(encoder, "dim", None)
    if not isinstance(dim, int) or dim < 1:
        raise _incomplete(spec, f"dim is {dim!r} after load", "the feature size")
    return encoder


def _incomplete(spec: EncoderSpec, found: str, expected: str) -> FeatureError:
    return FeatureError(
        f"{found}, of the encoder kind {spec.kind}",
        expected=expected,
        fix=f"mend {spec.cls.__name__}; feature_extraction.Encoder says what it has to give",
    )


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
