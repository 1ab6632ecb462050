"""Read text files in blocks: compressed if their name says so, and checked while they pass."""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

import pyarrow as pa

from feature_extraction.errors import TableError

BLOCK_BYTES = 16 << 20
"""What is held of a text file at a time; no line may be longer."""

COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")
"""Suffixes of files that are unpacked as they are read; a ``.zip`` holds one file."""

_PACKED = {  # what a compressed file begins with, and what unpacks it
    ".gz": (b"\x1f\x8b", "gzip"),
    ".bz2": (b"BZh", "bzip2"),
    ".xz": (b"\xfd7zXZ\x00", "xz"),
    ".zst": (b"\x28\xb5\x2f\xfd", "zstd"),
    ".zip": (b"PK\x03\x04", "zip"),
}
# What a file begins with that is no text, whatever its name says.
_SIGNATURES = {
    b"PAR1": ("a Parquet file", "rename it to end in .parquet"),
    b"ARROW1": ("an Arrow file", "rename it to end in .arrow"),
    b"PK\x03\x04": (
        "a zip archive or a spreadsheet",
        "export a spreadsheet as CSV; give a zip archive of one table a name such as r.csv.zip",
    ),
    b"\x89PNG": ("a PNG picture", "check the path"),
}


def plain_suffix(path: Path) -> str:
    """The suffix that tells the format: ``.csv`` of ``a.csv``, ``a.csv.gz`` and ``a.CSV``."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in COMPRESSED else suffix


class TextFile(io.RawIOBase):
    """The bytes of a text file, unpacked if its name says so (``COMPRESSED``); read once, forwards.

    Args:
        path: The file.

    Attributes:
        lines: Line ends read so far.
        ends_line: Whether the last byte read so far ended a line.

    Raises:
        TableError: The content is not what the name says, a compressed file is damaged, or there
            is a NUL or a line of more than ``BLOCK_BYTES``; when opened or while it is read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.lines = 0
        self.ends_line = True
        self._line_bytes = 0
        with path.open("rb") as file:
            _require_as_named(path, file.read(6))
        self._file = _unpacked(path)  # closed by `close`

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # of any buffer
        """Read and check as much as fits; 0 at the end."""
        try:
            data = self._file.read(len(buffer))
        except (EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
            if self.path.suffix.lower() not in COMPRESSED:
                raise
            _raise_damaged(self.path, error)
        buffer[: len(data)] = data
        if data:
            self._check(data)
        return len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def _check(self, data: bytes) -> None:
        if (nul := data.find(b"\0")) >= 0:
            raise TableError(
                "a NUL byte",
                expected="UTF-8 text",
                fix="if the file is UTF-16, convert it: `iconv -f utf-16 -t utf-8`; otherwise it "
                "is damaged or no text",
                path=self.path,
                row=self.lines + data.count(b"\n", 0, nul) + 1,
            )
        ended = data.rfind(b"\n") + 1
        self._line_bytes = len(data) - ended + (0 if ended else self._line_bytes)
        self.lines += data.count(b"\n")
        self.ends_line = ended == len(data)
        if self._line_bytes > BLOCK_BYTES:
            raise TableError(
                f"a line of more than {BLOCK_BYTES >> 20} MiB",
                expected="lines of a table",
                fix="check that this is the right file",
                path=self.path,
                row=self.lines + 1,
            )


def line_blocks(path: Path, encoding: str = "utf-8") -> Generator[tuple[int, list[str]]]:
    """Yield the lines of a file, a block at a time, without their ends.

    Args:
        path: The file; a byte-order mark is skipped, LF and CRLF end lines.
        encoding: ``utf-8`` or one with a character for every byte, such as ``latin-1``.

    Yields:
        The 1-based number of the first line, and lines (at least one).

    Raises:
        TableError: As of ``TextFile``, or a line is not UTF-8.
    """
    with TextFile(path) as file:
        first, rest = 1, b""
        while True:
            data = file.read(BLOCK_BYTES)
            whole, end, rest = (rest + data).rpartition(b"\n") if data else (rest, b"", b"")
            if whole or end:
                if first == 1:
                    whole = whole.removeprefix(b"\xef\xbb\xbf")
                lines = _decoded(whole, encoding, path, first).split("\n")
                yield first, [line.removesuffix("\r") for line in lines]
                first += len(lines)
            if not data:
                return


def raise_for_encoding(path: Path) -> None:
    """Raise ``TableError`` if a line is not UTF-8.

    Raises:
        TableError: Names the first such line and the byte.
    """
    with TextFile(path) as file:
        for row, line in enumerate(io.BufferedReader(file), start=1):
            _decoded(line, "utf-8", path, row)


def _decoded(data: bytes, encoding: str, path: Path, first: int) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise TableError(
            f"byte 0x{data[error.start]:02x} is not UTF-8",
            expected="UTF-8 text",
            fix=f"convert the file, e.g. `iconv -f latin1 -t utf-8 {path.name}`",
            path=path,
            row=first + data.count(b"\n", 0, error.start),
        ) from error


def _unpacked(path: Path) -> BinaryIO:
    """The opened bytes of a file, unpacked if its name says so."""
    suffix = path.suffix.lower()
    if suffix == ".zst":
        return cast("BinaryIO", pa.CompressedInputStream(pa.OSFile(str(path)), "zstd"))
    if suffix == ".zip":
        return _only_member(path)
    opened: dict[str, Callable[[Path], Any]] = {
        ".gz": gzip.open,
        ".bz2": bz2.open,
        ".xz": lzma.open,
    }
    return cast("BinaryIO", opened[suffix](path) if suffix in opened else path.open("rb"))


def _only_member(path: Path) -> BinaryIO:
    try:
        with zipfile.ZipFile(path) as archive:  # the member keeps the file open
            names = [
                entry.filename
                for entry in archive.infolist()
                if not entry.is_dir() and not entry.filename.startswith("__MACOSX/")
            ]
            if len(names) == 1:
                return cast("BinaryIO", archive.open(names[0]))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        _raise_damaged(path, error)
    raise TableError(
        f"the archive holds {len(names)} files ({', '.join(names[:5])})",
        expected="one table",
        fix="unpack it, and give the table that is meant",
        path=path,
    )


def _raise_damaged(path: Path, error: Exception) -> NoReturn:
    suffix = path.suffix.lower()
    kind = _PACKED[suffix][1]
    check = "unzip" if kind == "zip" else kind
    raise TableError(
        f"the compressed file is damaged ({error})",
        expected=f"a whole {kind} file",
        fix=f"copy or download it again; `{check} -t` checks it",
        path=path,
    ) from error


def _require_as_named(path: Path, start: bytes) -> None:
    suffix = path.suffix.lower()
    found = next((end for end, (mark, _) in _PACKED.items() if start.startswith(mark)), None)
    if suffix in COMPRESSED and found != suffix:
        kind = _PACKED[suffix][1]
        plain = path.name[: -len(suffix)]
        raise TableError(
            "the file is not compressed" if found is None else f"this is {_PACKED[found][1]}",
            expected=f"a {kind} file, as its name says",
            fix=f"rename it to {plain}{found or ''}",
            path=path,
        )
    if suffix not in COMPRESSED and found not in (None, ".zip"):
        raise TableError(
            f"the file is compressed by {_PACKED[found][1]}",
            expected="a plain text file",
            fix=f"rename it to {path.name}{found}",
            path=path,
        )
    for signature, (what, fix) in _SIGNATURES.items():
        if suffix != ".zip" and start.startswith(signature):
            raise TableError(f"this is {what}", expected="a text file", fix=fix, path=path)
