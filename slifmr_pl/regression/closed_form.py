"""Closed-form regression of items on items, as factors whose products are its scores.

U = users, I = items, d = embedding size, r = rank, q = size of a profile.
"""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

logger = logging.getLogger(__name__)

# Up to so many items all eigenvectors take a second; of more, only the leading ones are searched.
_DENSE_ITEMS = 2048


class RegressionFactors(NamedTuple):
    """⟨users[u], items[i]⟩ is what the items of user u say about an item i that u has not.

    For an item that u has, the product is of no use: there the item also explains itself. The
    standard deviation of a user's products over the catalogue is 1, or 0 without interactions.

    Attributes:
        users: float32 [U, r]; zeros for users without interactions.
        items: float32 [I, r]; zeros for items that nothing is known of.
        sent: float32 [I, r], what an item sends to each of its users: a user's factor is the sum
            over the user's items, divided by the spread of the scores that it gives.
        weight: ω, what the products count in a sum with other scores.
    """

    users: Tensor
    items: Tensor
    sent: Tensor
    weight: float = 1.0

    def to(self, device: torch.device) -> "RegressionFactors":
        """The same factors on another device."""
        return self._replace(
            users=self.users.to(device), items=self.items.to(device), sent=self.sent.to(device)
        )

    def of_history(self, items: Tensor) -> "RegressionFactors":
        """The same with one user alone, who has the given items: int64 [n]."""
        user = self.sent[items].sum(0, keepdim=True).double()
        return self._replace(users=_spread_by_one(user, self.items.double()).float())


class ItemRegression(NamedTuple):
    """The solved regression; all that a checkpoint needs of it.

    Attributes:
        sent: float32 [I, r].
        unexplained: float32 [I, 1] above 0, the share of an item that the others do not explain.
    """

    sent: Tensor
    unexplained: Tensor

    def factors(self, users: Tensor, items: Tensor, n_users: int) -> RegressionFactors:
        """Factors on the CPU for users who have the items, int64 [n] each, the same every time."""
        from scipy import sparse

        pairs = users.cpu().numpy(), items.cpu().numpy()
        matrix = sparse.csr_array((np.ones(len(users)), pairs), (n_users, len(self.sent)))
        item_factors = self.sent.double() / self.unexplained.double()
        user_factors = torch.from_numpy(matrix @ self.sent.double().numpy())
        user_factors = _spread_by_one(user_factors, item_factors)
        return RegressionFactors(user_factors.float(), item_factors.float(), self.sent)


def item_regression(
    users: Tensor,
    items: Tensor,
    n_users: int,
    n_items: int,
    *,
    rank: int,
    ridge: float,
    profiles: Sequence[Any] = (),
    profile_weight: float = 0.0,
) -> ItemRegression:
    """Ridge regression of each item on all others over the users' interactions Y and profiles.

    EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, eq. 8) predicts Y
    by Y·B, where B has a zero diagonal and minimises ``‖Y - Y·B‖² + λ‖B‖²``: off the diagonal
    ``B_ji = -P_ji / P_ii`` with ``P = (YᵀY + λ)⁻¹``. Each component of a profile X [I, q] counts
    here as one more user, who has the items to the degree that they have it, as in collective
    regression (Jeunen et al., "Closed-Form Models for Collaborative Filtering with
    Side-Information", RecSys 2020): YᵀY becomes ``G = YᵀY + w Σ X Xᵀ``. With the eigenvectors
    ``G = V Λ Vᵀ`` and ``F = Λ / (Λ + λ)``, P is ``(1 - V F Vᵀ) / λ``. So for an item i that user u
    has not

        (Y·B)_ui = (Y V F Vᵀ)_ui / (1 - (V F Vᵀ)_ii),

    a product of factors, exact at full rank. A lower rank keeps the largest Λ, whose F are largest.

    Args:
        users: int64 [n], user row of each training interaction.
        items: int64 [n], item row of each training interaction.
        n_users: U.
        n_items: I.
        rank: Most eigenvectors to keep.
        ridge: λ > 0.
        profiles: Float arrays [I, q] of numpy or scipy.sparse, rows of length 1 at most.
        profile_weight: w: a profile of length 1 says as much of an item as w interactions.
    """
    from scipy import sparse

    pairs = items.cpu().numpy(), users.cpu().numpy()
    counted = [sparse.csr_array((np.ones(len(users)), pairs), shape=(n_items, n_users))]
    counted += [np.sqrt(profile_weight) * profile for profile in profiles]
    eigenvalues, vectors = _leading_eigenvectors(counted, rank)
    shrinkage = eigenvalues / (eigenvalues + ridge)
    sent = vectors * np.sqrt(shrinkage)
    # No diagonal entry of λP is lower than its lowest eigenvalue, but rounding may be.
    least = ridge / (eigenvalues.max(initial=0) + ridge)
    unexplained = (1 - np.square(sent).sum(axis=1, keepdims=True)).clip(min=least)
    return ItemRegression(torch.from_numpy(sent).float(), torch.from_numpy(unexplained).float())


