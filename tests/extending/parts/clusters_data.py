"""A data module: arrays in memory, with facts and features."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from slifmr_pl import FrozenFeatures, RawData, RecommendationDataModule, Vocabulary, raw_data

N_USERS, N_ITEMS = 40, 24


class ClustersDataModule(RecommendationDataModule):
    """Users like the items of their cluster; a fact and a feature of an item say which it is."""

    def __init__(self, clusters: int = 3, **options: Any) -> None:
        super().__init__(**options)
        self.clusters = clusters

    def tables(self) -> RawData:
        random = np.random.default_rng(0).random((N_USERS, N_ITEMS))
        same = np.arange(N_USERS)[:, None] % self.clusters == np.arange(N_ITEMS) % self.clusters
        users, items = np.nonzero(random < np.where(same, 0.8, 0.1))
        facts = [(f"{item}", "is", f"c{item % self.clusters}") for item in range(N_ITEMS)]
        kg = dict(zip(("head_id", "relation_id", "tail_id"), zip(*facts, strict=True), strict=True))
        interactions = pa.table({"user_id": users.astype(str), "item_id": items.astype(str)})
        return raw_data(interactions, kg=pa.table({name: list(ids) for name, ids in kg.items()}))

    def features(self, items: Vocabulary) -> Mapping[str, FrozenFeatures]:
        numbers = np.array([int(item) for item in items.ids.to_pylist()])
        values = np.eye(self.clusters, dtype=np.float32)[numbers % self.clusters]
        present = numbers % 5 > 0
        return {"cluster": FrozenFeatures(values * present[:, None], present)}
