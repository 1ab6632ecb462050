"""Feature stores: one folder per modality, checked when opened, written in one step.

A store folder holds ``features.npy`` (``[n, d]`` float32 or float16), ``present.npy`` (``[n]``
bool), ``ids.json`` (n distinct strings, row order of both arrays) and ``manifest.json``. Rows
of items without features are zero and not present. ``failures.csv`` (item, file, reason) lists
inputs that could not be used, where extraction met any.
"""

import csv
import json
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from feature_extraction.errors import FeatureError
from feature_extraction.hashing import file_sha256

FORMAT_VERSION = 1
"""Version of the folder layout and of how inputs become features."""

FAILURES = "failures.csv"

_DATA_FILES = ("features.npy", "present.npy", "ids.json")
_DTYPES = ("float32", "float16")
_CHECK_ROWS = 65_536  # rows that a full check holds in memory at once
_Value = TypeVar("_Value")


@dataclass(frozen=True, eq=False)
class FeatureStore:
    """Features of items, read from a store folder.

    Args:
        path: The store folder.
        ids: Distinct item ids, one per row.
        features: ``[n, d]`` float32 or float16, memory-mapped, read-only.
        present: ``[n]`` bool; False rows are zero.
        manifest: How the features came to be, and the size and hash of each file.
    """

    path: Path
    ids: tuple[str, ...]
    features: NDArray[np.floating[Any]]
    present: NDArray[np.bool_]
    manifest: dict[str, Any]

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = False) -> "FeatureStore":
        """Open a store and check that it is whole.

        Args:
            path: The store folder.
            verify: Also read all features: their hash, that they are finite, and that rows
                which are not present are zero. Otherwise only their size and shape are checked.

        Raises:
            FeatureError: A file is missing, damaged, of another format version, or does not
                agree with the others.
        """
        path = Path(path)
        manifest = _read_manifest(path)
        _check_files(path, manifest, verify=verify)
        ids = _parsed(path / "ids.json", _parse_ids)
        present = _parsed(path / "present.npy", lambda file: np.load(file, allow_pickle=False))
        features = _parsed(
            path / "features.npy", lambda file: np.load(file, mmap_mode="r", allow_pickle=False)
        )
        if (
            not (isinstance(features, np.ndarray) and isinstance(present, np.ndarray))
            or features.ndim != 2
            or features.dtype.name not in _DTYPES
            or present.dtype != np.bool_
            or present.shape != (len(ids),)
            or len(features) != len(ids)
            or [manifest.get("dim"), manifest.get("dtype")]
            != [features.shape[1], features.dtype.name]
        ):
            _refuse(path, "ids, features, mask and manifest do not agree in shape or type")
        store = cls(path=path, ids=ids, features=features, present=present, manifest=manifest)
        if verify:
            store._check_values()
        return store

    def aligned(self, ids: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return features in the order of other ids.

        Args:
            ids: n' item ids; those that the store does not hold become masked zero rows.

        Returns:
            Features ``[n', d]`` float32 and presence ``[n']`` bool.
        """
        rows = np.array([self._row_of.get(item, -1) for item in ids], dtype=np.int64)
        known = rows >= 0
        features = np.zeros((len(rows), self.features.shape[1]), dtype=np.float32)
        present = np.zeros(len(rows), dtype=np.bool_)
        features[known] = self.features[rows[known]]
        present[known] = self.present[rows[known]]
        return features, present

    @property
    def failures(self) -> list[dict[str, str]]:
        """What could not be used, and why: ``item``, ``file`` and ``reason`` of each input."""
        file = self.path / FAILURES
        if not file.is_file():
            return []
        with file.open(encoding="utf-8", newline="") as rows:
            return list(csv.DictReader(rows))

    def copy_failures(self, folder: Path) -> None:
        """Copy the file of failures, where there is one, into another folder."""
        if (self.path / FAILURES).is_file():
            shutil.copyfile(self.path / FAILURES, folder / FAILURES)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {item: row for row, item in enumerate(self.ids)}

    def _check_values(self) -> None:
        for start in range(0, len(self.ids), _CHECK_ROWS):
            rows = self.features[start : start + _CHECK_ROWS]
            if not np.isfinite(rows).all():
                _refuse(self.path, "features.npy holds values that are not finite")
            if rows[~self.present[start : start + _CHECK_ROWS]].any():
                _refuse(self.path, "rows that are not present are not zero")


def write_store(
    target: Path,
    *,
    ids: Sequence[str],
    features: NDArray[np.floating[Any]],
    present: NDArray[np.bool_],
    manifest: Mapping[str, Any],
) -> FeatureStore:
    """Write a store folder in one step: readers see all of it or nothing.

    If another process wrote the same store first, its store is kept and returned. A damaged one
    in its place is set aside as ``<name>.damaged-<random>``, never deleted.

    Args:
        target: The folder to write; its parents are made.
        ids: n distinct item ids.
        features: ``[n, d]`` float32 or float16, finite; rows not present are zero.
        present: ``[n]`` bool.
        manifest: What else to record, as JSON values. The format version, ``dim``, ``dtype``
            and ``files`` are set here.

    Raises:
        FeatureError: The arrays make no valid store, or the folder cannot be written.
    """
    if features.ndim != 2:
        _refuse(target, f"features have shape {features.shape} instead of [n, d]")
    with unfinished_store(target) as unfinished:
        np.save(unfinished / "features.npy", features, allow_pickle=False)
        np.save(unfinished / "present.npy", present, allow_pickle=False)
        return finish_store(unfinished, target, ids=ids, manifest=manifest)


@contextmanager
def unfinished_store(target: Path) -> Iterator[Path]:
    """A new folder beside a store to be, for ``finish_store``; it never outlives the block.

    Raises:
        FeatureError: It cannot be written.
    """
    unfinished = target.parent / f".{target.name}.{uuid.uuid4().hex}"
    try:
        with writing(target):
            unfinished.mkdir(parents=True)
            yield unfinished
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def finish_store(
    unfinished: Path, target: Path, *, ids: Sequence[str], manifest: Mapping[str, Any]
) -> FeatureStore:
    """Turn a folder that holds ``features.npy`` and ``present.npy`` into a store, in one step.

    Args:
        unfinished: The folder; it is renamed.
        target: What the store is to be called, see ``write_store``.
        ids: n distinct item ids.
        manifest: What to record, see ``write_store``.

    Raises:
        FeatureError: The arrays make no valid store.
        OSError: A file cannot be written.
    """
    (unfinished / "ids.json").write_text(json.dumps(list(ids)), encoding="utf-8")
    features = np.load(unfinished / "features.npy", mmap_mode="r", allow_pickle=False)
    files = {
        name: {
            "bytes": (unfinished / name).stat().st_size,
            "sha256": file_sha256(unfinished / name),
        }
        for name in _DATA_FILES
    }
    record = {
        **manifest,
        "format_version": FORMAT_VERSION,
        "dim": features.shape[1],
        "dtype": features.dtype.name,
        "finite": True,
        "files": files,
    }
    (unfinished / "manifest.json").write_text(json.dumps(record, indent=2), encoding="utf-8")
    FeatureStore.open(unfinished)._check_values()
    return _publish(unfinished, target)


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turns an ``OSError`` while a store is written into a ``FeatureError``."""
    try:
        yield
    except OSError as error:
        raise FeatureError(
            f"the feature store cannot be written ({error})",
            expected="a folder with enough space that this user may write to",
            fix="free space or choose another output folder",
            path=target,
        ) from error


def _publish(unfinished: Path, target: Path) -> FeatureStore:
    """Rename the finished folder into place, or settle for what another process put there."""
    for attempts_left in (2, 1, 0):
        try:
            unfinished.rename(target)
            break
        except OSError:
            if not target.exists() or not attempts_left:
                raise
        try:
            return FeatureStore.open(target, verify=True)
        except FeatureError:
            set_aside(target)
    return FeatureStore.open(target)


def set_aside(target: Path) -> Path | None:
    """Rename what stands where a store should be; returns its new path, None if it was gone."""
    aside = target.with_name(f"{target.name}.damaged-{uuid.uuid4().hex[:8]}")
    try:
        return target.rename(aside)
    except FileNotFoundError:
        return None


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise FeatureError(
            "this is no folder",
            expected="a feature store folder",
            fix="check the path; `python -m feature_extraction extract` makes a store",
            path=path,
        )
    manifest = _parsed(path / "manifest.json", lambda file: json.loads(file.read_bytes()))
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if version != FORMAT_VERSION:
        _refuse(path, f"the format version is {version!r} instead of {FORMAT_VERSION}")
    if manifest.get("finite") is not True:
        _refuse(path, "the manifest does not say that all features are finite")
    return dict(manifest)


def _check_files(path: Path, manifest: Mapping[str, Any], *, verify: bool) -> None:
    files = manifest.get("files")
    for name in _DATA_FILES:
        entry = files.get(name) if isinstance(files, dict) else None
        if not isinstance(entry, dict):
            _refuse(path, f"the manifest does not list {name}")
        file = path / name
        if not file.is_file():
            _refuse(path, f"{name} is missing")
        if file.stat().st_size != entry.get("bytes"):
            _refuse(path, f"{name} has {file.stat().st_size} bytes, not {entry.get('bytes')}")
        # The other files are small next to the features.
        if (verify or name != "features.npy") and file_sha256(file) != entry.get("sha256"):
            _refuse(path, f"{name} was changed after it was written")


def _parse_ids(file: Path) -> tuple[str, ...]:
    ids = json.loads(file.read_bytes())
    if not isinstance(ids, list) or not all(isinstance(item, str) for item in ids):
        raise ValueError("not a list of strings")
    if len(set(ids)) != len(ids):
        raise ValueError("ids occur more than once")
    return tuple(ids)


def _parsed(file: Path, parse: Callable[[Path], _Value]) -> _Value:
    try:
        return parse(file)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        _refuse(file.parent, f"{file.name} cannot be read ({error})", error)


def _refuse(path: Path, found: str, cause: Exception | None = None) -> NoReturn:
    raise FeatureError(
        found,
        expected="a whole feature store of this version",
        fix="extract the features again, or restore the folder from a copy",
        path=path,
    ) from cause
