"""The kind ``text``: any text model that transformers loads, at its end or at chosen layers.

Shapes: b texts, T tokens, d feature size.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from feature_extraction.encoders.hidden_layers import HiddenLayers, checked_layers
from feature_extraction.encoders.model_files import ModelFiles
from feature_extraction.encoders.pretrained import (
    pooler_output,
    require_repeatable,
    require_weights_of_pooler,
)
from feature_extraction.encoders.text_encoders import TextEncoder, pooled_tokens
from feature_extraction.encoders.text_preparation import LongTexts

if TYPE_CHECKING:
    from torch import Tensor


class TextModel(TextEncoder):
    """A text model: an encoder (BERT, MPNet), a decoder (GPT-2), or the encoder of T5 or BART.

    Args:
        pooling: ``mean`` or ``max`` of the tokens that are not padding; ``cls`` or ``last``: the
            first or the last of them; ``pooler``: the model's own pooled output.
        layers: Layers to pool in place of the end of the model, see ``Layer``; the vectors of
            several are put one behind the other.
        max_length: See ``TextEncoder``.
        long_texts: See ``TextEncoder``.

    Raises:
        FeatureError: The options contradict each other.
    """

    kind = "text"
    expected = "a text model (of a model of images and texts: the kind clip)"
    unused_weights = ("pooler.", "decoder.")
    pads_with_end = True

    def __init__(
        self,
        pooling: Literal["mean", "max", "cls", "last", "pooler"] = "mean",
        layers: int | str | list[int | str] | None = None,
        max_length: int | None = None,
        long_texts: LongTexts = "truncate",
    ) -> None:
        super().__init__(max_length, long_texts)
        self._layers = checked_layers(layers, pooling)
        self.pooling = pooling

    def fits(self, config: Any) -> bool:
        """Models of texts alone."""
        return hasattr(config, "vocab_size") and not (
            hasattr(config, "vision_config") or hasattr(config, "num_channels")
        )

    def load(self, files: ModelFiles) -> None:
        """Load the model.

        Raises:
            FeatureError: See ``TextEncoder.load``; or the model has not what is asked for.
        """
        super().load(files)
        if self.pooling == "pooler":
            require_weights_of_pooler(self)
        tokens = self.tokenizer("a text")["input_ids"]
        require_repeatable(self, {"input_ids": [tokens], "attention_mask": [[True] * len(tokens)]})

    def part(self, model: Any) -> Any:
        """The encoder of a model that has a decoder, too; all of any other."""
        has_both = hasattr(model, "encoder") and hasattr(model, "decoder")
        part = model.get_encoder() if has_both else model
        self._hidden = HiddenLayers(part, self._layers)
        return part

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Also the columns of each chosen layer."""
        return super().preprocessing | self._hidden.preprocessing

    def encode(self, inputs: "Mapping[str, Tensor]") -> "Tensor":
        """Pool the end of the model, or each chosen layer."""
        mask = inputs["attention_mask"]

        def pooled(hidden: "Tensor") -> "Tensor":
            vectors = hidden.ndim == 2
            return hidden.float() if vectors else pooled_tokens(hidden, mask, self.pooling)

        if self._layers:
            return self._hidden(inputs, pooled)
        output = self.model(**inputs)
        if self.pooling == "pooler":
            return pooler_output(self, output)
        return pooled(output.last_hidden_state)
