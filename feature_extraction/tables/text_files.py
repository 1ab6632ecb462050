"""Read text files in blocks: compressed if their name says so, and checked while they pass."""

import gzip
import io
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO, cast

from feature_extraction.errors import TableError

BLOCK_BYTES = 16 << 20
"""What is held of a text file at a time; no line may be longer."""

_GZIP = b"\x1f\x8b"
# What a file begins with that is no text, whatever its name says.
_SIGNATURES = {
    b"PAR1": ("a Parquet file", "rename it to end in .parquet"),
    b"PK\x03\x04": ("a zip archive or a spreadsheet", "unpack it, or export it as CSV"),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "unpack it with `zstd -d`"),
    b"BZh": ("compressed by bzip2", "unpack it with `bunzip2`"),
    b"\x89PNG": ("a PNG picture", "check the path"),
}


def plain_suffix(path: Path) -> str:
    """The suffix that tells the format: ``.csv`` of ``a.csv`` and of ``a.csv.gz``."""
    return Path(path.stem).suffix if path.suffix == ".gz" else path.suffix


class TextFile(io.RawIOBase):
    """The bytes of a text file, decompressed if its name ends in ``.gz``; read once, forwards.

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
            _require_as_named(path, file.read(4))
        self._file: BinaryIO = path.open("rb")  # closed by `close`
        if path.suffix == ".gz":
            self._file = cast("BinaryIO", gzip.GzipFile(fileobj=self._file))

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # of any buffer
        """Read and check as much as fits; 0 at the end."""
        try:
            data = self._file.read(len(buffer))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise TableError(
                f"the compressed file is damaged ({error})",
                expected="a whole gzip file",
                fix="copy or download it again; `gzip -t` checks it",
                path=self.path,
            ) from error
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


def _require_as_named(path: Path, start: bytes) -> None:
    compressed = start.startswith(_GZIP)
    if compressed != (path.suffix == ".gz"):
        plain = path.name.removesuffix(".gz")
        raise TableError(
            "the file is compressed by gzip" if compressed else "the file is not compressed",
            expected="a plain text file" if compressed else "a gzip file, as its name says",
            fix=f"rename it to {plain}.gz" if compressed else f"rename it to {plain}",
            path=path,
        )
    for signature, (what, fix) in _SIGNATURES.items():
        if start.startswith(signature):
            raise TableError(f"this is {what}", expected="a text file", fix=fix, path=path)
