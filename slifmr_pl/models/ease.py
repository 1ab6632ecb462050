"""EASE: a linear autoencoder of the interactions, in closed form."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.model_inputs import ModelInputs
from slifmr_pl.models.closed_form import ItemToItem


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


class Ease(ItemToItem):
    """Scores items by ``y_u B``, see `ease_weights`.

    Args:
        l2: λ.
        **evaluation: See `RecommenderModule`.
    """

    weights: Tensor

    def __init__(self, l2: float = 250.0, **evaluation: Any) -> None:
        if l2 <= 0:
            raise ConfigError(
                f"Ease with l2 {l2}",
                expected="a number above 0: without it the weights are not determined",
                fix="for example l2 250",
            )
        super().__init__(**evaluation)
        self.l2 = l2

    def build(self, inputs: ModelInputs) -> None:
        """Makes room for B."""
        super().build(inputs)
        self.register_buffer("weights", torch.zeros(inputs.graph.n_items, inputs.graph.n_items))

    def learn(self, interactions: Any) -> None:
        """Solves for B."""
        self.weights.copy_(ease_weights(interactions, self.l2))

    def history_scores(self, offsets: Tensor, items: Tensor) -> Tensor:
        """Sums of the rows of B that belong to the items of a user, float32 ``[b, I]``."""
        return embedding_bag(items, self.weights, offsets[:-1], mode="sum")
