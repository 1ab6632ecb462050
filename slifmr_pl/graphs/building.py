"""From a data set and its feature stores to what a model is given: graphs and features."""

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from feature_extraction.stores.neighbour_quality import Similarity, neighbour_quality
from slifmr_pl.data.array_cache import cached_call
from slifmr_pl.data.catalogue import Catalogue
from slifmr_pl.data.dataset import RecommendationData
from slifmr_pl.data.frozen_features import FrozenFeatures
from slifmr_pl.data.interactions import Interactions
from slifmr_pl.data.missing import Completed, complete_features
from slifmr_pl.data.perturbations import Perturbations, kept_features
from slifmr_pl.errors import ConfigError, DataError
from slifmr_pl.graphs.heterogeneous import HeterogeneousGraph
from slifmr_pl.graphs.model_inputs import ItemFeatures, ModelInputs
from slifmr_pl.graphs.neighbours import Neighbours, NeighbourSearch, cosine_neighbours
from slifmr_pl.graphs.triples import DirectedTriples

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GraphBuilder:
    """Builds graphs and features of data sets.

    Attributes:
        cache: Where neighbours, sorted triples and regressions are kept; None keeps nothing.
        neighbours: k of the modality graphs.
        centre_features: Subtract the mean feature before neighbours are searched, unless a
            modality has a `similarity` of its own.
        search: Exact or approximate search of the neighbours.
        perturbations: Which features are taken away.
        memory_budget_mb: Working memory of the neighbour search, in MiB.
    """

    cache: Path | None = None
    neighbours: int = 10
    centre_features: bool = True
    search: NeighbourSearch = NeighbourSearch()
    perturbations: Perturbations = Perturbations()
    memory_budget_mb: int = 256

    def build(
        self, data: RecommendationData, features: Mapping[str, FrozenFeatures]
    ) -> ModelInputs:
        """Graphs and features, with a fingerprint of all that they depend on.

        Args:
            data: Filtered, numbered, split and joined.
            features: Of each modality, row i of item i.

        Raises:
            ConfigError: If a modality that is to be perturbed is not there.
            DataError: If no item of the catalogue has features of a modality.
        """
        require_modalities(self.perturbations, features)
        digest = hashlib.sha256(data.fingerprint.encode())
        digest.update(f"{self.neighbours} {self.centre_features}".encode())
        completed, modalities = {}, {}
        for name, given in features.items():
            whole = self._completed(name, given, data)
            completed[name] = ItemFeatures(
                torch.from_numpy(whole.values), torch.from_numpy(whole.present)
            )
            modalities[name] = self._neighbours(whole, self._similarity(given))
            _tell_quality(name, modalities[name], data)
            digest.update(self._identity(name, given).encode())
        graph = HeterogeneousGraph(
            n_users=len(data.users),
            n_items=len(data.items),
            users=torch.from_numpy(data.train.users),
            items=torch.from_numpy(data.train.items),
            modalities=modalities,
            present={name: feature.present for name, feature in completed.items()},
            learned=tuple(name for name in features if features[name].missing == "learned"),
            triples=self._triples(data),
        )
        held_out = Interactions(
            np.concatenate([data.valid.users, data.test.users]),
            np.concatenate([data.valid.items, data.test.items]),
        )
        catalogue = Catalogue(data.users, data.items, data.entities, data.relations, held_out)
        return ModelInputs(
            graph,
            completed,
            digest.hexdigest(),
            data.vocabulary_fingerprint,
            catalogue,
            self.cache,
        )

    @property
    def _default_similarity(self) -> Similarity:
        return "centred" if self.centre_features else "plain"

    def _similarity(self, features: FrozenFeatures) -> Similarity:
        return features.similarity or self._default_similarity

    def _identity(self, name: str, features: FrozenFeatures) -> str:
        """What tells the features and neighbours of a modality from others, for the fingerprint."""
        parts = []
        if not self.search.is_exact(len(features.values)):
            parts.append(f"approximate {self.search.recall}")
        parts.append(f"{name} {features.content_key}")
        if self._similarity(features) != self._default_similarity:
            parts.append(f"similarity {features.similarity}")
        if features.missing != "mask":
            parts.append(f"missing {features.missing}")
        if lost := self.perturbations.missing_features.get(name):
            parts.append(f"lost {lost} {self.perturbations.seed}")
        return "".join(parts)

    def _completed(
        self, name: str, features: FrozenFeatures, data: RecommendationData
    ) -> Completed:
        """Features of the catalogue's items, with whatever stands for those that have none."""
        values, present = features.values, features.present
        if values.shape[:1] != (len(data.items),) or present.shape != (len(data.items),):
            raise DataError(
                f"modality {name}: features {list(values.shape)}, present {list(present.shape)}",
                expected=f"a row for each of the {len(data.items)} items of the catalogue",
                fix="give row i to item i of the vocabulary",
                path=features.path,
            )
        if lost := self.perturbations.missing_features.get(name):
            present = kept_features(present, lost, self.perturbations.seed, name)
            values = np.where(present[:, None], values, np.float32(0))
        if not present.any():
            raise DataError(
                f"modality {name}: none of the {len(present)} items has features",
                expected="features of at least one item of the catalogue",
                fix="check that the store was extracted from these items",
                path=features.path,
            )
        policy = features.missing
        completed = complete_features(values, present, policy, data.train, len(data.users))
        logger.info(
            "modality %s: %d of %d items have features, %d count with missing: %s",
            name,
            present.sum(),
            len(present),
            completed.present.sum(),
            policy,
        )
        return completed

    def _neighbours(self, features: Completed, similarity: Similarity) -> Neighbours:
        return cached_call(
            cosine_neighbours,
            Neighbours,
            {
                "features": torch.from_numpy(features.values),
                "k": self.neighbours,
                "present": torch.from_numpy(features.searched),
                "centre": similarity != "plain",
                "whiten": similarity == "whitened",
                "search": self.search,
            },
            folder=self.cache and self.cache / "neighbours",
            name="neighbours",
            unkeyed={"memory_budget_mb": self.memory_budget_mb},
            sources=Path(__file__).parent.rglob("*.py"),
        )

    def _triples(self, data: RecommendationData) -> DirectedTriples | None:
        triples = data.triples
        if not len(triples.heads):
            return None
        n_entities, n_relations = len(data.entities), len(data.relations)
        both = cached_call(
            _in_both_directions,
            _Triples,
            {
                "heads": torch.from_numpy(triples.heads),
                "relations": torch.from_numpy(triples.relations),
                "tails": torch.from_numpy(triples.tails),
                "n_relations": n_relations,
            },
            folder=self.cache and self.cache / "triples",
            name="triples",
            unkeyed={"n_entities": n_entities},
            sources=[Path(__file__).parent / "triples.py"],
        )
        return DirectedTriples(*both, n_entities=n_entities, n_relations=2 * n_relations)


