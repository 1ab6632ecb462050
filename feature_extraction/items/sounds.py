"""Sounds: untrusted files decoded to mono within bounds; every failure has a reason."""

from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from feature_extraction.errors import InputError
from feature_extraction.items.raw_modality import FileModality

SILENCE = 1e-4
"""Samples that are all below this share of full scale (-80 dB) are silence."""

_FORMATS = ("AIFF", "AU", "CAF", "FLAC", "MP3", "OGG", "RF64", "W64", "WAV", "WAVEX")
_RATES = (1_000, 384_000)
_BLOCK = 1 << 20  # samples of all channels that are decoded at once


@dataclass(frozen=True)
class Sound:
    """A decoded sound.

    Args:
        samples: float32 ``[s]``, the mean of its channels.
        rate: Samples a second.
        is_cut: Whether the file goes on.
    """

    samples: NDArray[np.float32]
    rate: int
    is_cut: bool


class AudioModality(FileModality):
    """Sound files, decoded to one channel at their own rate; soundfile is needed to decode them.

    Args:
        max_seconds: What is decoded of a sound, from its beginning.
    """

    name = "audio"
    expects = "names or bytes of sound files, or lists of them"
    suffixes = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".oga", ".aiff", ".aif", ".au", ".caf")
    max_bytes = 1 << 30

    def __init__(self, max_seconds: float) -> None:
        self.max_seconds = max_seconds

    def decode(self, raw: BinaryIO) -> Sound:
        """Decode an opened file, block by block.

        Raises:
            InputError: It is no sound, of a format that is not read, empty or silent.
        """
        import soundfile  # optional; the encoder has seen that it is there

        try:
            opened = soundfile.SoundFile(raw)
        except soundfile.LibsndfileError as error:
            raise InputError(f"not a sound of a known format ({error.error_string})") from error
        with opened as file:
            rate, channels = file.samplerate, file.channels
            if file.format not in _FORMATS or not _RATES[0] <= rate <= _RATES[1]:
                raise InputError(f"a {file.format} file of {rate:,} samples a second")
            wanted = int(self.max_seconds * rate)
            try:
                samples, is_cut = _mono(file, wanted, max(1, _BLOCK // channels))
            except soundfile.LibsndfileError as error:
                raise InputError(f"cannot be decoded ({error.error_string})") from error
        if not np.isfinite(samples).all():
            raise InputError("samples that are not finite")
        if not len(samples):
            raise InputError("no samples")
        if np.abs(samples).max() < SILENCE:
            raise InputError("silence, or channels that cancel each other out")
        return Sound(samples, rate, is_cut)


def _mono(file: Any, wanted: int, block: int) -> tuple[NDArray[np.float32], bool]:
    """The mean of the channels of the first samples, and whether there are more."""
    parts, left = [], wanted
    while left:
        values = file.read(min(block, left), dtype="float32", always_2d=True)
        if not len(values):
            break
        parts.append(values.mean(1))
        left -= len(values)
    samples = np.concatenate(parts) if parts else np.empty(0, np.float32)
    return samples, not left and len(file.read(1)) > 0
