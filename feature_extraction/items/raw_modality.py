"""The contract of a raw modality: how one kind of raw input is found, checked and decoded.

Images and texts are written on it; a kind of one's own, such as sounds, is a subclass that an
encoder names in `Encoder.reads`. Everything else comes with it: content keys, the presence mask,
`failures.csv`, strict mode, workers and runs that go on.
"""

import hashlib
import io
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from feature_extraction.errors import InputError
from feature_extraction.hashing import file_sha256
from feature_extraction.items.input_files import Files


class RawModality(ABC):
    """One kind of raw input. A subclass has a ``name`` and a ``decode``; can be pickled.

    What an item has of it stands in ``item.inputs[name]``, a tuple of raw inputs; an item with
    several gets the mean of their features.
    """

    name: ClassVar[str]
    """What the inputs of this kind are called in ``Item.inputs``, such as ``audio``."""
    expects: ClassVar[str] = "values that the encoder can read"
    """What its columns have to hold, in words, for errors."""
    several: ClassVar[bool] = True
    """Whether an item may have several inputs."""

    @abstractmethod
    def decode(self, raw: Any) -> Any:
        """Check and decode one raw input, within bounds; the result goes to the encoder.

        Args:
            raw: As ``from_columns`` gives it; of a ``FileModality`` the opened file.

        Raises:
            InputError: It gives no features. Its message is the reason in ``failures.csv``.
        """

    def from_columns(self, cells: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the raw inputs of an item out of its row; none means that the item has none.

        Args:
            cells: Values by column, in the order in which the columns were named.

        Raises:
            InputError: A value is of a type that cannot be one; the row is named with it.
        """
        return tuple(raw for value in cells.values() for raw in raw_inputs(value))

    def read(self, raw: Any, files: Files) -> Any:
        """Find and decode one raw input.

        Args:
            raw: As ``from_columns`` gives it.
            files: Where the modality's files are.

        Raises:
            InputError: It cannot be had or decoded.
        """
        return self.decode(raw)

    def fingerprint(self, raw: Any, files: Files) -> Any:
        """Return what stands for the content of a raw input in the content key, as a JSON value."""
        if isinstance(raw, bytes):
            return f"sha256:{hashlib.sha256(raw).hexdigest()}"
        if isinstance(raw, np.ndarray) and not raw.dtype.hasobject:
            return [raw.dtype.str, raw.shape, hashlib.sha256(raw.tobytes()).hexdigest()]
        if isinstance(raw, np.generic):
            return raw.item()
        return raw

    def file_name(self, raw: Any) -> str:
        """Return the name that ``failures.csv`` gives beside the reason; empty: there is none."""
        return ""


class FileModality(RawModality):
    """A raw modality whose inputs are files: names in a folder or in archives, or bytes.

    ``decode`` gets the file, opened for reading.
    """

    expects = "names or bytes of files, or lists of them"
    suffixes: ClassVar[tuple[str, ...]] = ()
    """Suffixes in lower case of the files that are found by item id, ``<item id><suffix>``, where
    no column names them; of several files of an item the first suffix wins."""
    max_bytes: ClassVar[int] = 256 << 20
    """Larger files are refused before they are read."""

    def from_columns(self, cells: Mapping[str, Any]) -> tuple[Any, ...]:
        """Names, bytes, structs of ``bytes`` and ``path``, or lists of these."""
        inputs: list[Any] = []
        for column, value in cells.items():
            for entry in value if isinstance(value, list | tuple) else [value]:
                file = entry
                if isinstance(entry, Mapping):
                    file = entry.get("bytes") or entry.get("path")
                if not isinstance(file, Path | str | bytes | None):
                    raise InputError(f"column {column!r} holds a {type(file).__name__}")
                inputs += raw_inputs(file)
        return tuple(inputs)

    def read(self, raw: Any, files: Files) -> Any:
        """Open the file, check its size, and decode it; whatever fails is a reason."""
        file = files.find(raw)
        try:
            if isinstance(file, Path) and not file.is_file():  # keeps pipes from blocking, too
                raise InputError("file not found")
            size = file.stat().st_size if isinstance(file, Path) else len(file)
            if not 0 < size <= self.max_bytes:
                raise InputError(f"more than {self.max_bytes:,} bytes" if size else "empty file")
            opened: BinaryIO = file.open("rb") if isinstance(file, Path) else io.BytesIO(file)
            with opened:
                return self.decode(opened)
        except InputError:
            raise
        except Exception as error:  # decoders raise anything from EOFError to struct.error
            raise InputError(f"cannot be decoded ({type(error).__name__}: {error})") from error

    def file_name(self, raw: Any) -> str:
        """Return the name of a file; bytes have none."""
        return "" if isinstance(raw, bytes) else str(raw)

    def fingerprint(self, raw: Any, files: Files) -> str:
        """Return the SHA-256 of the file, or why it cannot be had."""
        try:
            file = files.find(raw)
            if isinstance(file, bytes):
                return f"sha256:{hashlib.sha256(file).hexdigest()}"
            return f"sha256:{file_sha256(file)}" if file.is_file() else "missing file"
        except InputError as error:
            return str(error)
        except (OSError, ValueError):
            return "unreadable file"


def raw_inputs(value: Any) -> tuple[Any, ...]:
    """Return the raw inputs in one value of a column or a list.

    Args:
        value: None, NaN and blank names are no input. A tuple, or a list of names or bytes, is
            several. Anything else is one: a name, bytes, a number, a list or an array of numbers.
    """
    if isinstance(value, tuple) or (
        isinstance(value, list) and all(isinstance(one, Path | str | bytes | None) for one in value)
    ):
        return tuple(one for one in value if not _is_blank(one))
    return () if _is_blank(value) else (value,)


def _is_blank(value: Any) -> bool:
    # Bytes count as they are: a file of no bytes is a failure, not a missing one.
    if isinstance(value, str | Path):
        return not str(value).strip()
    return value is None or (isinstance(value, float) and math.isnan(value))
