"""A store under way: shards are written straight to disk, and survive whatever ends the run.

The folder stands beside the store, as ``<store>.partial``. Rows go into arrays of the final size; a
small file per shard says that all of its rows are there. What was finished is never done again.
"""

import csv
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_extraction.encoders.preparation import Failure
from feature_extraction.stores.store import FAILURES, FeatureStore, finish_store

SHARD_ROWS = 4096
"""Items of a shard: what a kill costs at most, and the window in which texts are sorted."""

logger = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """What happened to the inputs of a shard, or of all.

    Args:
        failures: Inputs that cannot be used.
        failed: Items that have inputs, of which none can be used.
        long: Texts with more tokens than the encoder takes.
    """

    failures: list[Failure]
    failed: int
    long: int


class PartialStore:
    """The arrays and finished shards of a store under way.

    Args:
        folder: Where it stands; arrays of another shape in it are begun anew.
        rows: Items n of the whole store.
        dim: Feature size d.
        dtype: ``float32`` or ``float16``.

    Raises:
        OSError: The folder cannot be written.
    """

    def __init__(self, folder: Path, rows: int, dim: int, dtype: str) -> None:
        self.folder = folder
        self.rows = rows
        self._marks = folder / f"shards-of-{SHARD_ROWS}"
        if self._fits((rows, dim), dtype):
            return
        shutil.rmtree(self._marks, ignore_errors=True)
        for name, shape, kind in (("features", (rows, dim), dtype), ("present", (rows,), "bool")):
            np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.dtype(kind), shape)
        self._marks.mkdir(parents=True)

    @property
    def shards(self) -> range:
        """All shards by number."""
        return range(-(-self.rows // SHARD_ROWS))

    def start(self, shard: int) -> int:
        """First row of a shard."""
        return shard * SHARD_ROWS

    def size(self, shard: int) -> int:
        """Rows of a shard."""
        return min(SHARD_ROWS, self.rows - self.start(shard))

    def missing(self) -> list[int]:
        """Shards that are not finished, in order."""
        return [shard for shard in self.shards if not self._mark(shard).exists()]

    def write(
        self,
        shard: int,
        features: NDArray[np.floating[Any]],
        present: NDArray[np.bool_],
        outcome: Outcome,
    ) -> None:
        """Write the rows of a shard, and then that they are there.

        Args:
            shard: Its number.
            features: ``[rows of the shard, d]``; rows not present are zero.
            present: bool, one per row.
            outcome: What happened to its inputs.
        """
        for name, values in (("features", features), ("present", present)):
            self._write_rows(self.folder / f"{name}.npy", self.start(shard), values)
        unfinished = self._mark(shard).with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps(outcome), encoding="utf-8")
        unfinished.replace(self._mark(shard))

    def outcome(self) -> Outcome:
        """Return what happened to the inputs of all shards."""
        parts = [Outcome(*json.loads(self._mark(shard).read_bytes())) for shard in self.shards]
        return Outcome(
            [Failure(*failure) for part in parts for failure in part.failures],
            sum(part.failed for part in parts),
            sum(part.long for part in parts),
        )

    def present(self) -> int:
        """Return how many items have features."""
        return int(np.load(self.folder / "present.npy", allow_pickle=False).sum())

    def finish(
        self, target: Path, *, ids: Sequence[str], manifest: Mapping[str, Any]
    ) -> FeatureStore:
        """Turn the folder into a store, see ``finish_store``; its marks go last of all."""
        failures = self.outcome().failures
        if failures:
            with (self.folder / FAILURES).open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([Failure._fields, *failures])
        store = finish_store(self.folder, target, ids=ids, manifest=manifest)
        shutil.rmtree(target / self._marks.name, ignore_errors=True)
        (target / _LOCK).unlink(missing_ok=True)
        return store

    @staticmethod
    def _write_rows(path: Path, start: int, values: NDArray[Any]) -> None:
        # Not through the memory map: a full disk would end the process there, without a word.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        with path.open("r+b") as file:
            file.seek(array.offset + start * array.strides[0])
            file.write(np.ascontiguousarray(values, dtype=array.dtype).tobytes())
            file.flush()
            os.fsync(file.fileno())

    def _mark(self, shard: int) -> Path:
        return self._marks / f"{shard:06}.json"

    def _fits(self, shape: tuple[int, int], dtype: str) -> bool:
        try:
            features, present = (
                np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                for name in ("features", "present")
            )
        except (OSError, ValueError, EOFError):
            return False
        same = features.shape == shape and features.dtype == dtype and present.shape == shape[:1]
        return same and self._marks.is_dir()


_LOCK = "lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes the folder of a partial store and keeps other processes out; waits while one is in.

    The lock ends with its process, however that ends.
    """
    import fcntl  # what is not POSIX can still read stores

    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / _LOCK).open("w") as file:
            try:
                # Not flock, which workers that were forked would hold beyond their parent's end.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                logger.info("another process computes %s: waiting for it", folder)
                fcntl.lockf(file, fcntl.LOCK_EX)
            # Whoever held it may have finished the store meanwhile, and the folder with it.
            if not _is_at(file.fileno(), folder / _LOCK):
                continue
            try:
                yield
            finally:
                if [path.name for path in folder.glob("*")] == [_LOCK]:
                    shutil.rmtree(folder)
            return


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
