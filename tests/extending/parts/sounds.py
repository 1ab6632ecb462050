"""A raw modality of the user's, sounds, and an encoder that reads it."""

import wave
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from torch import Tensor

from feature_extraction import Encoder, FileModality, InputError, ModelFiles

SECONDS = 60


class Sound(FileModality):
    """16-bit mono WAV files of at most a minute."""

    name = "audio"
    suffixes = (".wav",)

    def decode(self, raw: BinaryIO) -> npt.NDArray[np.float32]:
        with wave.open(raw) as file:
            if (file.getnchannels(), file.getsampwidth()) != (1, 2):
                raise InputError("not 16-bit mono")
            if not 0 < file.getnframes() <= SECONDS * file.getframerate():
                raise InputError(f"no sound, or more than {SECONDS} seconds")
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return samples.astype(np.float32) / 2**15


class MeanLogSpectrum(Encoder):
    """The mean over time of the logarithm of the spectrum, in bands. It has no model files."""

    kind = "mean-log-spectrum"
    reads = Sound()
    needs = ()

    def __init__(self, bands: int = 8) -> None:
        self.bands = bands

    def load(self, files: ModelFiles) -> None:
        self.dim = self.bands

    def transform(self) -> Callable[[Any], Mapping[str, Any]]:
        return partial(spectrum, bands=self.bands)

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return inputs["power"].log1p()


def spectrum(samples: npt.NDArray[np.float32], bands: int) -> dict[str, Any]:
    """Mean power by band, float32 [bands]."""
    frames = np.pad(samples, (0, -len(samples) % 256)).reshape(-1, 256)
    power = np.abs(np.fft.rfft(frames)).astype(np.float32).mean(0)
    return {"power": np.array([band.mean() for band in np.array_split(power, bands)])}
