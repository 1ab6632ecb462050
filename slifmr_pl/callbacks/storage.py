"""How a run's checkpoints get to the disk and back: whole, or not at all."""

import io
import os
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from slifmr_pl.checkpoint import read_checkpoint
from slifmr_pl.errors import StorageError


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it when it is whole and on the disk.

    Lightning 2.6 writes to the system's temporary folder; from another file system its move is a
    copy, and a process that is killed in it leaves half a file.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Writes the file; the one before it stays whole until then.

        Raises:
            StorageError: If the disk is full or the folder cannot be written to.
        """
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_whole(Path(path), content.getbuffer())

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads plain types and tensors only, whatever `weights_only` says.

        Raises:
            CheckpointError: If the file is absent, damaged or foreign.
        """
        return read_checkpoint(path, map_location)


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
