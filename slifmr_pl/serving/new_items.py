"""Representations of items that training has not seen, from their features and facts.

A new item has no interactions, and those carry most of a known item's representation. What its
features say of it is learned from the known items: a linear map from their features to their
representations, by ridge regression, whose strength is chosen by leaving one item out at a time.
Shapes: I known items, n new ones, D features of all kinds together, d embedding size.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse.linalg import svds
from torch import Tensor

from feature_extraction import FeatureStore
from slifmr_pl.data.catalogue import Catalogue
from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.errors import DataError
from slifmr_pl.graphs.heterogeneous import HeterogeneousGraph
from slifmr_pl.graphs.model_inputs import ItemFeatures
from slifmr_pl.regression.profiles import Facts, SharedFacts, directions, facts_of

FACT_DIMS = 128
_RIDGES = torch.logspace(-2, 4, 25, dtype=torch.float64)


class FeatureMap(NamedTuple):
    """A linear map from features to representations.

    Attributes:
        mean: Mean representation, float64 [d].
        matrix: float64 [D, d].
        length: What a representation is multiplied with, so that new items are on average as long
            as known ones: a prediction is shorter than what it predicts, and would seldom get
            among the best.
        ridge: Strength of the regularisation.
        explained: Share of the variance of representations that is explained for items that are
            left out; 0 or below where features say nothing.
    """

    mean: Tensor
    matrix: Tensor
    length: float
    ridge: float
    explained: float

    def __call__(self, features: Tensor) -> Tensor:
        """Representations float32 [n, d] of float [n, D]."""
        return (self.length * (self.mean + features.double() @ self.matrix)).float()


def fit_feature_map(features: Tensor, representations: Tensor) -> FeatureMap:
    """Ridge regression with the strength of least leave-one-out error (Allen 1974, PRESS).

    Args:
        features: Of known items, float [I, D].
        representations: i* float [I, d].
    """
    x, y = features.double(), representations.double()
    mean = y.mean(0)
    y = y - mean
    eigenvalues, vectors = torch.linalg.eigh(x.T @ x)
    rotated = x @ vectors
    targets = rotated.T @ y

    def left_out(ridge: Tensor) -> Tensor:
        """Prediction of each item from the others."""
        shrunk = 1 / (eigenvalues.clamp_min(0) + ridge)
        leverage = (rotated.square() @ shrunk).clamp_max(1 - 1e-9).unsqueeze(1)
        predicted: Tensor = (rotated @ (shrunk.unsqueeze(1) * targets) - leverage * y) / (
            1 - leverage
        )
        return predicted

    errors = torch.stack([(y - left_out(ridge)).square().mean() for ridge in _RIDGES])
    best = _RIDGES[errors.argmin()]
    predicted = mean + left_out(best)
    shrunk = (1 / (eigenvalues.clamp_min(0) + best)).unsqueeze(1)
    return FeatureMap(
        mean=mean,
        matrix=vectors @ (shrunk * targets),
        length=float((mean + y).norm(dim=1).mean() / predicted.norm(dim=1).mean()),
        ridge=float(best),
        explained=float(1 - errors.min() / y.square().mean().clamp_min(1e-300)),
    )


def fact_vectors(known: Facts, new: Facts, n_known: int, n_new: int) -> tuple[Tensor, Tensor]:
    """What the knowledge graph says of items, in few dimensions.

    Profiles of the facts that known items share, projected on the leading directions of the known
    items (truncated SVD).

    Args:
        known: Facts of known items.
        new: Facts of new items.
        n_known: I.
        n_new: n.

    Returns:
        float32 [I, c] and [n, c] with c ≤ 128.
    """
    shared = SharedFacts.among(known, n_known)
    table, other = shared.profiles(known, n_known), shared.profiles(new, n_new)
    dims = min(FACT_DIMS, min(table.shape) - 1)
    if dims < 1:
        return torch.zeros(n_known, 0), torch.zeros(n_new, 0)
    *_, axes = svds(table, k=dims, v0=np.ones(min(table.shape)))  # a start makes it repeatable
    first, second = (torch.from_numpy(np.asarray(part @ axes.T)).float() for part in (table, other))
    return first, second


def new_item_features(
    known: Catalogue,
    graph: HeterogeneousGraph,
    new: Vocabulary,
    stores: Mapping[str, FeatureStore],
    facts: Sequence[tuple[str, str, str]],
) -> tuple[Tensor, Tensor, int]:
    """All kinds of features of known and new items, side by side.

    Args:
        known: The model's ids.
        graph: The model's graph, for the facts of known items.
        new: New items.
        stores: Feature stores that hold both.
        facts: (head, relation, tail) raw ids, one end a new item.

    Returns:
        float32 [I, D] and [n, D], and how many facts the model's knowledge graph cannot place.

    Raises:
        DataError: If there is neither store nor fact, a store lacks known or new items, or a fact
            is of no new item.
    """
    blocks = []
    for name, store in stores.items():
        here, there = (
            ItemFeatures(*map(torch.from_numpy, store.aligned(ids.ids.to_pylist())))
            for ids in (known.items, new)
        )
        for part, which in ((here, "known"), (there, "new")):
            if not part.present.any():
                raise DataError(
                    f"{name}: the store has features of none of the {len(part.present)} "
                    f"{which} items",
                    expected="features of known and new items by one encoder",
                    fix="extract the grown item table, with the encoder of the old one",
                    path=store.path,
                )
        mean = here.values[here.present].mean(0)
        blocks.append((directions(here, mean), directions(there, mean)))
    unknown = 0
    if facts:
        placed, unknown = _placed(known, graph.n_entities, new, facts)
        of_known: Facts = np.empty(0, np.int64), np.empty(0, np.int64)
        if graph.triples is not None:
            of_known = facts_of(graph.triples, graph.n_items)
        blocks.append(fact_vectors(of_known, placed, len(known.items), len(new)))
    if not blocks:
        raise DataError(
            "new items without features and facts",
            expected="stores, facts or both",
            fix="give the feature store of the grown catalogue, for example",
        )
    here_all, there_all = (torch.cat(parts, dim=1) for parts in zip(*blocks, strict=True))
    return here_all, there_all, unknown


def _placed(
    known: Catalogue, n_entities: int, new: Vocabulary, facts: Sequence[tuple[str, str, str]]
) -> tuple[Facts, int]:
    """Facts of new items with the numbers that `facts_of` gives."""
    heads, relations, tails = map(list, zip(*facts, strict=True))
    new_heads, new_tails = new.encode(heads, unknown=-1), new.encode(tails, unknown=-1)
    inverse = new_heads < 0
    of_none = np.flatnonzero(inverse & (new_tails < 0))
    if len(of_none):
        raise DataError(
            f"{len(of_none)} facts are of no new item, the first is {facts[of_none[0]]}",
            expected="a new item as head or tail",
            fix="remove these facts, or add their items as well",
        )
    items = np.where(inverse, new_tails, new_heads)
    entities = np.where(
        inverse,
        known.entities.encode(heads, unknown=-1),
        known.entities.encode(tails, unknown=-1),
    )
    relation = known.relations.encode(relations, unknown=-1)
    directed = np.where(inverse, relation + len(known.relations), relation)
    usable = (relation >= 0) & (entities >= 0)
    numbers = directed * n_entities + entities
    return (items[usable], numbers[usable]), int((~usable).sum())
