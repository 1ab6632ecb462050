"""Read members of tar and zip archives in place: nothing is unpacked to disk.

Only the bytes of members that are asked for are read, at most as many as the archive declares
and ``MEMBER_LIMIT`` allows. Names are nothing but keys: none of them ever becomes a path.
"""

import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from feature_extraction.errors import FeatureError, InputError

MEMBER_LIMIT = 256 << 20
"""Bytes of the largest member that is read."""

ARCHIVE_SUFFIXES = (".tar", ".zip")

_ZIP_HEADER = struct.Struct("<4s22xHH")  # signature, …, lengths of name and extra field


class _Member(NamedTuple):
    """Where a member's bytes are; ``refusal`` says why it is not read."""

    archive: int
    offset: int
    packed: int
    size: int
    deflated: bool = False
    crc: int | None = None
    refusal: str = ""


class Archives:
    """The members of uncompressed tar files and of zip files by name, as of one folder.

    Args:
        paths: The archives, such as the shards of one data set.

    Raises:
        FeatureError: An archive cannot be read, or two members have one name.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._members: dict[str, _Member] = {}
        for number, path in enumerate(self._paths):
            for name, member in _index(path, number):
                if name in self._members:
                    other = self._paths[self._members[name].archive]
                    raise FeatureError(
                        f"the member {name!r} is also in {other}",
                        expected="every name once, over all archives together",
                        fix="put the members into folders of different names",
                        path=path,
                    )
                self._members[name] = member

    def names(self) -> Iterator[str]:
        """Return the names of all members."""
        return iter(self._members)

    def read(self, name: str) -> bytes:
        """Return the bytes of a member.

        Raises:
            InputError: There is no such member, or it is refused or damaged.
        """
        member = self._members.get(_normal(name))
        if member is None:
            raise InputError("not in the archives")
        refusal = member.refusal
        if not refusal and max(member.size, member.packed) > MEMBER_LIMIT:
            refusal = f"more than {MEMBER_LIMIT >> 20} MiB"
        if refusal:
            raise InputError(refusal)
        try:
            # Opened anew: processes that share a file's position would read each other's bytes.
            with self._paths[member.archive].open("rb") as file:
                file.seek(member.offset)
                if member.crc is not None:
                    signature, *lengths = _ZIP_HEADER.unpack(file.read(_ZIP_HEADER.size))
                    if signature != b"PK\x03\x04":
                        raise InputError("damaged in the archive")
                    file.seek(sum(lengths), 1)
                content = file.read(member.packed)
        except (OSError, struct.error) as error:
            raise InputError(f"the archive cannot be read ({error})") from error
        return _unpacked(member, content)


def _unpacked(member: _Member, content: bytes) -> bytes:
    if member.deflated:
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            # One byte more than declared shows that there is more, and no more is unpacked.
            content = stream.decompress(content, member.size + 1)
        except zlib.error as error:
            raise InputError("damaged in the archive") from error
    if len(content) != member.size or member.crc not in (None, zlib.crc32(content)):
        raise InputError("damaged in the archive")
    return content


def _normal(name: str) -> str:
    return str(PurePosixPath(name))  # ./a//b.png and a/b.png are one name


def _index(path: Path, number: int) -> Iterator[tuple[str, _Member]]:
    try:
        yield from (_tar_members if path.suffix == ".tar" else _zip_members)(path, number)
    except (tarfile.TarError, zipfile.BadZipFile, OSError, ValueError) as error:
        raise FeatureError(
            f"the archive cannot be read ({error})",
            expected="a whole, uncompressed tar file, or a whole zip file",
            fix="make it again; unpack a compressed tar first (`gunzip`), or use zip",
            path=path,
        ) from error


def _tar_members(path: Path, number: int) -> Iterator[tuple[str, _Member]]:
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            if member.isdir():
                continue
            refusal = "" if member.isreg() and not member.issparse() else "a link or no plain file"
            name = _normal(member.name)
            yield (
                name,
                _Member(
                    number,
                    member.offset_data,
                    member.size,
                    member.size,
                    refusal=refusal or _outside(name),
                ),
            )
            archive.members.clear()  # type: ignore[attr-defined]  # of a million members the index is enough


def _zip_members(path: Path, number: int) -> Iterator[tuple[str, _Member]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.is_dir():
                continue
            refusal = ""
            if member.flag_bits & 1:
                refusal = "encrypted"
            elif member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                refusal = "packed by a method other than deflate"
            elif member.external_attr >> 28 == 0xA:  # S_IFLNK of the Unix mode
                refusal = "a link or no plain file"
            name = _normal(member.filename)
            yield (
                name,
                _Member(
                    number,
                    member.header_offset,
                    member.compress_size,
                    member.file_size,
                    member.compress_type == zipfile.ZIP_DEFLATED,
                    member.CRC,
                    refusal or _outside(name),
                ),
            )


def _outside(name: str) -> str:
    path = PurePosixPath(name)
    return "outside the archive" if path.is_absolute() or ".." in path.parts else ""
