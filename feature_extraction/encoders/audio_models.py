"""The kind ``audio``: sound models of transformers, over pieces of a sound.

Shapes: b pieces, s samples of a piece, T frames or patches, d feature size.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from feature_extraction.encoders.audio_preparation import AudioPreparation
from feature_extraction.encoders.hidden_layers import HiddenLayers, checked_layers
from feature_extraction.encoders.model_files import ModelFiles
from feature_extraction.encoders.pretrained import PretrainedEncoder, require_repeatable
from feature_extraction.errors import FeatureError
from feature_extraction.extras import extra_library
from feature_extraction.items.input_files import Files
from feature_extraction.items.sounds import AudioModality

if TYPE_CHECKING:
    from torch import Tensor

_AST, _CLAP, _WHISPER = "audio-spectrogram-transformer", "clap", "whisper"
_WAVES = ("hubert", "wav2vec2", "wavlm")
_USUAL_PIECE = 10.0  # seconds, of models that take any length


class AudioModel(PretrainedEncoder):
    """A sound model: AST, Wav2Vec2, HuBERT, WavLM, the encoder of Whisper, or CLAP.

    A sound is mixed to one channel, brought to the model's rate, and cut into equal pieces of no
    more than the model's length; its vector is the mean of those of its pieces, without silent
    ones.

    Args:
        pooling: ``mean`` or ``max`` of the frames (of Whisper those with sound), ``cls``: the
            first token of AST, ``pooler``: AST's own pooled output, or CLAP's vector in the space
            of sounds and texts. None: the pooler of AST and CLAP, the mean of the others.
        layers: Layers to pool in place of the end of the model, see ``Layer``; not of CLAP.
        max_seconds: What is taken of a sound, from its beginning; longer ones are counted.
        piece_seconds: Longest piece; None is the model's own length.

    Raises:
        FeatureError: The options contradict each other.
    """

    kind = "audio"
    needs = ("config.json", "preprocessor_config.json")
    expected = f"a model of sounds: {_AST}, {_CLAP}, {', '.join(_WAVES)}, {_WHISPER}"
    unused_weights = ("decoder.",)
    long_inputs = "truncated"

    def __init__(
        self,
        pooling: Literal["mean", "max", "cls", "pooler"] | None = None,
        layers: int | str | list[int | str] | None = None,
        max_seconds: float = 60.0,
        piece_seconds: float | None = None,
    ) -> None:
        for name, seconds in (("max_seconds", max_seconds), ("piece_seconds", piece_seconds)):
            if seconds is not None and not 0.1 <= seconds <= 3600:
                raise FeatureError(
                    f"{name} is {seconds}",
                    expected="0.1 to 3600 seconds",
                    fix=f"choose another {name}, or leave it out",
                )
        self._layers = checked_layers(layers, pooling)
        self.reads: AudioModality = AudioModality(max_seconds)
        self.pooling = pooling or "auto"
        self._piece_seconds = piece_seconds
        self.pieces = math.ceil(max_seconds / (piece_seconds or _USUAL_PIECE))

    def fits(self, config: Any) -> bool:
        """The families that are known; CLAP has no layers to choose here."""
        self._family = config.model_type
        return self._family in (_AST, _CLAP, _WHISPER, *_WAVES)

    def load(self, files: ModelFiles) -> None:
        """Load the model and its feature extractor.

        Raises:
            FeatureError: It cannot be loaded, is of another kind, or has not what is asked for.
        """
        from feature_extraction.encoders.loading import load_feature_extractor

        extra_library("soundfile", "audio", "decoding sounds")
        super().load(files)
        self._settle_pooling()
        self.extractor = load_feature_extractor(files)
        self.rate = int(self.extractor.sampling_rate)
        longest = self._longest_piece()
        self.piece_seconds = min(
            self._piece_seconds or longest or _USUAL_PIECE, longest or math.inf
        )
        if self._piece_seconds is not None and self.piece_seconds < self._piece_seconds:
            raise FeatureError(
                f"piece_seconds is {self._piece_seconds:g} for {files.name}",
                expected=f"at most {longest:g} seconds, which the model takes at once",
                fix="lower piece_seconds, or leave it out",
            )
        noise = np.random.default_rng(0).normal(size=round(0.5 * self.rate)).astype(np.float32)
        tried = {name: [values] for name, values in self.transform()(noise).items()}
        self.dim = self(tried).shape[1]
        require_repeatable(self, tried)

    def part(self, model: Any) -> Any:
        """The encoder of Whisper; all of any other."""
        part = model.get_encoder() if self._family == _WHISPER else model
        self._hidden = HiddenLayers(part, self._layers)
        return part

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Rate, how sounds are cut, and the columns of each chosen layer."""
        return {
            "rate": self.rate,
            "channels": "mean",
            "piece_seconds": self.piece_seconds,
            "max_seconds": self.reads.max_seconds,
            **self._hidden.preprocessing,
        }

    def transform(self) -> "Callable[[NDArray[np.float32]], Mapping[str, Any]]":
        """What the model takes of the samples of a piece."""
        return _Extracted(self.extractor, self.rate, self._family)

    def preparation(self, files: Files, batch_size: int) -> AudioPreparation:
        """Decode, resample and cut."""
        return AudioPreparation(
            self.reads, files, self.rate, self.piece_seconds, self.transform(), batch_size
        )

    def encode(self, inputs: "Mapping[str, Tensor]") -> "Tensor":
        """Pool the end of the model, or each chosen layer."""
        named = {name: values for name, values in inputs.items() if name != "samples"}
        samples = inputs["samples"]
        if self._family == _CLAP:
            vectors: Tensor = self.model.get_audio_features(**named).pooler_output
            return vectors
        if self._layers:
            return self._hidden(named, lambda hidden: self._pooled(hidden, samples))
        output = self.model(**named)
        if self.pooling == "pooler":
            whole: Tensor = output.pooler_output
            return whole
        return self._pooled(output.last_hidden_state, samples)

    def _pooled(self, hidden: "Tensor", samples: "Tensor") -> "Tensor":
        """``[b, T, d]`` or ``[b, d]`` to ``[b, d]`` in float32."""
        hidden = hidden.float()
        if hidden.ndim == 2:
            return hidden
        if hidden.ndim != 3:
            raise FeatureError(
                f"a layer gives {list(hidden.shape)}",
                expected="frames of shape [b, T, d], or a vector [b, d]",
                fix="choose another layer",
            )
        if self.pooling == "cls":
            return hidden[:, 0]
        if self._family == _AST:
            hidden = hidden[:, 2:]  # behind the tokens for class and distillation
        elif self._family == _WHISPER:  # whose frames are always those of 30 seconds
            # All pieces of a batch are of one length.
            total = int(self.extractor.n_samples)
            hidden = hidden[:, : max(1, math.ceil(hidden.shape[1] * int(samples[0]) / total))]
        return hidden.mean(1) if self.pooling == "mean" else hidden.amax(1)

    def _settle_pooling(self) -> None:
        """Choose the usual pooling, or refuse one that the family does not have."""
        takes = {_AST: ["pooler", "mean", "max", "cls"], _CLAP: ["pooler"]}.get(
            self._family, ["mean", "max"]
        )
        if self._layers:
            takes = [one for one in takes if one != "pooler"]
        if self.pooling == "auto" and takes:
            self.pooling = takes[0]
        if self.pooling not in takes:
            chosen = f"pooling {self.pooling!r}" + (" of layers" if self._layers else "")
            raise FeatureError(
                f"{chosen} of a {self._family!r} model",
                expected=" or ".join(takes) or "no layers: CLAP gives its own vector alone",
                fix="choose another one, or leave it out",
            )

    def _longest_piece(self) -> float | None:
        """Seconds that the model takes at once; None: any number."""
        extractor = self.extractor
        if self._family == _AST:  # a frame of its spectrogram is 10 ms
            return float(extractor.max_length) / 100
        if self._family == _WHISPER:
            return float(extractor.n_samples) / self.rate
        if self._family == _CLAP:
            return float(extractor.nb_max_samples) / self.rate
        return None


@dataclass(frozen=True)
class _Extracted:
    """A feature extractor of transformers, applied to one piece."""

    extractor: Any
    rate: int
    family: str

    def __call__(self, samples: NDArray[np.float32]) -> dict[str, Any]:
        state = np.random.get_state()  # noqa: NPY002 (CLAP's extractor draws from it)
        arrays = self.extractor(samples, sampling_rate=self.rate, return_tensors="np")
        np.random.set_state(state)  # noqa: NPY002
        inputs = {name: values[0] for name, values in arrays.items() if name.startswith("input_")}
        if self.family == _CLAP:  # no piece is longer than the model takes
            inputs["is_longer"] = np.zeros(1, np.bool_)
        return {**inputs, "samples": np.int64(len(samples))}
