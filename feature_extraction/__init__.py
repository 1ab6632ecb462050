"""Raw inputs of items to aligned feature arrays on disk.

Data flows through the rooms in this order: `tables` → `items` → `encoders` → `stores` →
`extraction` → `cli`. An encoder kind of one's own is a subclass of `Encoder` (or `ImageEncoder`,
`TextEncoder`), a raw modality of one's own one of `RawModality` or `FileModality`.
"""

from feature_extraction.encoders.encoder import Encoder, register_encoder
from feature_extraction.encoders.image_encoders import ImageEncoder
from feature_extraction.encoders.model_files import ModelFiles
from feature_extraction.encoders.spec import EncoderSpec
from feature_extraction.encoders.text_encoders import TextEncoder
from feature_extraction.errors import FeatureError, InputError, TableError, UserFacingError
from feature_extraction.extraction.config import ExtractionConfig
from feature_extraction.extraction.extract import extract
from feature_extraction.extraction.keys import content_key
from feature_extraction.items.files import Files
from feature_extraction.items.images import ImageModality
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
