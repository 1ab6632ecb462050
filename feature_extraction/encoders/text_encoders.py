"""Text encoders: tokens to one vector per text.

Shapes: b texts, T tokens, d feature size.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from feature_extraction.encoders.frozen import FrozenEncoder
from feature_extraction.encoders.identity import EncoderIdentity
from feature_extraction.encoders.loading import load_tokenizer, position_limit
from feature_extraction.encoders.preparation import TextPreparation, special_tokens
from feature_extraction.encoders.sentence_modules import read_modules
from feature_extraction.encoders.spec import EncoderSpec
from feature_extraction.errors import FeatureError
from feature_extraction.items.pictures import Pictures


class TextEncoder(FrozenEncoder):
    """A tokenizer and a text model; a subclass pools.

    Raises:
        FeatureError: The model cannot be loaded, is of another kind, or lacks its vocabulary.
    """

    pads_fully: ClassVar[bool] = False
    """Whether the model wants every text padded to all its positions, as it was trained."""

    def __init__(self, spec: EncoderSpec, identity: EncoderIdentity, device: torch.device) -> None:
        super().__init__(spec, identity, device)
        config = self.model.config
        self._config = getattr(config, "text_config", None) or config
        self.tokenizer = load_tokenizer(spec, identity, self._config.vocab_size)
        self._limit = min(
            int(self.tokenizer.model_max_length), position_limit(self.model, self._config)
        )
        self._special = special_tokens(self.tokenizer)
        self.max_length = self._choose_length(self._limit)
        tokens = self.tokenizer("a")["input_ids"]
        tried = {"input_ids": [tokens], "attention_mask": [[True] * len(tokens)]}
        self.dim = self.encode(tried).shape[1]
        self.preprocessing = {"max_length": self.max_length, "long_texts": spec.long_texts}

    def preparation(self, pictures: Pictures, batch_size: int) -> TextPreparation:
        """Return what happens before ``encode``."""
        return TextPreparation(
            self.tokenizer,
            self._special,
            self.max_length,
            self.spec.long_texts,
            batch_size,
            pad_to=self._limit if self.pads_fully else None,
        )

    def _choose_length(self, limit: int) -> int:
        special = sum(map(len, self._special))
        length = limit if self.spec.max_length is None else self.spec.max_length
        if special < length <= limit:
            return length
        raise FeatureError(
            f"max_length is {length} for {self.spec.name}",
            expected=f"at least {special + 1} and at most {limit} tokens",
            fix="leave max_length out, or choose one in this range",
        )


class ClipText(TextEncoder):
    """The projected text tower of a CLIP model."""

    expected = "a 'clip' model"

    def fits(self, config: Any) -> bool:
        """Only CLIP."""
        return bool(config.model_type == "clip")

    def features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The projection of the end token."""
        found = self.model.get_text_features(input_ids=input_ids, attention_mask=attention_mask)
        vectors: Tensor = found.pooler_output
        return vectors


class SiglipText(TextEncoder):
    """The text tower of a SigLIP or SigLIP 2 model, which reads all positions, padded ones too."""

    expected = "a 'siglip' or 'siglip2' model"
    pads_fully = True

    def fits(self, config: Any) -> bool:
        """SigLIP, and SigLIP 2 of either form."""
        return config.model_type in ("siglip", "siglip2")

    def features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The head on the last position; these models were trained without a mask."""
        vectors: Tensor = self.model.get_text_features(input_ids=input_ids).pooler_output
        return vectors


class Bert(TextEncoder):
    """The last layer of an encoder-only text model, pooled as the spec says."""

    expected = "an encoder-only text model"
    unused_weights = ("pooler.",)

    def fits(self, config: Any) -> bool:
        """Any text model without a decoder."""
        return (
            hasattr(config, "vocab_size")
            and not hasattr(config, "vision_config")
            and not config.is_encoder_decoder
        )

    def features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The mean over tokens that are not padding, or the first token."""
        return self.pooled(input_ids, attention_mask, self.spec.pools_by)

    def pooled(self, input_ids: Tensor, attention_mask: Tensor, pooling: str) -> Tensor:
        """Pool the last layer in float32: ``mean``, ``cls`` or ``max``."""
        output = self.model(input_ids=input_ids, attention_mask=attention_mask)
        hidden: Tensor = output.last_hidden_state.float()  # [b, T, d]
        mask = attention_mask.unsqueeze(-1)
        if pooling == "cls":
            pooled = hidden[:, 0]
        elif pooling == "max":
            pooled = hidden.masked_fill(~mask, -torch.inf).amax(1)
        else:
            pooled = (hidden * mask).sum(1) / mask.sum(1)
        return pooled


class SentenceTransformer(Bert):
    """A model folder of sentence-transformers: length, pooling and unit length as it says.

    Modules of type Transformer, Pooling (mean, cls or max) and Normalize are known.
    """

    def __init__(self, spec: EncoderSpec, identity: EncoderIdentity, device: torch.device) -> None:
        self._settings = read_modules(spec, identity)
        super().__init__(spec, identity, device)
        self.preprocessing |= {
            "pooling": self._settings.pooling,
            "unit_length": self._settings.unit_length,
            "prompt": self._settings.prompt,
        }

    def features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Pooled as ``1_Pooling/config.json`` says."""
        return self.pooled(input_ids, attention_mask, self._settings.pooling)

    def finish(self, vectors: Tensor) -> Tensor:
        """Unit length, if the model has a Normalize module."""
        return normalize(vectors, dim=1) if self._settings.unit_length else vectors

    def preparation(self, pictures: Pictures, batch_size: int) -> TextPreparation:
        """Texts behind the model's default prompt, lowered where it says so."""
        return TextPreparation(
            self.tokenizer,
            self._special,
            self.max_length,
            self.spec.long_texts,
            batch_size,
            before=self._settings.prompt,
            lower=self._settings.lower,
        )

    def _choose_length(self, limit: int) -> int:
        return super()._choose_length(min(limit, self._settings.max_length or limit))
