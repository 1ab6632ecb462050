"""The files of an export, read: tables, and tensors that all processes share as mapped memory."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open

from slifmr_pl.errors import DataError

_DTYPES: dict[str, Any] = {"F32": np.float32, "I64": np.int64}
_LENGTH = 8  # bytes that hold the length of the header


def map_tensors(path: Path) -> dict[str, npt.NDArray[Any]]:
    """All tensors of a file by name, read-only; what is not looked at takes no memory.

    safetensors' own reader copies each tensor into the memory of the process.

    Args:
        path: A file of float32 and int64 tensors, as `export` writes it.

    Raises:
        DataError: If it is absent or damaged.
    """
    try:
        with safe_open(path, "np") as checked:  # the header, and that all of the file is there
            names = list(checked.keys())
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH), "little")
            header = json.loads(file.read(length))
        whole = np.memmap(path, np.uint8, "r")
        return {name: _view(whole[_LENGTH + length :], header[name]) for name in names}
    except (OSError, SafetensorError, KeyError) as error:
        raise _unreadable(path, error) from error


def read_columns(path: Path, names: Sequence[str]) -> pa.Table:
    """Columns of a Parquet file.

    Raises:
        DataError: If it is absent or damaged, or has no such columns.
    """
    try:
        return pq.read_table(path, columns=list(names)).select(names)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"cannot be read ({error})",
        expected="a whole file of `slifmr export`",
        fix="export again",
        path=path,
    )


def _view(content: npt.NDArray[np.uint8], entry: dict[str, Any]) -> npt.NDArray[Any]:
    first, last = entry["data_offsets"]
    tensor: npt.NDArray[Any] = content[first:last].view(_DTYPES[entry["dtype"]])
    return tensor.reshape(entry["shape"])