def _tell_quality(name: str, neighbours: Neighbours, data: RecommendationData) -> None:
    """Logs how much the neighbours of a modality say of who likes what."""
    train = data.train
    quality = neighbour_quality(neighbours.indices.numpy(), train.users, train.items)
    logger.info("modality %s, nearest neighbours: %s", name, quality)
    if quality.at_chance:
        logger.warning(
            "modality %s: neighbours share users hardly more often than by chance (lift %.2f ± "
            "%.2f): its features say little of who likes what; look at them with "
            "`python -m feature_extraction verify STORE --sheet sheet.png`, or leave it out",
            *(name, quality.lift, quality.error),
        )


class _Triples(NamedTuple):
    heads: torch.Tensor
    relations: torch.Tensor
    tails: torch.Tensor


def _in_both_directions(**triples: Any) -> _Triples:
    both = DirectedTriples.bidirectional(**triples)
    return _Triples(both.heads, both.relations, both.tails)


def require_modalities(perturbations: Perturbations, modalities: Iterable[str]) -> None:
    """Refuses to perturb a modality that is not there.

    Raises:
        ConfigError: If one is not.
    """
    known = list(modalities)
    if unknown := sorted(set(perturbations.missing_features) - set(known)):
        raise ConfigError(
            f"data.perturbations.missing_features names {', '.join(unknown)}",
            expected=f"some of {', '.join(known) or 'no modality'}",
            fix="name modalities of data.modalities",
        )
