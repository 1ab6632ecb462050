"""Arrays that take long to compute, kept in files named after all that they depend on."""

import dataclasses
import hashlib
import inspect
import json
import logging
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from slifmr_pl import __version__

Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]

SomeTensors = TypeVar("SomeTensors", bound=tuple[Any, ...])

_COMPUTES = ("numpy", "scipy", "torch")  # whose other versions may compute otherwise

logger = logging.getLogger(__name__)


def cached_call(
    compute: Callable[..., SomeTensors],
    kind: type[SomeTensors],
    arguments: Mapping[str, Any],
    *,
    folder: Path | None,
    name: str,
    unkeyed: Mapping[str, Any] | None = None,
    sources: Iterable[Path] | None = None,
) -> SomeTensors:
    """What a function computes of its arguments, from the cache where it did so before.

    Args:
        compute: The function.
        kind: What it gives: a named tuple of tensors.
        arguments: By name, all that the result depends on: tensors and arrays, also sparse ones of
            SciPy and lists of them, dataclasses, and JSON values.
        folder: Folder of the cache; None keeps nothing.
        name: Start of the file's name.
        unkeyed: Arguments that the result does not depend on.
        sources: Source files of the code that computes it; default: the function's own.
    """
    unkeyed = unkeyed or {}
    if folder is None:
        return compute(**arguments, **unkeyed)
    settings: dict[str, Any] = {"versions": [version(package) for package in _COMPUTES]}
    arrays: dict[str, npt.NDArray[Any]] = {}
    for key, value in arguments.items():
        _sort_argument(key, value, settings, arrays)
    key = content_key(settings, arrays, sources or [Path(inspect.getfile(compute))])

    def computed() -> Arrays:
        tensors = compute(**arguments, **unkeyed)._asdict()  # type: ignore[attr-defined]
        return {name: tensor.numpy() for name, tensor in tensors.items()}

    kept = cached_arrays(folder, name, key, computed)
    return kind(**{name: torch.from_numpy(array) for name, array in kept.items()})


def _sort_argument(
    key: str, value: Any, settings: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]
) -> None:
    """Puts an argument where `content_key` takes it."""
    if isinstance(value, torch.Tensor | np.ndarray):
        arrays[key] = value.cpu().numpy() if isinstance(value, torch.Tensor) else value
    elif hasattr(value, "indptr"):  # compressed rows or columns of SciPy
        settings[key] = [type(value).__name__, *value.shape]
        arrays |= {f"{key} {name}": getattr(value, name) for name in ("data", "indices", "indptr")}
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        settings[key] = dataclasses.asdict(value)
    elif isinstance(value, list | tuple):
        settings[key] = len(value)
        for number, entry in enumerate(value):
            _sort_argument(f"{key} {number}", entry, settings, arrays)
    else:
        settings[key] = value


def content_key(settings: Mapping[str, Any], arrays: Arrays, sources: Iterable[Path]) -> str:
    """Hash everything that a result depends on.

    Args:
        settings: JSON values.
        arrays: Whatever the result is computed from.
        sources: Source files of the code that computes it: other code may compute otherwise.

    Returns:
        64 hex digits.
    """
    digest = hashlib.sha256(json.dumps([__version__, settings], sort_keys=True).encode())
    for source in sorted(sources):
        content = source.read_bytes()
        digest.update(f"\n{source.name} {len(content)}\n".encode() + content)
    digest.update(_digest(arrays).encode())
    return digest.hexdigest()


def cached_arrays(
    folder: Path, name: str, key: str, compute: Callable[[], Arrays]
) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays that are kept under a key, or compute and keep them.

    A file appears whole or not at all, and counts only if its content is what was written. One
    that does not is logged, and replaced. A folder that cannot be written to is logged, too.

    The arrays are memory-mapped: the processes of a machine hold the same pages, until one of them
    writes to a page and gets its own.

    Args:
        folder: Where to; made if needed.
        name: Start of the file's name.
        key: `content_key` of all that the arrays depend on.
        compute: Computes them.
    """
    path = folder / f"{name}-{key[:16]}.safetensors"
    kept = _read(path, key)
    if kept is not None:
        return kept
    arrays = {name: np.ascontiguousarray(array) for name, array in compute().items()}
    _write(path, key, arrays)
    return _read(path, key) or arrays


def _read(path: Path, key: str) -> dict[str, npt.NDArray[Any]] | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:  # maps the file, which "numpy" copies
            expected = file.metadata() or {}
            arrays = {name: file.get_tensor(name).numpy() for name in list(file.keys())}
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError, ValueError) as error:
        logger.warning("%s cannot be read (%s): it is computed again", path, error)
        return None
    if expected != {"key": key, "sha256": _digest(arrays)}:
        logger.warning("%s was changed after it was written: it is computed again", path)
        return None
    return arrays


def _write(path: Path, key: str, arrays: dict[str, npt.NDArray[Any]]) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(arrays, part, metadata={"key": key, "sha256": _digest(arrays)})
        part.replace(path)
    except (SafetensorError, OSError) as error:
        logger.warning("%s cannot be kept for the next run (%s)", path, error)
        with suppress(OSError):
            part.unlink()


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
