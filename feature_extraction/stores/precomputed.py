"""Features that were computed elsewhere → feature stores, checked row by row."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feature_extraction.errors import FeatureError
from feature_extraction.hashing import file_sha256
from feature_extraction.items.item_table import ItemTable
from feature_extraction.stores.store import FORMAT_VERSION, FeatureStore, write_store
from feature_extraction.tables.table_files import read_table

Features = NDArray[np.floating[Any]]

_CHECK_ROWS = 65_536  # rows that a check holds in memory at once
_FLOATS = ("float16", "float32")


_PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".joblib")
_TO_ARRAY = {
    ".npz": "take the array out: np.save('x.npy', np.load('x.npz')['NAME'])",
    ".mat": "take the array out: np.save('x.npy', scipy.io.loadmat('x.mat')['NAME'])",
    ".h5": "take the array out: np.save('x.npy', h5py.File('x.h5')['NAME'][:])",
} | dict.fromkeys(
    _PICKLED,
    "load it where it was made, and np.save('x.npy', x), of a tensor x.cpu().numpy()",
)


def refuse_pickled(path: Path) -> None:
    """Refuse files of features that are no array alone, by their suffix.

    Raises:
        FeatureError: Names what to save in its place.
    """
    suffix = path.suffix.lower()
    if suffix in _TO_ARRAY:
        why = ", since nothing is unpickled" if suffix in _PICKLED else ""
        raise FeatureError(
            f"{suffix} is not read{why}",
            expected=".npy or .safetensors with --items, or a table (.parquet) with --columns",
            fix=_TO_ARRAY[suffix],
            path=path,
        )


def load_array(path: Path) -> Features:
    """Open ``[n, d]`` numbers of a ``.npy`` file, memory-mapped.

    Raises:
        FeatureError: The file is missing, damaged, holds objects, or is no such array.
    """
    try:
        array = np.lib.format.open_memmap(path, mode="r")  # refuses objects
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise FeatureError(
            f"cannot be read ({error})",
            expected="numbers that numpy.save wrote; objects are never unpickled",
            fix="save the features as an array of float32: np.save(path, x.astype(np.float32))",
            path=path,
        ) from error
    return _as_floats(array, path)


def load_tensor(path: Path, name: str | None = None) -> Features:
    """Read ``[n, d]`` numbers of a safetensors file.

    Args:
        path: The file.
        name: Which tensor; None takes the only one.

    Raises:
        FeatureError: The file cannot be read, or has no such tensor.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
            if name is None and len(names) == 1:
                name = names[0]
            if name not in names:
                raise FeatureError(
                    f"the tensors {', '.join(names) or '(none)'}",
                    expected="one tensor" if name is None else f"a tensor {name!r}",
                    fix="say which with --tensor",
                    path=path,
                )
            return _as_floats(file.get_tensor(name), path)
    except (SafetensorError, OSError, TypeError) as error:
        raise FeatureError(
            f"cannot be read as safetensors ({error})",
            expected="a whole safetensors file of float32, float16 or float64",
            fix="write it again",
            path=path,
        ) from error


def load_columns(path: Path, id_column: str, columns: Sequence[str]) -> tuple[list[str], Features]:
    """Read ids and ``[n, d]`` numbers of a table: one column of lists, or a column a dimension.

    Raises:
        FeatureError: The columns are no numbers, or lists of different lengths.
        TableError: The file cannot be read, lacks a column, or an id is missing or repeated.
    """
    table = read_table(path, required=[id_column, *columns])
    ids = [item.id for item in ItemTable(path, id_column=id_column)]
    kinds = [table[name].type for name in columns]
    try:
        if len(columns) == 1 and _is_list(kinds[0]):
            return ids, _of_lists(table[columns[0]], path)
        parts = [table[name].cast(pa.float64()).to_numpy() for name in columns]
    except pa.ArrowException as error:
        raise FeatureError(
            f"the columns {', '.join(columns)} hold {', '.join(map(str, kinds))} ({error})",
            expected="one column of lists of numbers, or columns of numbers",
            fix="name the columns of the features with --columns",
            path=path,
        ) from error
    return ids, _as_floats(np.stack(parts, axis=1), path)


