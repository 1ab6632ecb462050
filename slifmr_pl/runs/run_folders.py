"""Folders of runs, `ROOT/NAME/version_N`, one for each start of `fit`; and the files in them."""

import shutil
from pathlib import Path
from typing import Literal

from slifmr_pl.errors import CheckpointError, StorageError

Stage = Literal["test", "val"]

CONFIG_FILE = "config.yaml"
RECORD_FILE = "run.json"  # written when training begins
METRICS_FILE = "metrics.csv"
RESULT_FILES = {"test": "test.json", "val": "val.json"}
USERS_FILES = {"test": "per_user.parquet", "val": "per_user-val.parquet"}
_CHECKPOINTS = "checkpoints"


def new_run_folder(root: Path, *, claim: bool) -> Path:
    """The next free `version_N` below `root`.

    Args:
        root: Folder of the runs of one name.
        claim: Make the folder, so that no other process that starts now gets the same one.
            Processes of one run that only follow its first one do not.

    Raises:
        StorageError: If the folder cannot be made.
    """
    while True:
        folder = root / f"version_{max(versions(root), default=-1) + 1}"
        if not claim:
            return folder
        try:
            root.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        except FileExistsError:
            if not root.is_dir():
                raise StorageError.of(NotADirectoryError(f"{root} is a file"), root) from None
            continue  # another run was quicker
        except OSError as error:
            raise StorageError.of(error, root) from error
        return folder


def run_folder(checkpoint: Path) -> Path:
    """The folder of the run that wrote a checkpoint."""
    folder = checkpoint.parent
    return folder.parent if folder.name == _CHECKPOINTS else folder


def remove_unless_begun(folder: Path) -> None:
    """Removes the folder of a run that ended before it began to train."""
    if not (folder / RECORD_FILE).is_file():
        shutil.rmtree(folder, ignore_errors=True)


def last_path(folder: Path) -> Path:
    """Where the run in a folder keeps its last checkpoint."""
    return folder / _CHECKPOINTS / "last.ckpt"


def last_of_newest_run(root: Path) -> Path:
    """`last.ckpt` of the newest run below `root` that began to train: it has a record.

    Raises:
        CheckpointError: If there is none: an older run is not taken in its place.
    """
    began = {v: run for v, run in versions(root).items() if (run / RECORD_FILE).is_file()}
    if not began:
        raise CheckpointError(
            "there is no such checkpoint: `last` of a run that never began",
            expected=f"a run in {root}/version_N",
            fix="start without --ckpt_path, or give name and trainer.default_root_dir of the run",
        )
    folder = began[max(began)]
    path = last_path(folder)
    if not path.is_file():
        others = (last_path(began[version]) for version in sorted(began))
        saved = [other for other in others if other.is_file()]
        raise CheckpointError(
            f"there is no such checkpoint: the newest run, {folder}, ended before its first save",
            expected=f"{path.relative_to(folder)} in the run's folder",
            fix="start again without --ckpt_path"
            + (f", or give --ckpt_path {saved[-1]}" if saved else ""),
        )
    return path


def versions(root: Path) -> dict[int, Path]:
    """The folders `version_N` below `root`, by N."""
    return {
        int(number): folder
        for folder in root.glob("version_*")
        if (number := folder.name.removeprefix("version_")).isdigit() and folder.is_dir()
    }
