"""How much two vectors depend on each other."""

import torch
from torch import Tensor
from torch.nn.functional import normalize


def distance_correlation(one: Tensor, other: Tensor) -> Tensor:
    """DCor of the entries of two vectors [d] (Székely et al. 2007)."""
    a, b = (centred_distances(vector) for vector in (one, other))
    covariance, *variances = ((x * y).mean().clamp_min(1e-12) for x, y in ((a, b), (a, a), (b, b)))
    return covariance.sqrt() / (variances[0] * variances[1]).pow(0.25)


def centred_distances(vector: Tensor) -> Tensor:
    """|x_i - x_j| less the means of row and column, plus that of all, [d, d]."""
    distances = (vector.unsqueeze(0) - vector.unsqueeze(1)).abs()
    rows = distances.mean(dim=0)
    return distances - rows.unsqueeze(0) - rows.unsqueeze(1) + rows.mean()


def squared_cosine(one: Tensor, other: Tensor) -> Tensor:
    """Of two vectors."""
    return torch.dot(normalize(one, dim=0), normalize(other, dim=0)).square()
