"""Where pictures come from: a folder, archives, or bytes that an item carries."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from feature_extraction.errors import FeatureError
from feature_extraction.items.archives import ARCHIVE_SUFFIXES, Archives
from feature_extraction.items.images import locate_image

Picture = Path | str | bytes
"""A file name, or the bytes of a file."""


class Pictures(Protocol):
    """Finds pictures by name; can be pickled."""

    def find(self, picture: Picture) -> Path | bytes:
        """Return the file, or the bytes of a file, of a picture.

        Raises:
            ImageError: It cannot be had, or leads outside.
        """

    def names(self) -> Iterable[str]:
        """Return the names of the pictures at the top of a folder, or of all in archives."""


class FolderPictures:
    """Pictures below a folder, or anywhere if ``root`` is None."""

    def __init__(self, root: Path | None) -> None:
        self._root = root
        if root is not None and not root.is_dir():
            raise FeatureError(
                "the image folder does not exist",
                expected=f"a folder of image files, or archives ({', '.join(ARCHIVE_SUFFIXES)})",
                fix="check the path",
                path=root,
            )

    def find(self, picture: Picture) -> Path | bytes:
        """Return the path, checked to lie inside the folder; bytes as they are."""
        return picture if isinstance(picture, bytes) else locate_image(picture, self._root)

    def names(self) -> Iterator[str]:
        """Return the names of the files directly in the folder."""
        return iter(()) if self._root is None else (file.name for file in self._root.iterdir())


class ArchivePictures:
    """Pictures in tar and zip archives, read in place."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._archives = Archives(paths)

    def find(self, picture: Picture) -> bytes:
        """Return the bytes of a member, or bytes as they are."""
        return picture if isinstance(picture, bytes) else self._archives.read(str(picture))

    def names(self) -> Iterator[str]:
        """Return the names of all members."""
        return self._archives.names()


def open_pictures(places: Sequence[Path]) -> Pictures:
    """Open one folder, or one or more archives.

    Args:
        places: None of them: only bytes and trusted paths are read.

    Raises:
        FeatureError: They do not exist, cannot be read, or are folders and archives mixed.
    """
    if not any(place.suffix in ARCHIVE_SUFFIXES and place.is_file() for place in places):
        if len(places) > 1:
            raise FeatureError(
                f"{len(places)} image folders",
                expected="one folder, or one or more archives",
                fix="give the folder above them, and paths relative to it",
            )
        return FolderPictures(places[0] if places else None)
    return ArchivePictures(places)
