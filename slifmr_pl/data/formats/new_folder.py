"""Write a folder in one step: all of it or nothing."""

import shutil
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from slifmr_pl.errors import DataError, StorageError


@contextmanager
def new_folder(out: Path) -> Generator[Path]:
    """A folder beside ``out`` that takes its place once everything went well.

    Args:
        out: It must not exist, or be an empty folder.

    Raises:
        DataError: It holds something.
        StorageError: It cannot be written.
    """
    require_free(out)
    part = out.absolute().parent / f".{out.absolute().name}.{uuid.uuid4().hex}"
    try:
        part.mkdir(parents=True)
        yield part
        if out.exists():
            out.rmdir()
        part.rename(out)
    except (OSError, StorageError) as error:
        said = StorageError.of(error) if isinstance(error, OSError) else error
        raise StorageError(
            said.found,
            expected=said.expected,
            fix="free space or choose another folder; nothing of this attempt is left there",
            path=out,
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def require_free(out: Path) -> None:
    """Refuse to write where something is; to be asked before what takes long.

    Raises:
        DataError: There is something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(
            "something is there already",
            expected="a folder that does not exist yet, or an empty one",
            fix="choose another folder, or remove what is there",
            path=out,
        )
