"""EASE: a linear autoencoder of the interactions, in closed form."""

from math import isqrt
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from slifmr_pl.config.bounds import is_number
from slifmr_pl.config.memory import available_memory, require_memory
from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.model_inputs import ModelInputs
from slifmr_pl.models.closed_form import ClosedForm

# Bytes for every pair of items: B in float32; and beside it three float64 matrices to solve it.
_TO_SCORE, _TO_FIT = 4, 4 + 3 * 8


def ease_weights(interactions: Any, l2: float) -> Tensor:
    """B of ``min ‖Y - Y B‖² + λ ‖B‖²`` with a diagonal of zeros.

    Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, eq. 8:
    ``B_ij = -P_ij / P_jj`` off the diagonal, with ``P = (Yᵀ Y + λ I)^-1``. Time grows with I³;
    three float64 matrices ``[I, I]`` are held at a time.

    Args:
        interactions: Y, SciPy CSR float64 ``[U, I]`` of ones.
        l2: λ, above 0.

    Returns:
        B, float32 ``[I, I]``.
    """
    gram = torch.from_numpy((interactions.T @ interactions).toarray())
    gram.diagonal().add_(l2)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    del gram
    weights = inverse.div_(-inverse.diagonal().clone())
    weights.fill_diagonal_(0.0)
    return weights.float()


class Ease(ClosedForm):
    """Scores items by ``y_u B``, see `ease_weights`.

    Args:
        l2: λ, weight of the squared weights: the larger it is, the less items with few interactions
            count.
        **evaluation: See `RecommenderModule`.
    """

    weights: Tensor

    def __init__(self, l2: float = 250.0, **evaluation: Any) -> None:
        if not is_number(l2, above=0):
            raise ConfigError(
                f"Ease with l2 {l2}",
                expected="a number above 0: without it the weights are not determined",
                fix="for example l2 250",
            )
        super().__init__(**evaluation)
        self.l2 = l2

    def build(self, inputs: ModelInputs) -> None:
        """Makes room for B.

        Raises:
            ConfigError: If there is not enough memory for it, or for what is needed to solve it.
        """
        n_items = inputs.graph.n_items
        bytes_a_pair = _TO_FIT if self.fits else _TO_SCORE
        free = available_memory()
        most = "" if free is None else f", or keep at most {isqrt(free // bytes_a_pair):,} items"
        require_memory(
            f"Ease of {n_items:,} items, a matrix of every pair of them,",
            bytes_a_pair * n_items**2,
            f"--model ItemKnn{most} (data.filters.k_core)",
        )
        self.register_buffer("weights", torch.zeros(n_items, n_items))

    def learn(self, interactions: Any) -> None:
        """Solves for B."""
        self.weights.copy_(ease_weights(interactions, self.l2))

    def history_scores(self, offsets: Tensor, items: Tensor) -> Tensor:
        """Sums of the rows of B that belong to the items of a user, float32 ``[b, I]``."""
        return embedding_bag(items, self.weights, offsets[:-1], mode="sum")
