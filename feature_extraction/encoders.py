"""Load frozen text and image encoders through transformers and turn batches into vectors.

Shapes: B batch, T tokens, S image side, d feature size.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer, CLIPModel
from transformers.utils.logging import (
    disable_progress_bar,
    enable_progress_bar,
    is_progress_bar_enabled,
)

from feature_extraction.errors import FeatureError
from feature_extraction.images import PIXEL_LIMIT
from feature_extraction.spec import EncoderIdentity, EncoderSpec, damaged, unreachable

_COUNT_BATCH = 1024  # texts tokenised at once to count their tokens
_Loaded = TypeVar("_Loaded")


class TextEncoder:
    """A tokenizer and a text model that give one vector per text.

    Args:
        spec: A spec of kind ``clip-text`` or ``bert``.
        identity: What ``identify(spec)`` found.
        device: Where the model runs.

    Raises:
        FeatureError: The model cannot be loaded, is of another kind, or lacks its vocabulary.
    """

    def __init__(self, spec: EncoderSpec, identity: EncoderIdentity, device: torch.device) -> None:
        self._clip = spec.kind == "clip-text"
        self._pooling = spec.pooling
        self._device = device
        self._model = _load_model(spec, identity, device)
        self._tokenizer = _load_tokenizer(spec, identity, self._text_config)
        self.max_length = self._choose_length(spec)
        self.dim: int = (
            self._model.config.projection_dim if self._clip else self._text_config.hidden_size
        )
        self.preprocessing = {"max_length": self.max_length}

    @property
    def _text_config(self) -> Any:
        return self._model.config.text_config if self._clip else self._model.config

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text before it is cut, special tokens included."""
        counts: list[int] = []
        for start in range(0, len(texts), _COUNT_BATCH):
            batch = list(texts[start : start + _COUNT_BATCH])
            # Not verbose: what is too long is counted here and reported once by the caller.
            tokens = self._tokenizer(batch, truncation=False, verbose=False)["input_ids"]
            counts.extend(map(len, tokens))
        return counts

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Encode B texts, cut at ``max_length`` tokens.

        Returns:
            ``[B, d]`` float32 on the CPU. CLIP: the projected text features. BERT: the mean of
            the last layer over tokens that are not padding, or its first token.
        """
        tokens = self._tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self.max_length,
            return_tensors="pt",
        ).to(self._device)
        if self._clip:
            features = self._model.get_text_features(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            ).pooler_output
        else:
            hidden = self._model(**tokens).last_hidden_state  # [B, T, d]
            features = _pool(hidden, tokens["attention_mask"], self._pooling)
        return _on_cpu(features)

    def _choose_length(self, spec: EncoderSpec) -> int:
        limit = min(int(self._tokenizer.model_max_length), _position_limit(self._model, self._clip))
        special = self._tokenizer.num_special_tokens_to_add()
        length = limit if spec.max_length is None else spec.max_length
        if special < length <= limit:
            return length
        raise FeatureError(
            f"max_length is {length} for {spec.name}",
            expected=f"at least {special + 1} and at most {limit} tokens",
            fix="leave max_length out, or choose one in this range",
        )


class ImageEncoder:
    """A CLIP image tower with the preprocessing that it was trained with.

    Args:
        spec: A spec of kind ``clip-image``.
        identity: What ``identify(spec)`` found.
        device: Where the model runs.

    Raises:
        FeatureError: The model cannot be loaded, is no CLIP model, or its preprocessing gives
            another image size than it takes.
    """

    def __init__(self, spec: EncoderSpec, identity: EncoderIdentity, device: torch.device) -> None:
        self._device = device
        self._model = _load_model(spec, identity, device)
        # The Pillow backend gives the same pixels with and without torchvision.
        self._processor = _load(spec, identity, AutoImageProcessor.from_pretrained, backend="pil")
        self.dim: int = self._model.config.projection_dim
        self.preprocessing = _describe(self._processor)
        side = self._model.config.vision_config.image_size
        shape = tuple(self.preprocess(Image.new("RGB", (2 * side, side))).shape)
        if shape != (3, side, side):
            raise FeatureError(
                f"the image preprocessing of {spec.name} gives pixels of shape {shape}",
                expected=f"(3, {side}, {side}), which its image tower takes",
                fix="mend size and crop_size in preprocessor_config.json",
            )

    def preprocess(self, image: Image.Image) -> Tensor:
        """Scale, crop and normalise one RGB image; safe to call from several threads.

        Returns:
            ``[3, S, S]`` float32.
        """
        pixels: Tensor = self._processor(images=image, return_tensors="pt")["pixel_values"][0]
        return pixels

    @torch.inference_mode()
    def encode(self, pixels: Tensor) -> Tensor:
        """Encode preprocessed images ``[B, 3, S, S]`` to ``[B, d]`` float32 on the CPU."""
        output = self._model.get_image_features(pixel_values=pixels.to(self._device))
        return _on_cpu(output.pooler_output)


def resolve_device(device: str) -> torch.device:
    """Return the device for ``auto`` (CUDA where there is one, else CPU) or for a torch name.

    Raises:
        FeatureError: There is no such device here.
    """
    cuda = torch.cuda.is_available()
    if device == "auto":
        return torch.device("cuda" if cuda else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA fails an assertion
        raise FeatureError(
            f"the device {device!r} cannot be used",
            expected="'auto', 'cpu'" + (" or 'cuda'" if cuda else "; no CUDA device is here"),
            fix="choose another device",
        ) from error
    return chosen


def _pool(hidden: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """Pool ``[B, T, d]`` to ``[B, d]``; mean: Σ_t mask_t h_t / Σ_t mask_t."""
    if pooling == "cls":
        return hidden[:, 0]
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


def _on_cpu(features: Tensor) -> Tensor:
    return features.to("cpu", torch.float32)


@contextmanager
def quiet_weights() -> Iterator[None]:
    """Reads or writes weights without transformers' progress bars and without random numbers.

    Models draw initial weights before they load others: the caller's random state must not depend
    on whether features were extracted or reused.
    """
    shown = is_progress_bar_enabled()
    disable_progress_bar()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        if shown:
            enable_progress_bar()


def _load(
    spec: EncoderSpec, identity: EncoderIdentity, loader: Callable[..., _Loaded], **options: Any
) -> _Loaded:
    """Call a ``from_pretrained`` on exactly the identified files; remote code stays off."""
    try:
        with quiet_weights():
            return loader(
                identity.source,
                revision=identity.commit or "main",
                local_files_only=identity.is_local,
                trust_remote_code=False,
                **options,
            )
    except Exception as error:  # foreign model files fail in as many ways as there are parsers
        if identity.is_local:
            raise damaged(identity.source, error) from error
        raise unreachable(spec, error) from error


def _load_model(spec: EncoderSpec, identity: EncoderIdentity, device: torch.device) -> Any:
    config = _load(spec, identity, AutoConfig.from_pretrained)
    is_clip = config.model_type == "clip"
    if is_clip != (spec.kind != "bert") or config.is_encoder_decoder:
        raise FeatureError(
            f"{spec.name} is a {config.model_type!r} model",
            expected="a 'clip' model" if spec.kind != "bert" else "an encoder-only text model",
            fix="choose the kind that fits the model, or another model",
        )
    model, report = _load(
        spec,
        identity,
        CLIPModel.from_pretrained if is_clip else AutoModel.from_pretrained,
        use_safetensors=True,  # weights are never unpickled
        dtype=torch.float32,
        output_loading_info=True,
    )
    # Weights that the file lacks would be random; BERT's pooler is not used here.
    missing = sorted(key for key in report["missing_keys"] if is_clip or "pooler." not in key)
    if missing:
        raise FeatureError(
            f"the weights of {spec.name} lack {len(missing)} tensors, e.g. {missing[0]}",
            expected="all weights of the model that config.json describes",
            fix="use the complete checkpoint of this model",
        )
    return model.eval().to(device)


def _load_tokenizer(spec: EncoderSpec, identity: EncoderIdentity, text_config: Any) -> Any:
    tokenizer = _load(spec, identity, AutoTokenizer.from_pretrained)
    # Where the files are missing, transformers makes a tokenizer of special tokens only.
    known, taken = len(tokenizer), text_config.vocab_size
    special = len(set(tokenizer.all_special_ids))
    if not special < known <= taken or tokenizer.pad_token is None:
        raise FeatureError(
            f"the tokenizer of {spec.name} knows {known} tokens, {special} of them special, and "
            f"pads with {tokenizer.pad_token!r}",
            expected=f"a vocabulary of at most {taken} tokens, as the model has, and a pad token",
            fix="add the tokenizer files that belong to the model (tokenizer.json)",
        )
    tokenizer.padding_side = tokenizer.truncation_side = "right"  # keeps the first token first
    return tokenizer


def _position_limit(model: Any, clip: bool) -> int:
    """Return how many tokens the model has positions for; relative positions have no limit."""
    config = model.config.text_config if clip else model.config
    limit = getattr(config, "max_position_embeddings", None)
    if not isinstance(limit, int) or limit < 1:
        return 2**31
    # RoBERTa-like models count positions from padding_idx + 1.
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return limit if module.padding_idx is None else limit - module.padding_idx - 1
    return limit


def _describe(processor: Any) -> dict[str, Any]:
    settings = processor.to_dict()
    names = ("size", "crop_size", "rescale_factor", "image_mean", "image_std")
    described = {name: settings[name] for name in names if settings.get(name) is not None}
    described["resample"] = Image.Resampling(settings["resample"]).name.lower()
    return described | {"pixel_limit": PIXEL_LIMIT}
