"""Where the files of raw inputs are: in a folder, in archives, or as bytes that an item carries."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from feature_extraction.errors import FeatureError, InputError
from feature_extraction.items.archives import ARCHIVE_SUFFIXES, Archives

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}", re.IGNORECASE)  # Path makes // one

RawFile = Path | str | bytes
"""A file name, or the bytes of a file."""


class Files(Protocol):
    """Finds files by name; can be pickled."""

    def find(self, file: RawFile) -> Path | bytes:
        """Return where a file is, or its bytes.

        Raises:
            InputError: It cannot be had, or leads outside.
        """

    def names(self) -> Iterable[str]:
        """Return the names of the files at the top of a folder, or of all in archives."""


class FolderFiles:
    """Files below a folder, or anywhere if ``root`` is None.

    Args:
        root: The folder.
        what: What its files are, for messages.

    Raises:
        FeatureError: The folder does not exist.
    """

    def __init__(self, root: Path | None, what: str) -> None:
        self._root = root
        self._what = what
        if root is not None and not root.is_dir():
            raise FeatureError(
                f"the {what} folder does not exist",
                expected=f"a folder of {what} files, or archives ({', '.join(ARCHIVE_SUFFIXES)})",
                fix="check the path",
                path=root,
            )

    def find(self, file: RawFile) -> Path | bytes:
        """Return the path, checked to lie inside the folder; bytes as they are."""
        return file if isinstance(file, bytes) else locate_file(file, self._root, self._what)

    def names(self) -> Iterator[str]:
        """Return the names of the files directly in the folder."""
        return iter(()) if self._root is None else (file.name for file in self._root.iterdir())


class ArchiveFiles:
    """Files in tar and zip archives, read in place.

    Raises:
        FeatureError: An archive cannot be read.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._archives = Archives(paths)

    def find(self, file: RawFile) -> bytes:
        """Return the bytes of a member, or bytes as they are."""
        if isinstance(file, bytes):
            return file
        refuse_address(str(file))
        return self._archives.read(str(file))

    def names(self) -> Iterator[str]:
        """Return the names of all members."""
        return self._archives.names()


def open_files(places: Sequence[Path], what: str) -> Files:
    """Open one folder, or one or more archives.

    Args:
        places: None of them: only bytes and trusted paths are read.
        what: What the files are, such as ``image``, for messages.

    Raises:
        FeatureError: They do not exist, cannot be read, or are folders and archives mixed.
    """
    if not any(place.suffix in ARCHIVE_SUFFIXES and place.is_file() for place in places):
        if len(places) > 1:
            raise FeatureError(
                f"{len(places)} {what} folders",
                expected="one folder, or one or more archives",
                fix="give the folder above them, and paths relative to it",
            )
        return FolderFiles(places[0] if places else None, what)
    return ArchiveFiles(places)


def locate_file(file: Path | str, root: Path | None, what: str = "image") -> Path:
    """Return where a file is, without leaving its folder.

    Args:
        file: Path relative to ``root``; any path where ``root`` is None.
        root: The folder. None trusts ``file``: only for paths that no user data gave.
        what: What the folder holds, for messages.

    Raises:
        InputError: It is a web address, the path is absolute or written with backslashes, or it
            leads out of the folder by ``..`` or a link.
    """
    path = Path(file)
    if root is None:
        return path
    refuse_address(str(file))
    if path.is_absolute():
        if path.is_relative_to(root.absolute()):
            below = path.relative_to(root.absolute())
            raise InputError(
                f"an absolute path: names count from the {what} folder (write {below})"
            )
        raise InputError(f"outside the {what} folder")
    if ".." in path.parts:
        # Content keys of stores with such a path hold these words.
        raise InputError(f"outside the {what} folder")
    if "\\" in str(file) and os.sep == "/" and not os.path.lexists(root / path):
        raise InputError("a path with backslashes, which only Windows takes for folders (write /)")
    try:
        inside = (root / path).resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError) as error:  # link loop, too long, null byte
        raise InputError("not a usable file name") from error
    if not inside:
        raise InputError(f"outside the {what} folder")
    return root / path


def refuse_address(name: str) -> None:
    """Refuse what names no file but a place on the web.

    Raises:
        InputError: It does.
    """
    scheme = _ADDRESS.match(name)
    if scheme is not None and scheme[1].lower() == "file":
        raise InputError("a file:// address: write the name of the file alone")
    if scheme is not None:
        raise InputError(
            "a web address: nothing is downloaded here (python -m feature_extraction download does)"
        )


def names_by_item(files: Files, suffixes: Sequence[str]) -> dict[str, str]:
    """Find files that are called by item ids, from one listing: no id can name a path outside.

    Args:
        files: Where they are.
        suffixes: Their suffixes, in lower case; of several files the first of these wins.

    Returns:
        Name by item id.
    """
    rank = {suffix: place for place, suffix in enumerate(suffixes)}
    paths = [PurePosixPath(name) for name in files.names()]
    known = [path for path in paths if path.suffix.lower() in rank]
    known.sort(key=lambda path: (rank[path.suffix.lower()], str(path)), reverse=True)
    return {path.stem: str(path) for path in known}
