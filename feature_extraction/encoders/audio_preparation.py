"""What happens to sounds before the model: one rate, pieces of the model's length, batches.

Shapes: b pieces of a batch, s samples of a piece.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feature_extraction.encoders.preparation import (
    Batch,
    Failure,
    Job,
    Prepared,
    parts_of,
    stack,
)
from feature_extraction.errors import InputError
from feature_extraction.items.input_files import Files
from feature_extraction.items.sounds import SILENCE, AudioModality, Sound

_STEP = 0.1  # seconds that the length of a piece is a multiple of, so that some are of one length


@dataclass(frozen=True)
class AudioPreparation:
    """Decodes sounds, brings them to the model's rate and cuts them into pieces.

    Pieces of a batch have the same length: what is padded would change what some models give.

    Args:
        reads: The raw modality.
        files: Where its files are.
        rate: Samples a second that the model wants.
        piece_seconds: Longest piece.
        transform: Turns the samples of a piece into arrays by name.
        batch_size: Largest b.
    """

    reads: AudioModality
    files: Files
    rate: int
    piece_seconds: float
    transform: Callable[[NDArray[np.float32]], Mapping[str, Any]]
    batch_size: int

    def __call__(self, job: Job) -> Prepared:
        """Prepare the sounds of a job."""
        by_length: dict[int, list[tuple[int, Mapping[str, Any]]]] = defaultdict(list)
        failures, long = [], 0
        for row, item in job.items:
            for raw in item.inputs.get(self.reads.name, ()):
                try:
                    sound = self.reads.read(raw, self.files)
                    pieces = self._pieces(sound)
                except InputError as error:
                    failures.append(Failure(item.id, self.reads.file_name(raw), str(error)))
                    continue
                long += sound.is_cut
                by_length[len(pieces[0])] += [(row, self.transform(piece)) for piece in pieces]
        # The longest first, so that memory runs out early.
        batches = [
            Batch([row for row, _ in part], stack([arrays for _, arrays in part]))
            for _, pieces_of_length in sorted(by_length.items(), reverse=True)
            for part in parts_of(pieces_of_length, self.batch_size)
        ]
        return Prepared(job.shard, job.is_last, len(job.items), batches, failures, long)

    def _pieces(self, sound: Sound) -> list[NDArray[np.float32]]:
        step = round(_STEP * self.rate)
        longest = max(step, math.floor(self.piece_seconds * self.rate / step) * step)
        pieces = equal_pieces(resampled(sound, self.rate), longest, step)
        return [piece for piece in pieces if np.abs(piece).max() >= SILENCE] or pieces[:1]


def resampled(sound: Sound, rate: int) -> NDArray[np.float32]:
    """Return the samples of a sound at another rate, by a polyphase filter against aliasing."""
    if sound.rate == rate:
        return sound.samples
    from scipy.signal import resample_poly  # takes its time to import

    common = math.gcd(sound.rate, rate)
    samples = resample_poly(sound.samples, rate // common, sound.rate // common)
    return np.asarray(samples, np.float32)


def equal_pieces(
    samples: NDArray[np.float32], longest: int, step: int
) -> list[NDArray[np.float32]]:
    """Cut samples into the fewest pieces of one length, the last filled up with zeros.

    Args:
        samples: float32 ``[s]``, one at least.
        longest: Longest piece, a multiple of ``step``.
        step: The length is a multiple of it.
    """
    count = -(-len(samples) // longest)
    length = -(-len(samples) // (count * step)) * step
    padded = np.zeros(count * length, np.float32)
    padded[: len(samples)] = samples
    return list(padded.reshape(count, length))
