"""Encoders whose model is loaded through transformers: a base of image and text encoders."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from feature_extraction.encoders.encoder import Encoder
from feature_extraction.encoders.model_files import ModelFiles
from feature_extraction.errors import FeatureError

if TYPE_CHECKING:
    from torch import Tensor


class PretrainedEncoder(Encoder):
    """A frozen model out of a folder or hub id, as ``save_pretrained`` writes it.

    A subclass of ``ImageEncoder`` or ``TextEncoder`` says which models it takes, and pools.
    """

    expected: ClassVar[str] = "a model that this kind of encoder can use"
    """What ``fits`` asks for, in words."""
    unused_weights: ClassVar[tuple[str, ...]] = ()
    """Beginnings of names of weights that may lack."""

    files: ModelFiles
    """The model's files; ``load`` sets it."""
    model: Any
    """The model of transformers, or the ``part`` of it; ``load`` sets it."""
    missing_weights: list[str]
    """Names of unused weights that the files lack; ``load`` sets it."""

    def load(self, files: ModelFiles) -> None:
        """Load the model.

        Raises:
            FeatureError: It cannot be loaded, or is of another kind.
        """
        from feature_extraction.encoders.loading import load_model

        self.files = files
        model, self.missing_weights = load_model(
            files,
            self.device,
            self.dtype,
            fits=self.fits,
            expected=self.expected,
            unused_weights=self.unused_weights,
        )
        self.model = self.part(model)

    def fits(self, config: Any) -> bool:
        """Whether a model configuration of transformers is one that this encoder can use."""
        return True

    def part(self, model: Any) -> Any:
        """Return the part of a loaded model that is run; by default all of it."""
        return model


def require_weights_of_pooler(encoder: PretrainedEncoder) -> None:
    """Refuse a pooler whose weights are not in the model's files, as they would be random.

    Raises:
        FeatureError: They are not there.
    """
    if encoder.missing_weights:
        raise FeatureError(
            f"the weights of {encoder.files.name} lack {encoder.missing_weights[0]}",
            expected="a checkpoint with its pooler",
            fix="choose pooling cls or mean, or the checkpoint that was trained with a pooler",
        )


def pooler_output(encoder: PretrainedEncoder, output: Any) -> "Tensor":
    """Return the model's own pooled output.

    Raises:
        FeatureError: It has none.
    """
    pooled: Tensor | None = getattr(output, "pooler_output", None)
    if pooled is None:
        raise FeatureError(
            f"{encoder.files.name} is a {encoder.model.config.model_type!r} model without a pooler",
            expected="another pooling",
            fix="choose pooling mean, max or cls",
        )
    return pooled


def require_repeatable(encoder: PretrainedEncoder, inputs: Mapping[str, Any]) -> None:
    """Refuse a model that gives something else each time, such as one that masks at random.

    Args:
        encoder: A loaded encoder.
        inputs: A batch.

    Raises:
        FeatureError: Twice the same batch gave different vectors.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        first, second = encoder(inputs), encoder(inputs)
    difference = (first - second).abs().amax().item()
    if not difference <= 1e-3 * first.abs().amax().item():  # a GPU may round differently
        raise FeatureError(
            f"{encoder.files.name} gives vectors that differ by {difference:.2g} for the same "
            "input, or are not finite",
            expected="a model that gives the same vector each time",
            fix="switch off what is drawn at random in its config.json (mask_ratio: 0), or take "
            "another model",
        )
