"""Raw inputs of items to aligned feature arrays on disk.

Data flows through the rooms in this order: `tables` → `items` → `encoders` → `stores` →
`extraction` → `cli`; `downloads` stands beside them. An encoder kind of one's own is a subclass of
`Encoder` (or `ImageEncoder`, `TextEncoder`), a raw modality of one's own one of `RawModality` or
`FileModality`.

A name is imported once it is asked for: who needs the errors alone does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feature_extraction.encoders.encoder import Encoder, register_encoder
    from feature_extraction.encoders.image_encoders import ImageEncoder
    from feature_extraction.encoders.model_files import ModelFiles
    from feature_extraction.encoders.spec import EncoderSpec
    from feature_extraction.encoders.text_encoders import TextEncoder
    from feature_extraction.errors import FeatureError, InputError, TableError, UserFacingError
    from feature_extraction.extraction.extract import extract
    from feature_extraction.extraction.extraction_config import ExtractionConfig
    from feature_extraction.extraction.keys import content_key
    from feature_extraction.items.images import ImageModality
    from feature_extraction.items.input_files import Files
    from feature_extraction.items.inputs import Item, ItemInputs, ItemSource
    from feature_extraction.items.raw_modality import FileModality, RawModality
    from feature_extraction.items.texts import TextModality
    from feature_extraction.stores.store import FeatureStore, write_store

__all__ = [
    "Encoder",
    "EncoderSpec",
    "ExtractionConfig",
    "FeatureError",
    "FeatureStore",
    "FileModality",
    "Files",
    "ImageEncoder",
    "ImageModality",
    "InputError",
    "Item",
    "ItemInputs",
    "ItemSource",
    "ModelFiles",
    "RawModality",
    "TableError",
    "TextEncoder",
    "TextModality",
    "UserFacingError",
    "content_key",
    "extract",
    "register_encoder",
    "write_store",
]

_NAMES = {
    "encoders.encoder": (
        "Encoder",
        "register_encoder",
    ),
    "encoders.image_encoders": ("ImageEncoder",),
    "encoders.model_files": ("ModelFiles",),
    "encoders.spec": ("EncoderSpec",),
    "encoders.text_encoders": ("TextEncoder",),
    "errors": (
        "FeatureError",
        "InputError",
        "TableError",
        "UserFacingError",
    ),
    "extraction.extraction_config": ("ExtractionConfig",),
    "extraction.extract": ("extract",),
    "extraction.keys": ("content_key",),
    "items.input_files": ("Files",),
    "items.images": ("ImageModality",),
    "items.inputs": (
        "Item",
        "ItemInputs",
        "ItemSource",
    ),
    "items.raw_modality": (
        "FileModality",
        "RawModality",
    ),
    "items.texts": ("TextModality",),
    "stores.store": (
        "FeatureStore",
        "write_store",
    ),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Imports the module that has a public name."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
