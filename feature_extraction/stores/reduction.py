"""Fewer columns: principal components that are fitted on the items of a store, and kept with it.

Shapes: n items, d feature size, r components.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feature_extraction.errors import FeatureError
from feature_extraction.hashing import file_sha256
from feature_extraction.stores.store import FeatureStore, finish_store, unfinished_store

Features = NDArray[np.floating[Any]]

REDUCTION = "reduction.safetensors"
"""File of a store that holds its reduction, to reduce further features likewise."""

_ROWS = 16_384  # read at once
_NO_VARIANCE = 1e-12  # of the largest: what float32 features have of rounding alone


@dataclass(frozen=True, eq=False)
class Reduction:
    """The directions in which the features of items vary most.

    Args:
        mean: float64 ``[d]``.
        directions: float64 ``[d, r]``, orthogonal; of unit length, or, to whiten, divided by the
            standard deviation of the items along them.
        explained: Share of the items' variance that is along them.
    """

    mean: NDArray[np.float64]
    directions: NDArray[np.float64]
    explained: float

    @classmethod
    def fit(
        cls, features: Features, present: NDArray[np.bool_], size: int | None, *, whiten: bool
    ) -> "Reduction":
        """Fit on items that are present, by the eigenvectors of their covariance.

        Args:
            features: ``[n, d]``, in memory or memory-mapped.
            present: bool ``[n]``.
            size: r; None takes all directions in which they vary.
            whiten: Whether every column gets variance 1.

        Raises:
            FeatureError: The features vary in fewer than r directions.
        """
        count, total = 0, np.zeros(features.shape[1])
        for rows in _blocks(features, present):
            count, total = count + len(rows), total + rows.sum(0)
        mean = total / count
        covariance = np.zeros((len(mean), len(mean)))
        for rows in _blocks(features, present):
            centred = rows - mean
            covariance += centred.T @ centred
        variances, vectors = np.linalg.eigh(covariance / count)
        variances, vectors = variances[::-1], vectors[:, ::-1]  # the largest first
        rank = int((variances > _NO_VARIANCE * variances[0]).sum())
        size = rank if size is None else size
        if not 1 <= size <= rank:
            raise FeatureError(
                f"the features of {count:,} items vary in {rank:,} directions, and are to be "
                f"reduced to {size:,}",
                expected=f"1 to {rank:,} columns",
                fix="reduce to fewer columns",
            )
        directions = vectors[:, :size]
        # An eigenvector has no sign of its own: its largest entry is positive.
        largest = np.abs(directions).argmax(0)
        directions = directions * np.sign(directions[largest, np.arange(size)])
        if whiten:
            directions = directions / np.sqrt(variances[:size])
        return cls(mean, directions, float(variances[:size].sum() / variances[:rank].sum()))

    @classmethod
    def load(cls, folder: Path) -> "Reduction":
        """Read the reduction of a store folder.

        Raises:
            FeatureError: It has none, or it was changed.
        """
        from safetensors.numpy import load_file

        store = FeatureStore.open(folder)
        entry = store.manifest.get("reduction", {})
        file = folder / REDUCTION
        if not file.is_file() or file_sha256(file) != entry.get("sha256"):
            raise FeatureError(
                f"{REDUCTION} is missing, or was changed",
                expected="a store that was reduced",
                fix="reduce the features again",
                path=folder,
            )
        arrays = load_file(file)
        return cls(arrays["mean"], arrays["directions"], entry["explained_variance"])

    def __call__(self, features: Features) -> NDArray[np.float64]:
        """Reduce features ``[n, d]`` to ``[n, r]``."""
        reduced: NDArray[np.float64] = (features - self.mean) @ self.directions
        return reduced


def reduce_store(
    store: FeatureStore, target: Path, key: str, size: int, *, whiten: bool
) -> FeatureStore:
    """Write a store of the same items with fewer columns, of the same type.

    Args:
        store: The features.
        target: The folder to write.
        key: Its content key.
        size: Columns.
        whiten: Whether every column gets variance 1.

    Raises:
        FeatureError: The features vary in fewer directions, or the folder cannot be written.
    """
    from safetensors.numpy import save_file

    reduction = Reduction.fit(store.features, store.present, size, whiten=whiten)
    with unfinished_store(target) as folder:
        shape = (len(store.ids), size)
        features = np.lib.format.open_memmap(
            folder / "features.npy", "w+", store.features.dtype, shape
        )
        for start in range(0, len(features), _ROWS):
            block = slice(start, start + _ROWS)
            values = reduction(store.features[block].astype(np.float64))
            features[block] = np.where(store.present[block, None], values, 0)
        features.flush()
        np.save(folder / "present.npy", store.present, allow_pickle=False)
        save_file(
            {"mean": reduction.mean, "directions": np.ascontiguousarray(reduction.directions)},
            folder / REDUCTION,
        )
        store.copy_failures(folder)
        manifest = {
            **store.manifest,
            "content_key": key,
            "reduction": {
                "columns": size,
                "of": store.features.shape[1],
                "whitened": whiten,
                "explained_variance": reduction.explained,
                "full_store": store.path.name,
                "sha256": file_sha256(folder / REDUCTION),
            },
        }
        return finish_store(folder, target, ids=store.ids, manifest=manifest)


def _blocks(features: Features, present: NDArray[np.bool_]) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(features), _ROWS):
        block = slice(start, start + _ROWS)
        yield features[block][present[block]].astype(np.float64)
