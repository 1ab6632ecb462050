"""Which encoder to run and how its output becomes one vector per item."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from feature_extraction.encoders.encoder import Encoder, encoder_class
from feature_extraction.encoders.options import construct_encoder
from feature_extraction.encoders.text_preparation import LongTexts
from feature_extraction.errors import FeatureError
from feature_extraction.items.raw_modality import RawModality

Pooling = Literal["mean", "cls", "max", "last", "pooler"]
Dtype = Literal["float32", "float16"]
Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class EncoderSpec:
    """A frozen encoder and how its output becomes one vector per item.

    Args:
        kind: ``image``: any vision model; ``text``: any text model; ``clip``: either side of a
            model of images and texts; ``sentence-transformer``: a model with ``modules.json``;
            ``bert``, ``vit``, ``clip-image``, ``clip-text``, ``siglip-image``, ``siglip-text``:
            what these are for one family; or the class path of a subclass of ``Encoder``, or its
            short name.
        name: Hub id such as ``openai/clip-vit-base-patch32``, a local model folder, or
            ``package:PACKAGE/FOLDER`` for model files that an installed package carries. Empty
            for a kind without model files.
        revision: Commit hash, tag or branch of a hub id; None is the newest.
        pooling: How the tokens or patches of a layer become one vector, of kinds that have a
            choice: their mean (special tokens of texts included, padding not) or maximum, the
            first (``cls``) or the last one, or what the model's own ``pooler`` gives. Each kind
            says what it takes. None is the kind's usual.
        max_length: Tokens that the model sees of a text at once; None is the model's own limit.
        dtype: Type that the features are stored in.
        precision: Type that the encoder computes in.
        long_texts: What becomes of a text of more than ``max_length`` tokens: its beginning
            (``truncate``), its first and last half of that many (``head+tail``), or the mean of
            the vectors of all its pieces (``chunk+mean``).
        options: More arguments of the kind's constructor, in plain types.
        reduce: Columns that are kept: the principal components of the items' features. None
            keeps the features as they are.
        whiten: Whether each of these columns gets variance 1.

    Raises:
        FeatureError: A value is unknown, or does not belong to this kind of encoder.
    """

    kind: str
    name: str = ""
    revision: str | None = None
    pooling: Pooling | None = None
    max_length: int | None = None
    dtype: Dtype = "float32"
    precision: Precision = "float32"
    long_texts: LongTexts = "truncate"
    options: Mapping[str, Any] = field(default_factory=dict)
    reduce: int | None = None
    whiten: bool = False

    def __post_init__(self) -> None:
        for name, choices in (("dtype", get_args(Dtype)), ("precision", get_args(Precision))):
            value = getattr(self, name)
            if value not in choices:
                raise FeatureError(
                    f"{name} is {value!r}",
                    expected=" or ".join(map(repr, choices)),
                    fix=f"choose one of these for {name}",
                )
        if (self.reduce is None and self.whiten) or (self.reduce is not None and self.reduce < 1):
            raise FeatureError(
                "whiten without reduce" if self.whiten else f"reduce is {self.reduce}",
                expected="reduce: a positive number of columns",
                fix="say how many columns to keep, or leave both out",
            )
        encoder = self.encoder()  # which checks kind and options
        if not self.name.strip() and encoder.needs:
            raise FeatureError(
                "the encoder has no name",
                expected="a hub id or a local model folder",
                fix="name one, e.g. openai/clip-vit-base-patch32",
            )

    @property
    def cls(self) -> type[Encoder]:
        """The class of the kind."""
        return encoder_class(self.kind)

    @property
    def arguments(self) -> dict[str, Any]:
        """All arguments of the kind's constructor."""
        named: dict[str, Any] = {"pooling": self.pooling, "max_length": self.max_length}
        if self.long_texts != "truncate":
            named["long_texts"] = self.long_texts
        return {**self.options, **{name: one for name, one in named.items() if one is not None}}

    @property
    def reads(self) -> RawModality:
        """What the encoder reads."""
        return self.encoder().reads

    def encoder(self) -> Encoder:
        """Return a new encoder of the kind, with nothing loaded."""
        return construct_encoder(self.kind, self.cls, self.arguments)
