"""Interactions of a few users, as a dense matrix and as what a model gets."""

import numpy as np
import torch
from numpy.typing import NDArray

from slifmr_pl.graphs.heterogeneous import HeterogeneousGraph
from slifmr_pl.graphs.model_inputs import ItemFeatures, ModelInputs


def random_matrix(n_users: int, n_items: int) -> NDArray[np.float64]:
    """Zeros and ones; each user and each item has a one."""
    matrix = (np.random.default_rng(1).random((n_users, n_items)) < 0.3).astype(np.float64)
    matrix[np.arange(n_users), np.arange(n_users) % n_items] = 1
    return matrix


def inputs_of_matrix(
    matrix: NDArray[np.float64], features: dict[str, ItemFeatures] | None = None
) -> ModelInputs:
    """What a data module would give."""
    users, items = map(torch.from_numpy, matrix.nonzero())
    graph = HeterogeneousGraph(matrix.shape[0], matrix.shape[1], users, items)
    return ModelInputs(graph, features or {}, "fingerprint", "vocabulary")
