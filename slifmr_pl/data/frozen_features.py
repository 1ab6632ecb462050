"""Frozen features of a catalogue's items: the rows of a store in the order of the items.

I items, d feature size.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from feature_extraction import FeatureStore
from feature_extraction.stores.neighbour_quality import Similarity
from slifmr_pl.data.array_cache import Arrays, cached_arrays, content_key
from slifmr_pl.data.cautions import written_alike
from slifmr_pl.data.dataset import RecommendationData
from slifmr_pl.data.interaction_sources import InteractionRows, mean_features, training_rows
from slifmr_pl.data.missing import Missing
from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.errors import DataError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class FrozenFeatures:
    """Features of one modality for the items of a catalogue; row i is of item i.

    Attributes:
        values: float32 ``[I, d]``; finite, also in rows that are not used.
        present: bool ``[I]``, which items have features.
        missing: What stands for the features of the others, see `ModalitySource`.
        content_key: What tells these features from others; by default a hash of the arrays.
        path: Where they come from, for errors.
        similarity: What the cosines of the modality graph are of, see `ModalitySource`.
    """

    values: npt.NDArray[np.float32]
    present: npt.NDArray[np.bool_]
    missing: Missing = "mask"
    content_key: str = ""
    path: Path | None = None
    similarity: Similarity | None = None

    def __post_init__(self) -> None:
        if not self.content_key:
            if self.values.dtype != np.float32 or not np.isfinite(self.values).all():
                raise DataError(
                    f"features of {self.values.dtype} that are not all finite float32 numbers",
                    expected="float32, rows of items without features zero",
                    fix="convert with .astype(np.float32), and fill what is missing with 0",
                    path=self.path,
                )
            arrays = {"values": self.values, "present": self.present}
            object.__setattr__(self, "content_key", content_key({}, arrays, []))


def written_features(
    store: FeatureStore,
    rows: InteractionRows,
    data: RecommendationData,
    missing: Missing = "mask",
    similarity: Similarity | None = None,
) -> FrozenFeatures:
    """Features of items as the mean over reviews, or over texts of users, by training alone.

    Args:
        store: Features of the rows.
        rows: The table that they are of.
        data: The data set, whose training interactions count.
        missing: See `FrozenFeatures`.
        similarity: See `FrozenFeatures`.

    Raises:
        DataError: No row is of a training interaction.
    """
    counted = training_rows(rows, data.users, data.items, data.train)
    values, present = mean_features(store, counted)
    logger.info(
        "%s: %s of the %s rows count, for %s of %s items",
        *(rows.path, f"{len(np.unique(counted.indices)):,}", f"{counted.shape[1]:,}"),
        *(f"{int(present.sum()):,}", f"{len(present):,}"),
    )
    return FrozenFeatures(values, present, missing, path=store.path, similarity=similarity)


def aligned_features(
    store: FeatureStore,
    items: Vocabulary,
    cache: Path,
    missing: Missing = "mask",
    similarity: Similarity | None = None,
) -> FrozenFeatures:
    """A store's features in the order of the items, see `FeatureStore.aligned`.

    They are kept in a file of the cache, so that the processes of a machine share its pages.

    Raises:
        DataError: The store is of none of the items.
    """
    known = pc.is_in(items.ids, pa.array(store.ids, pa.string()))
    inside = pc.sum(known).as_py() or 0
    if store.ids and not inside:
        raise DataError(
            f"none of the {len(items):,} items has features: {store.ids[0]!r} stands there, "
            f"{items.ids[0].as_py()!r} in the interactions",
            expected="features of these items",
            fix=written_alike(items.ids, pa.array(store.ids, pa.string())),
            path=store.path,
        )
    if inside < len(items) / 2:
        other = items.ids[pc.index(known, False).as_py()].as_py()
        logger.warning(
            "%s: only %s of the %s items have features; %r has none, %r stands there",
            *(store.path, f"{inside:,}", f"{len(items):,}", other, store.ids[0]),
        )

    def aligned() -> Arrays:
        features, present = store.aligned(items.ids.to_pylist())
        return {"features": features, "present": present}

    settings = {"items": items.fingerprint(), "store": store.manifest["files"]}
    key = content_key(settings, {}, [Path(__file__)])
    arrays = cached_arrays(cache, "features", key, aligned)
    return FrozenFeatures(
        arrays["features"],
        arrays["present"],
        missing,
        store.manifest["content_key"],
        store.path,
        similarity,
    )
