"""How a run's checkpoints get to the disk and back: whole, or not at all."""

import io
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from slifmr_pl.checkpoints.format import read_checkpoint
from slifmr_pl.runs.atomic_files import write_whole


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
