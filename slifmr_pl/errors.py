"""Errors of the training package; all carry found / expected / fix, with file and row."""

from feature_extraction.errors import FeatureError, TableError, UserFacingError


class DataError(UserFacingError):
    """Interactions, items, knowledge graph or links that cannot be trained on as they are."""


class ConfigError(UserFacingError):
    """A configuration that contradicts itself or the data."""


class CheckpointError(UserFacingError):
    """A checkpoint that is damaged, foreign, or does not fit the data."""


class RunError(UserFacingError):
    """A run's folder that lacks what is asked of it, or runs that cannot be compared."""


class ProcessError(UserFacingError):
    """Processes of one run that no longer hold the same model, or of which one is gone."""


__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "FeatureError",
    "ProcessError",
    "RunError",
    "TableError",
    "UserFacingError",
]
