"""Files that are whole, or as they were before."""

import json
import os
from pathlib import Path
from typing import Any

from slifmr_pl.errors import StorageError


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file; see `write_whole`."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_whole(path, text.encode())


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Writes a file such that a crash at any time leaves the old content or the new one.

    Raises:
        StorageError: If it cannot be written; the old content is still there.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise StorageError.of(error, path) from error


def _sync_folder(folder: Path) -> None:
    """Makes the new name last through a power failure, where folders can be opened."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
