"""Text encoders: tokens to one vector per text.

Shapes: b texts, T tokens, d feature size.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from feature_extraction.encoders.model_files import ModelFiles
from feature_extraction.encoders.pretrained import PretrainedEncoder
from feature_extraction.encoders.sentence_modules import read_modules
from feature_extraction.encoders.text_preparation import (
    LongTexts,
    TextPreparation,
    special_tokens,
)
from feature_extraction.errors import FeatureError
from feature_extraction.items.input_files import Files
from feature_extraction.items.texts import TextModality

if TYPE_CHECKING:
    from torch import Tensor


class TextEncoder(PretrainedEncoder):
    """A tokenizer and a text model; a subclass pools.

    ``encode`` gets ``input_ids`` int64 and ``attention_mask`` bool, [b, T].

    Args:
        max_length: Tokens that the model sees of a text at once; None is the model's own limit.
        long_texts: What becomes of longer texts, see ``EncoderSpec``.

    Raises:
        FeatureError: ``max_length`` is not positive.
    """

    reads = TextModality()
    whole_shards = True
    pads_fully: bool = False
    """Whether the model wants every text padded to all its positions, as it was trained."""
    pads_with_end: ClassVar[bool] = False
    """Whether a tokenizer without a pad token is taken, too; the kind has to leave padding out."""

    def __init__(self, max_length: int | None = None, long_texts: LongTexts = "truncate") -> None:
        if max_length is not None and max_length < 1:
            raise FeatureError(
                f"max_length is {max_length}",
                expected="a positive number of tokens",
                fix="raise max_length, or leave it out",
            )
        self._given_length = max_length
        self.long_texts = long_texts
        self.long_inputs = "chunked" if long_texts == "chunk+mean" else "truncated"

    def load(self, files: ModelFiles) -> None:
        """Load the model and its tokenizer.

        Raises:
            FeatureError: The model cannot be loaded, is of another kind, lacks its vocabulary, or
                takes fewer tokens than asked for.
        """
        from feature_extraction.encoders.loading import load_tokenizer

        config, positions = self.load_model(files)
        self.tokenizer = load_tokenizer(files, config.vocab_size, pads_with_end=self.pads_with_end)
        self._limit = min(int(self.tokenizer.model_max_length), positions)
        self._special = special_tokens(self.tokenizer)
        self.max_length = self._choose_length(self._limit)
        tokens = self.tokenizer("a")["input_ids"]
        tried = {"input_ids": [tokens], "attention_mask": [[True] * len(tokens)]}
        self.dim = self(tried).shape[1]

    def load_model(self, files: ModelFiles) -> tuple[Any, int]:
        """Load the model alone; returns the configuration of texts, and most tokens."""
        from feature_extraction.encoders.loading import position_limit

        super().load(files)
        config = getattr(self.model.config, "text_config", None) or self.model.config
        return config, position_limit(self.model, config)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Length, and what becomes of longer texts."""
        return {"max_length": self.max_length, "long_texts": self.long_texts}

    def preparation(self, files: Files, batch_size: int) -> TextPreparation:
        """Tokenise the texts of a shard at once."""
        return TextPreparation(
            self.tokenizer,
            self._special,
            self.max_length,
            self.long_texts,
            batch_size,
            pad_to=self._limit if self.pads_fully else None,
        )

    def _choose_length(self, limit: int) -> int:
        special = sum(map(len, self._special))
        length = limit if self._given_length is None else self._given_length
        if special < length <= limit:
            return length
        raise FeatureError(
            f"max_length is {length} for {self.files.name}",
            expected=f"at least {special + 1} and at most {limit} tokens",
            fix="leave max_length out, or choose one in this range",
        )


class ClipText(TextEncoder):
    """The projected text tower of a CLIP model: the projection of the end token.

    Args:
        pooling: ``mean`` changes nothing: older configurations name it, and CLIP pools by itself.
        max_length: See ``TextEncoder``.
        long_texts: See ``TextEncoder``.
    """

    kind = "clip-text"
    expected = "a 'clip' model"

    def __init__(
        self,
        pooling: Literal["mean"] | None = None,
        max_length: int | None = None,
        long_texts: LongTexts = "truncate",
    ) -> None:
        super().__init__(max_length, long_texts)

    def fits(self, config: Any) -> bool:
        """Only CLIP."""
        return bool(config.model_type == "clip")

    def encode(self, inputs: "Mapping[str, Tensor]") -> "Tensor":
        """The projection of the end token."""
        vectors: Tensor = self.model.get_text_features(**inputs).pooler_output
        return vectors


