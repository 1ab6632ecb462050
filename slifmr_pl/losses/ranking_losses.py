"""Ranking losses over sampled negatives.

Shapes: B rows (one positive each), n negatives a row. Losses are per row, so that a caller can
weight rows, for example where processes hold slices of different length.
"""

from torch import Tensor
from torch.nn.functional import softplus

from slifmr_pl.errors import ConfigError


def bpr_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """Bayesian personalised ranking, ``mean_j -ln σ(s⁺ - s⁻_j)``.

    Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009, BPR-Opt
    (section 4.1) without its regulariser; with n > 1 the mean over the n pairs.

    Args:
        positive: float ``[B]`` scores of the positives.
        negative: float ``[B, n]`` scores of the negatives.

    Returns:
        float ``[B]``, finite for all finite scores.

    Raises:
        ConfigError: If the shapes do not fit together.
    """
    _check_pairs(positive, negative)
    return softplus(negative - positive.unsqueeze(1)).mean(dim=1)


def sampled_softmax_loss(positive: Tensor, negative: Tensor, temperature: float = 1.0) -> Tensor:
    """Cross-entropy of the positive among itself and its negatives.

    ``-ln(exp(s⁺/τ) / (exp(s⁺/τ) + Σ_j exp(s⁻_j/τ)))``, the sampled softmax without correction for
    the proposal distribution; see Wu et al., "On the Effectiveness of Sampled Softmax Loss for
    Item Recommendation", TOIS 2024. With n = 1 and τ = 1 it equals :func:`bpr_loss`.

    Args:
        positive: float ``[B]`` scores of the positives.
        negative: float ``[B, n]`` scores of the negatives.
        temperature: τ > 0.

    Returns:
        float ``[B]``, finite for all finite scores.

    Raises:
        ConfigError: If the shapes do not fit together or the temperature is not above zero.
    """
    _check_pairs(positive, negative)
    check_temperature(temperature)
    differences = (negative - positive.unsqueeze(1)) / temperature
    # ln(1 + Σ exp(x_j)) = softplus(ln Σ exp(x_j)), stable at both ends.
    return softplus(differences.logsumexp(dim=1))


def check_temperature(temperature: float) -> None:
    """Refuse a temperature that no softmax can divide by.

    Raises:
        ConfigError: If the temperature is not above zero.
    """
    if not temperature > 0:
        raise ConfigError(
            f"the temperature is {temperature}",
            expected="a number above 0",
            fix="set the temperature of this loss to, for example, 0.2",
        )


def _check_pairs(positive: Tensor, negative: Tensor) -> None:
    # Without this, shapes such as [B] and [1, n] would broadcast to a plausible wrong loss.
    if (
        positive.dim() != 1
        or negative.dim() != 2
        or negative.shape[0] != positive.shape[0]
        or negative.shape[1] < 1
    ):
        raise ConfigError(
            f"positive scores of shape {tuple(positive.shape)}"
            f" with negative scores of shape {tuple(negative.shape)}",
            expected="[B] and [B, n] with n of at least 1",
            fix="score n negatives for each positive",
        )
