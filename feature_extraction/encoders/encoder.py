"""The contract of an encoder kind: what it reads, how it loads, and how inputs become vectors.

All kinds are subclasses of `Encoder`, those of this package too. A configuration names one by its
class path, `my_package.MyEncoder`, or by the short name in its attribute `kind`.

Shapes: b inputs of a batch, n items, d feature size.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from feature_extraction.encoders.model_files import ModelFiles
from feature_extraction.encoders.preparation import InputPreparation, Preparation, as_values, stack
from feature_extraction.errors import FeatureError
from feature_extraction.items.input_files import Files
from feature_extraction.items.raw_modality import RawModality

if TYPE_CHECKING:  # torch takes seconds to import; to name a kind and to reuse a store needs none
    import torch
    from torch import Tensor


class Encoder(ABC):
    """A frozen encoder: turns the raw inputs of one modality into vectors.

    A subclass sets ``reads``, and writes ``load`` and ``encode``; what is to happen before the
    model, such as scaling, is its ``transform``. Its constructor takes the options of the kind in
    plain types (numbers, texts, lists of them), keeps them, and does no more: it is called before
    anything is computed, to check them. ``EncoderSpec.options`` gives them.

    Nothing of the class has to be pickled but itself and what ``transform`` returns: extraction
    over several processes imports the class by its name in each of them, so it has to stand at
    the top of a module that can be imported.
    """

    kind: ClassVar[str] = ""
    """A short name beside the class path; known once the class is imported (``--plugins``)."""
    reads: RawModality
    """What it reads: an attribute of the class, or set by the constructor."""
    needs: ClassVar[tuple[str, ...]] = ("config.json",)
    """Files that its model folder has to hold. Empty: it has no files, and needs no name."""
    whole_shards: bool = False
    """Whether ``preparation`` wants all items of a shard at once, not about a batch of them."""
    pieces: int = 1
    """How many inputs of the model a raw input may become, such as pieces of a sound; so much less
    is prepared at once."""
    pooling: str = "model"
    """What the manifest calls its pooling; ``model`` where the model does it by itself."""
    long_inputs: str = "truncated"
    """What the manifest calls the inputs that ``preparation`` counted as too long."""

    dim: int
    """Feature size d; ``load`` sets it."""
    device: "torch.device"
    """Where it runs; set before ``load``."""
    dtype: "torch.dtype"
    """What it is asked to compute in; set before ``load``."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__dict__.get("kind"):
            register_encoder(cls.kind, cls)

    @abstractmethod
    def load(self, files: ModelFiles) -> None:
        """Load the model onto ``self.device`` in ``self.dtype``, and set ``self.dim``.

        Args:
            files: The identified files behind ``EncoderSpec.name``. Nothing else may be read, so
                that the content key holds all that features depend on.

        Raises:
            FeatureError: They cannot be used.
        """

    @abstractmethod
    def encode(self, inputs: "Mapping[str, Tensor]") -> "Tensor":
        """Encode a batch; gradients are off.

        Args:
            inputs: What ``transform`` gave, by name, b of each (see ``collate``), on
                ``self.device``; real numbers in ``self.dtype``.

        Returns:
            Vectors ``[b, d]``.
        """

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What is done to inputs, for the manifest, as JSON values; asked for after ``load``."""
        return {}

    def transform(self) -> Callable[[Any], Mapping[str, Any]]:
        """Return what turns one decoded input into arrays by name; without: ``{"values": it}``.

        It runs on the CPU in workers: a function of a module, a `functools.partial` of one, or an
        object that can be pickled. It may raise ``InputError``.
        """
        return as_values

    @staticmethod
    def collate(inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Put what ``transform`` gave for b inputs into one batch; they are stacked by name."""
        return stack(inputs)

    def preparation(self, files: Files, batch_size: int) -> Preparation:
        """Return what turns items into batches: each input read, transformed, collated.

        To override where inputs are not prepared one by one.

        Args:
            files: Where files of the modality are.
            batch_size: Largest b.
        """
        return InputPreparation(self.reads, files, self.transform(), self.collate, batch_size)

    def finish(self, vectors: "Tensor") -> "Tensor":
        """Change the vectors of whole items ``[n, d]`` (means, where there were several inputs)."""
        return vectors

    def __call__(self, inputs: Mapping[str, Any]) -> "Tensor":
        """Encode a batch of arrays or tensors to ``[b, d]`` float32 on the device."""
        import torch

        moved = {}
        with torch.inference_mode():
            for name, values in inputs.items():
                tensor = torch.as_tensor(values)
                dtype = self.dtype if tensor.is_floating_point() else tensor.dtype
                moved[name] = tensor.to(self.device, dtype, non_blocking=True)
            return self.encode(moved).float()


_KINDS: dict[str, type[Encoder]] = {}


def register_encoder(kind: str, encoder: type[Encoder]) -> None:
    """Give an encoder kind a short name; a subclass with an attribute ``kind`` has one already.

    Args:
        kind: The name.
        encoder: The class.

    Raises:
        FeatureError: Another class has the name.
    """
    known = _KINDS.get(kind, encoder)
    if class_path(known) != class_path(encoder):  # a module that is loaded anew is no other
        raise FeatureError(
            f"the kind {kind!r} exists: {class_path(known)}",
            expected=f"another name than {', '.join(_KINDS)}",
            fix=f"choose another name for {class_path(encoder)}",
        )
    _KINDS[kind] = encoder


def short_names() -> list[str]:
    """Names of all kinds that are known by one."""
    return sorted(_KINDS)


def class_path(encoder: type[Encoder]) -> str:
    """``package.module.Class``."""
    return f"{encoder.__module__}.{encoder.__qualname__}"


def encoder_class(kind: str) -> type[Encoder]:
    """Find a kind by its short name or class path, whose module is imported.

    Raises:
        FeatureError: There is no such encoder.
    """
    if kind in _KINDS:
        return _KINDS[kind]
    module, _, name = kind.rpartition(".")
    if not all(part.isidentifier() for part in kind.split(".")) or not module:
        raise FeatureError(
            f"kind is {kind!r}",
            expected=f"{', '.join(short_names())}, or a class path such as my_package.MyEncoder",
            fix="choose one of these; a short name of a plug-in needs --plugins my_package",
        )
    try:
        candidate = getattr(import_module(module), name, None)
    except ImportError as error:
        raise FeatureError(
            f"kind is {kind!r}, and {module} cannot be imported ({error})",
            expected="package.module.Class in a module that Python finds",
            fix="install the package, put its folder on PYTHONPATH, or mend what it imports",
        ) from error
    if not (isinstance(candidate, type) and issubclass(candidate, Encoder)):
        raise FeatureError(
            f"kind is {kind!r}, which is {'not there' if candidate is None else 'no encoder'}",
            expected="a subclass of feature_extraction.Encoder",
            fix=f"check the name in {module}",
        )
    return candidate
