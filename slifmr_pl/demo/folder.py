"""Publishing a generated folder: whole or not at all, and never over anything else."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from slifmr_pl.errors import DataError

MANIFEST = "demo.json"


def publish(root: Path, origin: Mapping[str, object], write: Callable[[Path], None]) -> bool:
    """Fill a folder with generated files, unless it already holds the same ones.

    The files are written beside ``root`` and moved there at the end, so that an interrupted run
    leaves nothing that looks complete.

    Args:
        root: Folder to create; it may exist if it is empty or holds the same generated files.
            Further files that were put beside them later do not matter.
        origin: What was generated and with which arguments, in JSON types; kept in ``demo.json``
            beside the SHA-256 of every file.
        write: Writes all files into the empty folder that it is given.

    Returns:
        Whether the files were written now.

    Raises:
        DataError: If ``root`` is a file, or holds something else, or its files were changed.
    """
    if root.exists() and not root.is_dir():
        raise DataError(
            "there is a file of this name",
            expected="a new or empty folder",
            fix="choose another folder",
            path=root,
        )
    if root.is_dir() and any(root.iterdir()):
        _check_same(root, origin)
        return False

    target = root.resolve()
    staging = target.parent / f".{target.name}.partial-{os.getpid()}"
    staging.mkdir(parents=True)
    try:
        write(staging)
        files = {
            path.relative_to(staging).as_posix(): _digest(path)
            for path in sorted(staging.rglob("*"))
            if path.is_file()
        }
        manifest = json.dumps({**origin, "files": files}, indent=1, sort_keys=True)
        (staging / MANIFEST).write_text(manifest + "\n", encoding="utf-8", newline="\n")
        if target.exists():
            target.rmdir()
        staging.replace(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return True


def _check_same(root: Path, origin: Mapping[str, object]) -> None:
    fix = "choose another folder, or delete this one if nothing in it is needed"
    path = root / MANIFEST
    if not path.is_file():
        raise DataError(
            f"the folder is not empty and has no {MANIFEST}",
            expected="a new or empty folder, or one that was generated with the same arguments",
            fix=fix,
            path=root,
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        files = dict(manifest.pop("files"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"this is no manifest of generated files ({type(error).__name__})",
            expected="the manifest that was written beside them",
            fix=fix,
            path=path,
        ) from error
    if manifest != dict(origin):
        raise DataError(
            f"the folder was generated as {json.dumps(manifest, sort_keys=True)}",
            expected=json.dumps(dict(origin), sort_keys=True),
            fix=f"{fix}, or ask for the same arguments",
            path=path,
        )
    for name, digest in files.items():
        file = root / name
        if not file.is_file() or _digest(file) != digest:
            raise DataError(
                "the file was changed or removed after it was generated",
                expected=f"the file with SHA-256 {digest}",
                fix=fix,
                path=file,
            )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
