"""Errors of the training package; all carry found / expected / fix, with file and row."""

import errno
from pathlib import Path
from typing import Self

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


class DivergenceError(UserFacingError):
    """Training whose losses or weights are no longer finite."""


class StorageError(UserFacingError):
    """A disk or a folder that does not take what has to be written."""

    @staticmethod
    def is_meant(error: OSError) -> bool:
        """Whether the system says that something cannot be written; full disks and their like."""
        return error.errno in _STORAGE

    @classmethod
    def of(cls, error: OSError, path: str | Path | None = None) -> Self:
        """What the system said about a file, by default the one that it named.

        Args:
            error: Of the system.
            path: The file.
        """
        return cls(
            f"cannot be written ({error.strerror or error})",
            expected="a folder with enough space that this user may write to",
            fix="free space or choose another folder (of runs: trainer.default_root_dir); what "
            "was saved before is whole, and `fit --ckpt_path last` goes on from it",
            path=path or error.filename,
        )


_STORAGE = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO")
    if hasattr(errno, name)
}


__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DivergenceError",
    "FeatureError",
    "ProcessError",
    "RunError",
    "StorageError",
    "TableError",
    "UserFacingError",
]
