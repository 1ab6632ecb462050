"""Findings in features that are there already: do they say who likes what?"""

import math

import numpy as np

from feature_extraction.stores.neighbour_quality import NeighbourQuality, Similarity, qualities
from slifmr_pl.data.canonical import RawData
from slifmr_pl.data.dataset import RecommendationData
from slifmr_pl.data.features import ready_stores
from slifmr_pl.recommendation_datamodule import RecommendationDataModule


def signals(
    raw: RawData | None, data: RecommendationData, module: RecommendationDataModule
) -> dict[str, NeighbourQuality]:
    """Measures the nearest neighbours of each modality against the training interactions.

    Args:
        raw: The tables; None where there are none, and so no sources of features.
        data: What was made of them.
        module: The configuration.

    Returns:
        By modality; those are left out that have no features yet, or none of items with training
        interactions.
    """
    if raw is None:
        return {}
    usual: Similarity = "centred" if module.centre_features else "plain"
    found = {}
    for name, store in ready_stores(raw, module.modalities, module.cache / "features").items():
        similarity = module.modalities[name].similarity or usual
        rows = data.items.encode(list(store.ids), unknown=-1)
        place = np.full(len(data.items), -1, np.int64)
        place[rows[rows >= 0]] = np.flatnonzero(rows >= 0)
        own = place[data.train.items] >= 0
        measured = qualities(
            store.features,
            store.present & (rows >= 0),
            data.train.users[own],
            place[data.train.items[own]],
            [similarity],
        )
        quality = dict(measured).get(similarity)
        if quality is not None and not math.isnan(quality.lift):
            found[name] = quality
    return found
