"""What happens to texts and images before the model: on the CPU, and where wanted in workers.

Shapes: b inputs of a batch, T tokens. An item may give several inputs: images, pieces of a text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from feature_extraction.encoders.spec import LongTexts
from feature_extraction.items.images import ImageError, decode_image
from feature_extraction.items.inputs import Item
from feature_extraction.items.pictures import Picture, Pictures


class Failure(NamedTuple):
    """Why one input of an item gives no features; ``file`` is empty where there is no name."""

    item: str
    file: str
    reason: str


class Batch(NamedTuple):
    """Inputs that the model takes at once.

    Args:
        rows: b rows, of the items that the inputs belong to.
        inputs: Arguments of ``Encoder.encode`` by name, each with b entries.
    """

    rows: list[int]
    inputs: dict[str, Any]


class Job(NamedTuple):
    """Consecutive items of one shard, with their rows in it."""

    shard: int
    is_last: bool
    items: list[tuple[int, Item]]


class Prepared(NamedTuple):
    """A job, ready for the model.

    Args:
        shard: As in the job.
        is_last: Whether it is the shard's last job.
        size: Items of the job.
        batches: Their inputs.
        failures: Inputs that cannot be used.
        long: Texts with more tokens than the model takes.
    """

    shard: int
    is_last: bool
    size: int
    batches: list[Batch]
    failures: list[Failure]
    long: int


class Preparation(Protocol):
    """Turns the items of a job into batches; pickled where workers do it."""

    def __call__(self, job: Job) -> Prepared:
        """Prepare a job."""


@dataclass(frozen=True)
class TextPreparation:
    """Tokenises texts and puts those of like length into one batch, so that little is padded.

    Args:
        tokenizer: A tokenizer of transformers.
        special: Tokens that it puts before and after a text.
        max_length: Tokens that the model takes, special ones included.
        long_texts: What becomes of longer texts.
        batch_size: Largest b.
        pad_to: Length that every input is padded to; None pads to the longest of the batch.
        before: Written before every text.
        lower: Whether texts are lowered.
    """

    tokenizer: Any
    special: tuple[list[int], list[int]]
    max_length: int
    long_texts: LongTexts
    batch_size: int
    pad_to: int | None = None
    before: str = ""
    lower: bool = False

    def __call__(self, job: Job) -> Prepared:
        """Prepare the texts of a job: ``input_ids`` int64 and ``attention_mask`` bool, [b, T]."""
        texts = [(row, item.text) for row, item in job.items if item.text is not None]
        pieces: list[tuple[int, list[int]]] = []
        long = 0
        for (row, _), tokens in zip(texts, self._tokens([text for _, text in texts]), strict=True):
            cut = split_tokens(tokens, self.room, self.long_texts)
            long += len(tokens) > self.room
            pieces += [(row, [*self.special[0], *piece, *self.special[1]]) for piece in cut]
        # The longest first, so that memory runs out early.
        pieces.sort(key=lambda piece: -len(piece[1]))
        batches = [self._batch(part) for part in _parts(pieces, self.batch_size)]
        return Prepared(job.shard, job.is_last, len(job.items), batches, [], long)

    @property
    def room(self) -> int:
        """Tokens of a text that fit beside the special ones."""
        return self.max_length - sum(map(len, self.special))

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        texts = [self.before + (text.lower() if self.lower else text) for text in texts]
        # Not verbose: what is too long is counted here and reported once by the caller.
        found = self.tokenizer(texts, add_special_tokens=False, truncation=False, verbose=False)
        tokens: list[list[int]] = found["input_ids"]
        return tokens

    def _batch(self, pieces: Sequence[tuple[int, list[int]]]) -> Batch:
        length = self.pad_to or max(len(tokens) for _, tokens in pieces)
        ids = np.full((len(pieces), length), self.tokenizer.pad_token_id, dtype=np.int64)
        mask = np.zeros((len(pieces), length), dtype=np.bool_)
        for index, (_, tokens) in enumerate(pieces):
            ids[index, : len(tokens)] = tokens
            mask[index, : len(tokens)] = True
        return Batch([row for row, _ in pieces], {"input_ids": ids, "attention_mask": mask})


@dataclass(frozen=True)
class ImagePreparation:
    """Decodes images and scales, crops and normalises them as the model was trained with.

    Args:
        processor: An image processor of transformers.
        pictures: Where images are read from.
        batch_size: Largest b.
    """

    processor: Any
    pictures: Pictures
    batch_size: int

    def __call__(self, job: Job) -> Prepared:
        """Prepare the images of a job: what the processor gives, e.g. ``pixel_values``."""
        rows: list[int] = []
        inputs: list[dict[str, Any]] = []
        failures = []
        for row, item in job.items:
            for picture in item.pictures:
                try:
                    inputs.append(self.pixels(picture))
                    rows.append(row)
                except ImageError as error:
                    name = "" if isinstance(picture, bytes) else str(picture)
                    failures.append(Failure(item.id, name, str(error)))
        batches = [
            Batch([row for row, _ in part], stack([values for _, values in part]))
            for part in _parts(list(zip(rows, inputs, strict=True)), self.batch_size)
        ]
        return Prepared(job.shard, job.is_last, len(job.items), batches, failures, 0)

    def pixels(self, picture: Picture) -> dict[str, torch.Tensor]:
        """Decode and process one image.

        Raises:
            ImageError: It cannot be had or decoded.
        """
        image = decode_image(self.pictures.find(picture))
        found = self.processor(images=image, return_tensors="pt")
        return {name: values[0] for name, values in found.items()}


def stack(inputs: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Stack processed images by name, ``[b, ...]`` each."""
    return {name: torch.stack([one[name] for one in inputs]) for name in inputs[0]}


def special_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return the tokens that a tokenizer puts before and after every text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    dressed = tokenizer("a")["input_ids"]
    start = next(
        start for start in range(len(dressed)) if dressed[start : start + len(bare)] == bare
    )
    return dressed[:start], dressed[start + len(bare) :]


def split_tokens(tokens: list[int], room: int, policy: LongTexts) -> list[list[int]]:
    """Split the tokens of a text into the pieces that the model sees.

    Args:
        tokens: Without special tokens.
        room: Tokens that a piece may have.
        policy: See ``EncoderSpec.long_texts``.
    """
    if len(tokens) <= room:
        return [tokens]
    if policy == "truncate":
        return [tokens[:room]]
    if policy == "head+tail":
        tail = room // 2
        return [tokens[: room - tail] + tokens[len(tokens) - tail :]]
    return [tokens[start : start + room] for start in range(0, len(tokens), room)]


def _parts(values: list[Any], size: int) -> Iterator[list[Any]]:
    return (values[start : start + size] for start in range(0, len(values), size))
