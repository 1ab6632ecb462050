"""Raw item images and texts to aligned feature arrays on disk."""

from feature_extraction.errors import FeatureError, TableError, UserFacingError
from feature_extraction.extract import extract
from feature_extraction.inputs import ItemInputs, content_key
from feature_extraction.spec import EncoderSpec
from feature_extraction.store import FeatureStore, write_store

__all__ = [
    "EncoderSpec",
    "FeatureError",
    "FeatureStore",
    "ItemInputs",
    "TableError",
    "UserFacingError",
    "content_key",
    "extract",
    "write_store",
]
