"""From a data set and its feature stores to what a model is given: graphs and features."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from feature_extraction import FeatureStore
from slifmr_pl.data.catalogue import Catalogue
from slifmr_pl.data.dataset import RecommendationData
from slifmr_pl.data.features import aligned_features
from slifmr_pl.data.interactions import Interactions
from slifmr_pl.data.missing import Completed, Missing, complete
from slifmr_pl.data.perturbations import Perturbations, kept_features
from slifmr_pl.errors import ConfigError, DataError
from slifmr_pl.graphs.cache import cached_neighbours, cached_triples
from slifmr_pl.graphs.heterogeneous import HeterogeneousGraph
from slifmr_pl.graphs.inputs import ItemFeatures, ModelInputs
from slifmr_pl.graphs.neighbours import NeighbourSearch
from slifmr_pl.graphs.triples import DirectedTriples

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GraphBuilder:
    """Builds graphs and features of data sets.

    Attributes:
        cache: Where aligned features, neighbours, sorted triples and regressions are kept.
        missing: By modality, what stands for items without features; also the modalities there are.
        neighbours: k of the modality graphs.
        centre_features: Subtract the mean feature before neighbours are searched.
        search: Exact or approximate search of the neighbours.
        perturbations: Which features are taken away.
        memory_budget_mb: Working memory of the neighbour search, in MiB.

    Raises:
        ConfigError: If a modality that is to be perturbed is not there.
    """

    cache: Path
    missing: Mapping[str, Missing] = field(default_factory=dict)
    neighbours: int = 10
    centre_features: bool = True
    search: NeighbourSearch = NeighbourSearch()
    perturbations: Perturbations = Perturbations()
    memory_budget_mb: int = 256

    def __post_init__(self) -> None:
        unknown = sorted(set(self.perturbations.missing_features) - set(self.missing))
        if unknown:
            raise ConfigError(
                f"data.perturbations.missing_features names {', '.join(unknown)}",
                expected=f"some of {', '.join(self.missing) or 'no modality'}",
                fix="name modalities of data.modalities",
            )

    def build(self, data: RecommendationData, stores: Mapping[str, FeatureStore]) -> ModelInputs:
        """Graphs and features, with a fingerprint of all that they depend on.

        Args:
            data: Filtered, numbered, split and joined.
            stores: Feature store of each modality.

        Raises:
            DataError: If no item of the catalogue has features of a modality.
        """
        digest = hashlib.sha256(data.fingerprint.encode())
        digest.update(f"{self.neighbours} {self.centre_features}".encode())
        features, modalities = {}, {}
        for name, store in stores.items():
            completed = self._completed(name, store, data)
            features[name] = ItemFeatures(
                torch.from_numpy(completed.values), torch.from_numpy(completed.present)
            )
            modalities[name] = cached_neighbours(
                self.cache / "neighbours",
                features[name].values,
                self.neighbours,
                present=torch.from_numpy(completed.searched),
                memory_budget_mb=self.memory_budget_mb,
                centre=self.centre_features,
                search=self.search,
            )
            digest.update(self._origin(name, store, len(completed.values)).encode())
        graph = HeterogeneousGraph(
            n_users=len(data.users),
            n_items=len(data.items),
            users=torch.from_numpy(data.train.users),
            items=torch.from_numpy(data.train.items),
            modalities=modalities,
            present={name: feature.present for name, feature in features.items()},
            learned=tuple(name for name in modalities if self.missing[name] == "learned"),
            triples=self._triples(data),
        )
        held_out = Interactions(
            np.concatenate([data.valid.users, data.test.users]),
            np.concatenate([data.valid.items, data.test.items]),
        )
        catalogue = Catalogue(data.users, data.items, data.entities, data.relations, held_out)
        return ModelInputs(
            graph,
            features,
            digest.hexdigest(),
            data.vocabulary_fingerprint,
            catalogue,
            self.cache,
        )

    def _origin(self, name: str, store: FeatureStore, n_items: int) -> str:
        """What tells the features and neighbours of a modality from others, for the fingerprint."""
        parts = []
        if not self.search.is_exact(n_items):
            parts.append(f"approximate {self.search.recall}")
        parts.append(f"{name} {store.manifest['content_key']}")
        if self.missing[name] != "mask":
            parts.append(f"missing {self.missing[name]}")
        if lost := self.perturbations.missing_features.get(name):
            parts.append(f"lost {lost} {self.perturbations.seed}")
        return "".join(parts)

    def _completed(self, name: str, store: FeatureStore, data: RecommendationData) -> Completed:
        """Features of the catalogue's items, with whatever stands for those that have none."""
        values, present = aligned_features(store, data.items, self.cache / "aligned")
        if lost := self.perturbations.missing_features.get(name):
            present = kept_features(present, lost, self.perturbations.seed, name)
            values = np.where(present[:, None], values, np.float32(0))
        if not present.any():
            raise DataError(
                f"modality {name}: none of the {len(present)} items has features",
                expected="features of at least one item of the catalogue",
                fix="check that the store was extracted from these items",
                path=store.path,
            )
        policy = self.missing[name]
        completed = complete(values, present, policy, data.train, len(data.users))
        logger.info(
            "modality %s: %d of %d items have features, %d count with missing: %s",
            name,
            present.sum(),
            len(present),
            completed.present.sum(),
            policy,
        )
        return completed

    def _triples(self, data: RecommendationData) -> DirectedTriples | None:
        triples = data.triples
        if not len(triples.heads):
            return None
        return cached_triples(
            self.cache / "triples",
            torch.from_numpy(triples.heads),
            torch.from_numpy(triples.relations),
            torch.from_numpy(triples.tails),
            n_entities=len(data.entities),
            n_relations=len(data.relations),
        )
