"""Encoders whose model is loaded through transformers: a base of image and text encoders."""

from typing import Any, ClassVar

from feature_extraction.encoders.encoder import Encoder
from feature_extraction.encoders.model_files import ModelFiles


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
    """The model of transformers; ``load`` sets it."""

    def load(self, files: ModelFiles) -> None:
        """Load the model.

        Raises:
            FeatureError: It cannot be loaded, or is of another kind.
        """
        from feature_extraction.encoders.loading import load_model

        self.files = files
        self.model = load_model(
            files,
            self.device,
            self.dtype,
            fits=self.fits,
            expected=self.expected,
            unused_weights=self.unused_weights,
        )

    def fits(self, config: Any) -> bool:
        """Whether a model configuration of transformers is one that this encoder can use."""
        return True