def joined(users: Tensor, items: Tensor, regression: RegressionFactors) -> tuple[Tensor, Tensor]:
    """Vectors whose products are those of users and items plus the regression's scores.

    The regression gets ω times the spread that a user's own scores have over the catalogue: the
    sum is ``s + ω · sd(s) · s'``, which ranks the same on whatever scale the embeddings are.

    Args:
        users: float32 [U, d].
        items: float32 [I, d].
        regression: Factors and their weight ω, on the same device.

    Returns:
        Users float32 [U, d + r] and items float32 [I, d + r].
    """
    scale = (regression.weight * _spread(users.double(), items.double())).to(users.dtype)
    return (
        torch.cat([users, regression.users * scale.unsqueeze(1)], dim=1),
        torch.cat([items, regression.items], dim=1),
    )


def _leading_eigenvectors(parts: Sequence[Any], rank: int) -> tuple[Any, Any]:
    """Largest eigenvalues [r] of Σ A Aᵀ over parts A [I, ·], and their vectors [I, r], float64."""
    from scipy.sparse import issparse
    from scipy.sparse.linalg import LinearOperator, eigsh

    n_items = parts[0].shape[0]
    if n_items <= _DENSE_ITEMS:
        dense = np.zeros((n_items, n_items))
        for part in parts:
            product = part @ part.T
            dense += product.toarray() if issparse(product) else product
        eigenvalues, vectors = np.linalg.eigh(dense)
        return eigenvalues[-rank:].clip(min=0), vectors[:, -rank:]
    rank = min(rank, sum(part.shape[1] for part in parts) - 1, n_items - 1)
    if rank < 1:
        return np.zeros(0), np.zeros((n_items, 0))
    logger.info("Regression of %d items: searching %d eigenvectors", n_items, rank)
    gram = LinearOperator(
        (n_items, n_items),
        matvec=lambda vector: sum(part @ (part.T @ vector) for part in parts),
        dtype=np.float64,
    )
    # Told where to begin: Lanczos iterations start at random otherwise.
    start = np.random.default_rng(0).standard_normal(n_items)
    eigenvalues, vectors = eigsh(gram, k=rank, v0=start)
    return eigenvalues.clip(min=0), vectors


def _spread_by_one(users: Tensor, items: Tensor) -> Tensor:
    spread = _spread(users, items).unsqueeze(1)
    return torch.where(spread > 0, users / spread, 0.0)


def _spread(users: Tensor, items: Tensor) -> Tensor:
    """Standard deviation of each user's products over the catalogue, [U]."""
    centred = items - items.mean(0)
    covariance = centred.T @ centred / len(items)
    return ((users @ covariance) * users).sum(1).clamp_min(0).sqrt()
