"""Which encoder to run and how its output becomes one vector per item."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from feature_extraction.errors import FeatureError

Reads = Literal["image", "text"]
Pooling = Literal["mean", "cls"]
LongTexts = Literal["truncate", "head+tail", "chunk+mean"]
Dtype = Literal["float32", "float16"]
Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class EncoderKind:
    """What all encoders of one kind have in common.

    Args:
        reads: Whether they take images or texts.
        poolings: What ``EncoderSpec.pooling`` may be, the default first; None is the model's own.
        factory: Called with spec, identity and device; gives an ``ImageEncoder`` or a
            ``TextEncoder``. None for the kinds of this package.
    """

    reads: Reads
    poolings: tuple[Pooling | None, ...] = (None,)
    factory: Callable[..., Any] | None = None


KINDS: dict[str, EncoderKind] = {
    # Older configurations name the mean for CLIP, which pools by itself.
    "clip-image": EncoderKind("image", (None, "mean")),
    "clip-text": EncoderKind("text", (None, "mean")),
    "siglip-image": EncoderKind("image"),
    "siglip-text": EncoderKind("text"),
    "vit": EncoderKind("image", ("cls", "mean")),
    "bert": EncoderKind("text", ("mean", "cls")),
    "sentence-transformer": EncoderKind("text"),
}
"""All kinds by name; ``register_encoder`` adds to it."""


def register_encoder(kind: str, reads: Reads, factory: Callable[..., Any]) -> None:
    """Make a kind of encoder known under a name, for ``EncoderSpec`` and the command line.

    Args:
        kind: The new name.
        reads: Whether it takes images or texts.
        factory: A subclass of ``ImageEncoder`` or ``TextEncoder``. Defined in a module that can
            be imported, where several devices are to run it.

    Raises:
        FeatureError: The name is taken.
    """
    if kind in KINDS:
        raise FeatureError(
            f"the kind {kind!r} exists",
            expected=f"another name than {', '.join(KINDS)}",
            fix="choose another name",
        )
    KINDS[kind] = EncoderKind(reads, factory=factory)


@dataclass(frozen=True)
class EncoderSpec:
    """A frozen encoder and how its output becomes one vector per item.

    Args:
        kind: ``clip-image``, ``clip-text``, ``siglip-image``, ``siglip-text``: a tower of such a
            model; ``vit``: a vision transformer (ViT, DINOv2); ``bert``: the last layer of any
            encoder-only text model; ``sentence-transformer``: a model with ``modules.json``; or
            a kind that ``register_encoder`` added.
        name: Hub id such as ``openai/clip-vit-base-patch32``, a local model folder, or
            ``package:PACKAGE/FOLDER`` for model files that an installed package carries.
        revision: Commit hash, tag or branch of a hub id; None is the newest.
        pooling: ``bert`` and ``vit`` only: mean over the tokens (``bert``: special tokens
            included, padding not; ``vit``: patches), or the first token. None is the kind's
            usual: the mean of ``bert``, the first token of ``vit``.
        max_length: Tokens that the model sees of a text at once; None is the model's own limit.
        dtype: Type that the features are stored in.
        precision: Type that the encoder computes in.
        long_texts: What becomes of a text of more than ``max_length`` tokens: its beginning
            (``truncate``), its first and last half of that many (``head+tail``), or the mean of
            the vectors of all its pieces (``chunk+mean``).

    Raises:
        FeatureError: A value is unknown, or does not belong to this kind of encoder.
    """

    kind: str
    name: str
    revision: str | None = None
    pooling: Pooling | None = None
    max_length: int | None = None
    dtype: Dtype = "float32"
    precision: Precision = "float32"
    long_texts: LongTexts = "truncate"

    def __post_init__(self) -> None:
        for field, choices in (
            ("kind", tuple(KINDS)),
            ("pooling", (*get_args(Pooling), None)),
            ("dtype", get_args(Dtype)),
            ("precision", get_args(Precision)),
            ("long_texts", get_args(LongTexts)),
        ):
            value = getattr(self, field)
            if value not in choices:
                raise FeatureError(
                    f"{field} is {value!r}",
                    expected=" or ".join(map(repr, choices)),
                    fix=f"choose one of these for {field}",
                )
        if not self.name.strip():
            raise FeatureError(
                "the encoder has no name",
                expected="a hub id or a local model folder",
                fix="name one, e.g. openai/clip-vit-base-patch32",
            )
        if self.pooling is not None and self.pooling not in KINDS[self.kind].poolings:
            raise FeatureError(
                f"pooling {self.pooling!r} with a {self.kind} encoder",
                expected="a choice of pooling only for bert and vit; the others pool by themselves",
                fix="leave pooling out, or use another kind",
            )
        self._check_lengths()

    @property
    def reads(self) -> Reads:
        """Whether the encoder takes images or texts."""
        return KINDS[self.kind].reads

    @property
    def pools_by(self) -> str:
        """The pooling that applies; ``model`` where the model does it by itself."""
        poolings = KINDS[self.kind].poolings
        if poolings[0] is None:
            return "model"
        return self.pooling or poolings[0]

    def _check_lengths(self) -> None:
        is_text = self.reads == "text"
        if self.max_length is not None and (not is_text or self.max_length < 1):
            raise FeatureError(
                f"max_length is {self.max_length} for a {self.kind} encoder",
                expected="a positive number of tokens, for a text encoder",
                fix="raise max_length" if is_text else "leave max_length out",
            )
        if self.long_texts != "truncate" and not is_text:
            raise FeatureError(
                f"long_texts is {self.long_texts!r} for a {self.kind} encoder",
                expected="a policy only for a text encoder",
                fix="leave long_texts out",
            )