def write_features(
    target: Path, ids: Sequence[str], features: Features, path: Path
) -> FeatureStore:
    """Write features as a store; rows of zeros are items without features, which are masked.

    Args:
        target: The store to write. One of the same content that is there already is kept.
        ids: n distinct item ids.
        features: ``[n, d]``, row i of item i.
        path: Where they come from.

    Raises:
        FeatureError: The number of rows differs, a value is not finite, all rows are zero, or
            something else is at ``target``.
    """
    if len(ids) != len(features):
        raise FeatureError(
            f"{len(features)} rows of features for {len(ids)} items",
            expected="a row for each item, in the same order",
            fix="take the item table that the features were computed from",
            path=path,
        )
    present = _present(features, ids, path)
    features = features if features.dtype.name in _FLOATS else features.astype(np.float32)
    key = hashlib.sha256(f"precomputed {FORMAT_VERSION} {features.dtype.name} {len(ids)}".encode())
    for item in ids:
        key.update(len(item.encode()).to_bytes(8, "little") + item.encode())
    for start in range(0, len(features), _CHECK_ROWS):
        key.update(np.ascontiguousarray(features[start : start + _CHECK_ROWS]).data)
    digest = key.hexdigest()
    if target.exists():
        store = FeatureStore.open(target)
        if store.manifest.get("content_key") == digest:
            return store
        raise FeatureError(
            "other features are here already",
            expected="a folder that does not exist yet",
            fix="choose another name, or remove the folder",
            path=target,
        )
    manifest = {
        "content_key": digest,
        "encoder": {
            "kind": "precomputed",
            "name": path.name,
            "files": {path.name: file_sha256(path)},
        },
        "preprocessing": {},
        "pooling": "none",
        "counts": {
            "items": len(ids),
            "present": int(present.sum()),
            "missing": int((~present).sum()),
            "failed": 0,
            "truncated": 0,
        },
        "failures": [],
    }
    return write_store(target, ids=ids, features=features, present=present, manifest=manifest)


def _as_floats(array: NDArray[Any], path: Path) -> Features:
    if not isinstance(array, np.ndarray) or array.ndim != 2 or 0 in array.shape:
        raise FeatureError(
            f"an array of shape {getattr(array, 'shape', None)}",
            expected="[items, dimensions]",
            fix="save the features as one matrix with a row for each item",
            path=path,
        )
    if array.dtype.kind not in "fiu":
        raise FeatureError(
            f"an array of {array.dtype}",
            expected="float32, float16, or other real numbers",
            fix="save the features as float32",
            path=path,
        )
    return array


def _present(features: Features, ids: Sequence[str], path: Path) -> NDArray[np.bool_]:
    present = np.zeros(len(features), dtype=np.bool_)
    largest = np.finfo(np.float32).max
    for start in range(0, len(features), _CHECK_ROWS):
        rows = np.asarray(features[start : start + _CHECK_ROWS])
        bad = ~(np.abs(rows.astype(np.float64)) <= largest).all(axis=1)
        if bad.any():
            row = int(np.argmax(bad))
            values = rows[row].astype(np.float64)
            value = values[~(np.abs(values) <= largest)][0]
            raise FeatureError(
                f"the features of item {ids[start + row]!r} hold {value}",
                expected="finite numbers within float32",
                fix="mend the row; for an item without features set all its values to 0",
                path=path,
                row=start + row + 1,
            )
        present[start : start + len(rows)] = rows.any(axis=1)
    if not present.any():
        raise FeatureError(
            "all rows are zero",
            expected="features of at least one item",
            fix="check what computed them",
            path=path,
        )
    return present


def _is_list(kind: pa.DataType) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_one(kind) for is_one in lists)


def _of_lists(column: pa.ChunkedArray, path: Path) -> Features:
    lengths = set(pc.unique(pc.list_value_length(column)).to_pylist())
    if len(lengths) != 1 or None in lengths:
        raise FeatureError(
            f"lists of {', '.join(sorted(map(str, lengths))[:5])} numbers",
            expected="lists of one length in every row",
            fix="mend the rows; for an item without features write a list of zeros",
            path=path,
        )
    flat = pa.chunked_array([chunk.flatten() for chunk in column.chunks], column.type.value_type)
    (length,) = lengths
    if flat.null_count:
        raise FeatureError(
            f"{flat.null_count} missing numbers in lists",
            expected="numbers",
            fix="write zeros for an item without features",
            path=path,
        )
    return _as_floats(flat.to_numpy().reshape(len(column), length or 0), path)
