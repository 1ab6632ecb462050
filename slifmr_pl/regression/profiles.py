"""Profiles of items: vectors of what is known of each, from features or from facts.

I = items, q = size of a profile.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize

from slifmr_pl.graphs.model_inputs import ItemFeatures
from slifmr_pl.graphs.triples import DirectedTriples

Facts = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Items int64 [f], and the number of the fact that each has there, int64 [f]."""

_LEADING = 256


def directions(features: ItemFeatures, mean: Tensor | None = None) -> Tensor:
    """Features minus their mean, as unit vectors.

    Args:
        features: Of I items.
        mean: float32 [d_m]; by default that of the items with features.

    Returns:
        float32 [I, d_m], unit vectors; zeros where an item does not have the modality, or zeros
        stand for its features.
    """
    having = features.present & features.values.any(1)
    if mean is None:
        mean = features.values[having].sum(0) / having.sum().clamp_min(1)
    return normalize(features.values - mean) * having.unsqueeze(1)


def leading_directions(features: ItemFeatures) -> npt.NDArray[np.float64]:
    """`directions`; of more than 256 for as many items only the leading components are kept.

    Returns:
        float64 [I, q], rows of length 1 or less, the same at every call.
    """
    vectors = directions(features)
    if vectors.shape[1] > _LEADING and len(vectors) > _LEADING:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)  # the search begins at random
            left, singular, _ = torch.pca_lowrank(vectors, q=_LEADING, center=False)
        vectors = left * singular
    return vectors.double().numpy()


def facts_of(triples: DirectedTriples, n_items: int) -> Facts:
    """What the triples say of items: a fact is a directed relation to an entity."""
    of_items = triples.heads < n_items
    heads, relations, tails = (
        part[of_items].cpu() for part in (triples.heads, triples.relations, triples.tails)
    )
    return heads.numpy(), (relations * triples.n_entities + tails).numpy()


class SharedFacts(NamedTuple):
    """The facts that at least two items have; a fact of one item alone relates it to no other.

    Attributes:
        numbers: int64 [q], ascending.
        rarity: float64 [q], log((I + 1) ÷ items that have it).
    """

    numbers: npt.NDArray[np.int64]
    rarity: npt.NDArray[np.float64]

    @classmethod
    def among(cls, facts: Facts, n_items: int) -> "SharedFacts":
        """Those among the facts of I items."""
        numbers, counts = np.unique(facts[1], return_counts=True)
        numbers, counts = numbers[counts > 1], counts[counts > 1]
        return cls(numbers, np.log((n_items + 1) / counts))

    def profiles(self, facts: Facts, n_items: int) -> Any:
        """A unit vector an item over the shared facts, rare ones counting more; CSR float64 [I, q].

        Args:
            facts: Of these or other items; facts that are not shared are left out.
            n_items: Number of those items; one without a shared fact has an empty row.
        """
        from scipy import sparse

        items, numbers = facts
        shared = np.isin(numbers, self.numbers)
        items, columns = items[shared], np.searchsorted(self.numbers, numbers[shared])
        shape = n_items, len(self.numbers)
        matrix = sparse.csr_array((self.rarity[columns], (items, columns)), shape=shape)
        lengths = np.sqrt(matrix.multiply(matrix).sum(axis=1))
        return sparse.diags_array(1 / np.maximum(lengths, 1e-12)) @ matrix
