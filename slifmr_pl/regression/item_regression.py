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

# Up to so many items, all eigenvectors take a second; beyond, only the leading ones are computed.
_DENSE_ITEMS = 2048


class RegressionFactors(NamedTuple):
    """⟨users[u], items[i]⟩ is the regression's score of user u for an item i that u does not have.

    For an item that u has, the product means nothing, because the item then predicts itself. The
    standard deviation of a user's products over the catalogue is 1, or 0 without interactions.

    Attributes:
        users: float32 [U, r]; zeros for users without interactions.
        items: float32 [I, r]; zeros for items without interactions and profile.
        shared_factors: float32 [I, r], see ``ItemRegression``. A user's factor is their sum over
            the user's items, divided by the standard deviation of the scores it gives.
        weight: ω, the weight of the products where they are added to other scores.
    """

    users: Tensor
    items: Tensor
    shared_factors: Tensor
    weight: float = 1.0

    def to(self, device: torch.device) -> "RegressionFactors":
        """The same factors on another device."""
        return self._replace(
            users=self.users.to(device),
            items=self.items.to(device),
            shared_factors=self.shared_factors.to(device),
        )

    def of_history(self, items: Tensor) -> "RegressionFactors":
        """The same items and one user, who has the given items: int64 [n]."""
        user = self.shared_factors[items].sum(0, keepdim=True).double()
        return self._replace(users=to_unit_std(user, self.items.double()).float())


class ItemRegression(NamedTuple):
    """The solved regression, as a checkpoint keeps it.

    Attributes:
        shared_factors: float32 [I, r], V F^½ of the equation in ``item_regression``. They are
            shared by both sides: users sum those of their items, items divide theirs by
            ``residual_share``.
        residual_share: float32 [I, 1] above 0, ``1 - (V F Vᵀ)_ii``: the share of an item's variance
            that the other items do not explain.
    """

    shared_factors: Tensor
    residual_share: Tensor

    def factors(self, users: Tensor, items: Tensor, n_users: int) -> RegressionFactors:
        """Factors of all users, on the CPU; the same at every call.

        Args:
            users: int64 [n], user row of each interaction.
            items: int64 [n], its item row.
            n_users: U.
        """
        from scipy import sparse

        pairs = users.cpu().numpy(), items.cpu().numpy()
        shared = self.shared_factors.double()
        matrix = sparse.csr_array((np.ones(len(users)), pairs), (n_users, len(shared)))
        item_factors = shared / self.residual_share.double()
        user_factors = to_unit_std(torch.from_numpy(matrix @ shared.numpy()), item_factors)
        return RegressionFactors(user_factors.float(), item_factors.float(), self.shared_factors)


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
    ``B_ji = -P_ji / P_ii`` with ``P = (YᵀY + λ)⁻¹``. Each of the q columns of a profile X [I, q] is
    added to Y as the row of one more user, as in collective regression (Jeunen et al., "Closed-Form
    Models for Collaborative Filtering with Side-Information", RecSys 2020): YᵀY becomes
    ``G = YᵀY + w Σ X Xᵀ``. With the eigenvectors ``G = V Λ Vᵀ`` and ``F = Λ / (Λ + λ)``, P is
    ``(1 - V F Vᵀ) / λ``. So for an item i that user u does not have

        (Y·B)_ui = (Y V F Vᵀ)_ui / (1 - (V F Vᵀ)_ii),

    a product of factors, exact at full rank. A lower rank keeps the largest eigenvalues.

    Args:
        users: int64 [n], user row of each training interaction.
        items: int64 [n], item row of each training interaction.
        n_users: U.
        n_items: I.
        rank: Most eigenvectors to keep.
        ridge: λ > 0.
        profiles: Float arrays [I, q] of numpy or scipy.sparse, rows of length 1 at most.
        profile_weight: w: a profile of length 1 counts as much as w interactions of the item.
    """
    from scipy import sparse

    pairs = items.cpu().numpy(), users.cpu().numpy()
    counted = [sparse.csr_array((np.ones(len(users)), pairs), shape=(n_items, n_users))]
    counted += [np.sqrt(profile_weight) * profile for profile in profiles]
    eigenvalues, vectors = _leading_eigenvectors(counted, rank)
    shrinkage = eigenvalues / (eigenvalues + ridge)
    shared_factors = vectors * np.sqrt(shrinkage)
    # Exactly, no diagonal entry of λP is lower than its lowest eigenvalue; rounding could be.
    least = ridge / (eigenvalues.max(initial=0) + ridge)
    residual_share = (1 - np.square(shared_factors).sum(axis=1, keepdims=True)).clip(min=least)
    tensors = map(torch.from_numpy, (shared_factors, residual_share))
    return ItemRegression(*(tensor.float() for tensor in tensors))


def regression_memory(n_items: int, rank: int) -> int:
    """About how many bytes `item_regression` holds at a time, beside its arguments."""
    if n_items <= _DENSE_ITEMS:
        return 3 * 8 * n_items**2
    return 8 * n_items * (2 * rank + 1 + rank)  # Lanczos vectors, and the eigenvectors of them


def append_regression(
    users: Tensor, items: Tensor, regression: RegressionFactors
) -> tuple[Tensor, Tensor]:
    """Appends the factors to embeddings, so that products give the sum of both scores.

    With the embeddings' scores s of a user, their standard deviation sd(s) over the catalogue, and
    the regression's scores s' (whose standard deviation is 1), the products are
    ``s + ω · sd(s) · s'``. So the ranking does not depend on the scale of the embeddings.

    Args:
        users: float32 [U, d].
        items: float32 [I, d].
        regression: Factors and their weight ω, on the same device.

    Returns:
        Users float32 [U, d + r] and items float32 [I, d + r].
    """
    scale = (regression.weight * _score_std(users.double(), items.double())).to(users.dtype)
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
    logger.info("Regression of %d items: computing %d eigenvectors", n_items, rank)
    gram = LinearOperator(
        (n_items, n_items),
        matvec=lambda vector: sum(part @ (part.T @ vector) for part in parts),
        dtype=np.float64,
    )
    # A fixed start: Lanczos iterations begin at random otherwise.
    start = np.random.default_rng(0).standard_normal(n_items)
    eigenvalues, vectors = eigsh(gram, k=rank, v0=start)
    return eigenvalues.clip(min=0), vectors


def to_unit_std(users: Tensor, items: Tensor) -> Tensor:
    """Users [U, r] on such a scale that the products of each with all items [I, r] vary by 1.

    Users whose products are all alike become zeros.
    """
    std = _score_std(users, items).unsqueeze(1)
    return torch.where(std > 0, users / std, 0.0)


def _score_std(users: Tensor, items: Tensor) -> Tensor:
    """Standard deviation of each user's products over the catalogue, [U]."""
    centred = items - items.mean(0)
    covariance = centred.T @ centred / len(items)
    return ((users @ covariance) * users).sum(1).clamp_min(0).sqrt()
