"""Raw item images and texts to aligned feature arrays on disk."""

from feature_extraction.encoders.spec import EncoderSpec, register_encoder
from feature_extraction.errors import FeatureError, TableError, UserFacingError
from feature_extraction.extraction.config import ExtractionConfig
from feature_extraction.extraction.extract import extract
from feature_extraction.extraction.keys import content_key
from feature_extraction.items.inputs import Item, ItemInputs, ItemSource
from feature_extraction.stores.store import FeatureStore, write_store

__all__ = [
    "EncoderSpec",
    "ExtractionConfig",
    "FeatureError",
    "FeatureStore",
    "Item",
    "ItemInputs",
    "ItemSource",
    "TableError",
    "UserFacingError",
    "content_key",
    "extract",
    "register_encoder",
    "write_store",
]
