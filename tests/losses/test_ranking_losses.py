import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid

from slifmr_pl.errors import ConfigError
from slifmr_pl.losses.ranking_losses import bpr_loss, sampled_softmax_loss


@pytest.fixture
def scores() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    positive = torch.randn(6, generator=rng, dtype=torch.float64)
    negative = torch.randn(6, 4, generator=rng, dtype=torch.float64)
    return positive.requires_grad_(), negative.requires_grad_()


def test_bpr_of_hand_computed_pairs() -> None:
    loss = bpr_loss(torch.tensor([1.0, 0.0]), torch.tensor([[1.0, 0.0], [2.0, 2.0]]))
    first = (math.log(2) + math.log(1 + math.exp(-1))) / 2
    assert loss.tolist() == pytest.approx([first, math.log(1 + math.exp(2))])


def test_bpr_equals_minus_log_sigmoid_of_each_difference(scores: tuple[Tensor, Tensor]) -> None:
    positive, negative = scores
    expected = -logsigmoid(positive.unsqueeze(1) - negative).mean(dim=1)
    torch.testing.assert_close(bpr_loss(positive, negative), expected)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 3.0])
def test_sampled_softmax_equals_cross_entropy(
    scores: tuple[Tensor, Tensor], temperature: float
) -> None:
    positive, negative = scores
    logits = torch.cat((positive.unsqueeze(1), negative), dim=1) / temperature
    expected = cross_entropy(logits, torch.zeros(6, dtype=torch.int64), reduction="none")
    torch.testing.assert_close(sampled_softmax_loss(positive, negative, temperature), expected)


def test_sampled_softmax_of_one_negative_is_bpr(scores: tuple[Tensor, Tensor]) -> None:
    positive, negative = scores[0], scores[1][:, :1]
    torch.testing.assert_close(
        sampled_softmax_loss(positive, negative), bpr_loss(positive, negative)
    )


@pytest.mark.parametrize("loss", [bpr_loss, sampled_softmax_loss])
def test_gradients_are_right(loss, scores: tuple[Tensor, Tensor]) -> None:
    assert torch.autograd.gradcheck(loss, scores)


@pytest.mark.parametrize("loss", [bpr_loss, sampled_softmax_loss])
@pytest.mark.parametrize("margin", [-1e4, 1e4])
def test_extreme_scores_give_finite_losses_and_gradients(loss, margin: float) -> None:
    positive = torch.tensor([margin], requires_grad=True)
    negative = torch.zeros(1, 1, requires_grad=True)
    value = loss(positive, negative)
    value.sum().backward()
    assert value.item() == max(0.0, -margin)
    assert positive.grad is not None
    assert negative.grad is not None
    assert positive.grad.tolist() == [-1.0 if margin < 0 else 0.0]
    assert negative.grad.tolist() == [[1.0 if margin < 0 else 0.0]]


@pytest.mark.parametrize("loss", [bpr_loss, sampled_softmax_loss])
@pytest.mark.parametrize(
    ("positive", "negative"), [((3,), (1, 4)), ((3,), (3,)), ((3, 1), (3, 4)), ((3,), (3, 0))]
)
def test_shapes_that_would_broadcast_are_refused(
    loss, positive: tuple[int, ...], negative: tuple[int, ...]
) -> None:
    with pytest.raises(ConfigError, match="positive scores of shape"):
        loss(torch.zeros(positive), torch.zeros(negative))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_temperature_that_is_not_above_zero_is_refused(temperature: float) -> None:
    with pytest.raises(ConfigError, match="temperature is"):
        sampled_softmax_loss(torch.zeros(1), torch.zeros(1, 1), temperature)
