"""Run an encoder over items in batches and put each vector into the row of its item."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from feature_extraction.errors import FeatureError
from feature_extraction.images import ImageError, decode_image, locate_image
from feature_extraction.inputs import ItemInputs
from feature_extraction.spec import EncoderIdentity, EncoderSpec

if TYPE_CHECKING:
    from torch import Tensor

    from feature_extraction.encoders import ImageEncoder, TextEncoder

_DECODERS = 4  # threads; each holds at most one full-size image


@dataclass
class Encoded:
    """Features of n items, filled row by row.

    Args:
        inputs: The items.
        features: ``[n, d]`` float32 or float16; zero where not present.
        present: ``[n]`` bool.
        preprocessing: How the encoder prepares its inputs, as JSON values.
        failures: Id, reason and, for images, file of each item that was given but failed.
        truncated: Number of texts that were cut.
    """

    inputs: ItemInputs
    features: NDArray[np.floating[Any]]
    present: NDArray[np.bool_]
    preprocessing: dict[str, Any]
    failures: list[dict[str, str]] = field(default_factory=list)
    truncated: int = 0

    def fill(self, rows: Sequence[int], vectors: "Tensor", files: dict[int, Path | str]) -> None:
        """Store vectors ``[len(rows), d]``; those not finite in the stored type are failures."""
        dtype = self.features.dtype
        with np.errstate(over="ignore"):  # what does not fit becomes infinite
            values = vectors.numpy().astype(dtype)
        finite = np.isfinite(values).all(axis=1)
        good = np.asarray(rows)[finite]
        self.features[good] = values[finite]
        self.present[good] = True
        for index in np.flatnonzero(~finite).tolist():
            self.fail(
                rows[index], f"the encoder gives values that are not finite in {dtype}", files
            )

    def fail(self, row: int, reason: str, files: dict[int, Path | str]) -> None:
        """Record why the input of a row gives no features."""
        failure = {"id": self.inputs.ids[row], "reason": reason}
        if row in files:
            failure["file"] = str(files[row])
        self.failures.append(failure)


def encode_items(
    inputs: ItemInputs,
    spec: EncoderSpec,
    identity: EncoderIdentity,
    *,
    batch_size: int,
    device: str,
    progress: bool,
) -> Encoded:
    """Load the encoder and encode all items that have an input of its kind.

    Args:
        inputs: The items.
        spec: The encoder.
        identity: What ``identify(spec)`` found.
        batch_size: Items that the encoder takes at once.
        device: ``auto``, ``cpu`` or ``cuda``.
        progress: Whether to draw a progress bar on standard error.

    Raises:
        FeatureError: The encoder or the device cannot be had, or its memory is too small.
    """
    # torch and transformers take seconds to import; reusing a store needs neither.
    import torch

    from feature_extraction.encoders import ImageEncoder, TextEncoder, resolve_device

    place = resolve_device(device)
    encoder = (ImageEncoder if spec.kind == "clip-image" else TextEncoder)(spec, identity, place)
    size = len(inputs.ids)
    encoded = Encoded(
        inputs=inputs,
        features=np.zeros((size, encoder.dim), dtype=spec.dtype),
        present=np.zeros(size, dtype=np.bool_),
        preprocessing=encoder.preprocessing,
    )
    try:
        if isinstance(encoder, ImageEncoder):
            _encode_images(encoder, encoded, batch_size, progress)
        else:
            _encode_texts(encoder, encoded, batch_size, progress)
    except torch.OutOfMemoryError as error:
        raise FeatureError(
            f"the device {place} has too little memory for a batch of {batch_size}",
            expected="a batch that fits",
            fix="lower the batch size",
        ) from error
    return encoded


def _encode_texts(
    encoder: "TextEncoder", encoded: Encoded, batch_size: int, progress: bool
) -> None:
    texts = encoded.inputs.present_texts()
    counts = dict(zip(texts, encoder.token_counts(list(texts.values())), strict=True))
    encoded.truncated = sum(count > encoder.max_length for count in counts.values())
    # Texts of like length need little padding; the longest first, so that memory runs out early.
    order = sorted(texts, key=lambda row: (-counts[row], row))
    for rows in _batches(order, batch_size, "texts", progress):
        encoded.fill(rows, encoder.encode([texts[row] for row in rows]), {})


def _encode_images(
    encoder: "ImageEncoder", encoded: Encoded, batch_size: int, progress: bool
) -> None:
    import torch

    files = encoded.inputs.present_images()
    root = encoded.inputs.image_root

    def read(row: int) -> "Tensor | ImageError":
        try:
            return encoder.preprocess(decode_image(locate_image(files[row], root)))
        except ImageError as error:
            return error

    with ThreadPoolExecutor(_DECODERS) as pool:
        for rows in _batches(list(files), batch_size, "images", progress):
            pixels: dict[int, Tensor] = {}
            for row, result in zip(rows, pool.map(read, rows), strict=True):
                if isinstance(result, ImageError):
                    encoded.fail(row, str(result), files)
                else:
                    pixels[row] = result
            if pixels:
                vectors = encoder.encode(torch.stack(list(pixels.values())))
                encoded.fill(list(pixels), vectors, files)


def _batches(
    rows: Sequence[int], batch_size: int, what: str, progress: bool
) -> Iterator[list[int]]:
    starts = range(0, len(rows), batch_size)
    console = Console(stderr=True)
    for start in track(
        starts, f"encoding {len(rows)} {what}", console=console, disable=not progress
    ):
        yield list(rows[start : start + batch_size])
