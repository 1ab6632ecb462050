"""What happens to texts before the model: tokens, cut as wanted, in batches of like length.

Shapes: b inputs of a batch, T tokens. A long text may give several inputs, its pieces.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from feature_extraction.encoders.preparation import Batch, Job, Prepared, parts_of

LongTexts = Literal["truncate", "head+tail", "chunk+mean"]


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
        batches = [self._batch(part) for part in parts_of(pieces, self.batch_size)]
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
        encoding = self.tokenizer(texts, add_special_tokens=False, truncation=False, verbose=False)
        tokens: list[list[int]] = encoding["input_ids"]
        return tokens

    def _batch(self, pieces: Sequence[tuple[int, list[int]]]) -> Batch:
        length = self.pad_to or max(len(tokens) for _, tokens in pieces)
        ids = np.full((len(pieces), length), self.tokenizer.pad_token_id, dtype=np.int64)
        mask = np.zeros((len(pieces), length), dtype=np.bool_)
        for index, (_, tokens) in enumerate(pieces):
            ids[index, : len(tokens)] = tokens
            mask[index, : len(tokens)] = True
        return Batch([row for row, _ in pieces], {"input_ids": ids, "attention_mask": mask})


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