class SiglipText(TextEncoder):
    """The text tower of a SigLIP or SigLIP 2 model, which reads all positions, padded ones too."""

    kind = "siglip-text"
    expected = "a 'siglip' or 'siglip2' model"
    pads_fully = True

    def fits(self, config: Any) -> bool:
        """SigLIP, and SigLIP 2 of either form."""
        return config.model_type in ("siglip", "siglip2")

    def encode(self, inputs: "Mapping[str, Tensor]") -> "Tensor":
        """The head on the last position; these models were trained without a mask."""
        output = self.model.get_text_features(input_ids=inputs["input_ids"])
        vectors: Tensor = output.pooler_output
        return vectors


class Bert(TextEncoder):
    """The last layer of an encoder-only text model.

    Args:
        pooling: The mean over tokens that are not padding, or the first token.
        max_length: See ``TextEncoder``.
        long_texts: See ``TextEncoder``.
    """

    kind = "bert"
    expected = "an encoder-only text model"
    unused_weights = ("pooler.",)

    def __init__(
        self,
        pooling: Literal["mean", "cls"] = "mean",
        max_length: int | None = None,
        long_texts: LongTexts = "truncate",
    ) -> None:
        super().__init__(max_length, long_texts)
        self.pooling = pooling

    def fits(self, config: Any) -> bool:
        """Any text model without a decoder."""
        return (
            hasattr(config, "vocab_size")
            and not hasattr(config, "vision_config")
            and not config.is_encoder_decoder
        )

    def encode(self, inputs: "Mapping[str, Tensor]") -> "Tensor":
        """The mean over tokens that are not padding, or the first token."""
        return self.pooled(inputs, self.pooling)

    def pooled(self, inputs: "Mapping[str, Tensor]", pooling: str) -> "Tensor":
        """Pool the last layer, see ``pooled_tokens``."""
        hidden = self.model(**inputs).last_hidden_state
        return pooled_tokens(hidden, inputs["attention_mask"], pooling)


class SentenceTransformer(Bert):
    """A model folder of sentence-transformers: length, pooling and unit length as it says.

    Modules of type Transformer, Pooling (mean, cls or max) and Normalize are known.

    Args:
        max_length: See ``TextEncoder``.
        long_texts: See ``TextEncoder``.
    """

    kind = "sentence-transformer"

    def __init__(self, max_length: int | None = None, long_texts: LongTexts = "truncate") -> None:
        super().__init__(max_length=max_length, long_texts=long_texts)
        self.pooling = "model"

    def load(self, files: ModelFiles) -> None:
        """Load the model, and what its files say of it."""
        self._settings = read_modules(files)
        super().load(files)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Also pooling, unit length and prompt."""
        return super().preprocessing | {
            "pooling": self._settings.pooling,
            "unit_length": self._settings.unit_length,
            "prompt": self._settings.prompt,
        }

    def encode(self, inputs: "Mapping[str, Tensor]") -> "Tensor":
        """Pooled as ``1_Pooling/config.json`` says."""
        return self.pooled(inputs, self._settings.pooling)

    def finish(self, vectors: "Tensor") -> "Tensor":
        """Unit length, if the model has a Normalize module."""
        from torch.nn.functional import normalize

        return normalize(vectors, dim=1) if self._settings.unit_length else vectors

    def preparation(self, files: Files, batch_size: int) -> TextPreparation:
        """Texts behind the model's default prompt, lowered where it says so."""
        return dataclasses.replace(
            super().preparation(files, batch_size),
            before=self._settings.prompt,
            lower=self._settings.lower,
        )

    def _choose_length(self, limit: int) -> int:
        return super()._choose_length(min(limit, self._settings.max_length or limit))


def pooled_tokens(hidden: "Tensor", mask: "Tensor", pooling: str) -> "Tensor":
    """Pool the tokens of a layer in float32.

    Args:
        hidden: ``[b, T, d]``.
        mask: bool ``[b, T]``, false where padding is, which is behind the tokens.
        pooling: ``mean``, ``cls``, ``max`` or ``last``.

    Returns:
        ``[b, d]``.
    """
    import torch

    hidden = hidden.float()
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]
    mask = mask.unsqueeze(-1)
    if pooling == "max":
        return hidden.masked_fill(~mask, -math.inf).amax(1)
    return (hidden * mask).sum(1) / mask.sum(1)
