import math
import os

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy

from slifmr_pl.errors import ConfigError
from slifmr_pl.losses.alignment import ProcessShare, info_nce
from tests.graphs.oracles import close, generator
from tests.processes import in_process_group, in_processes


@pytest.fixture
def views() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 7, 5, generator=rng, dtype=torch.float64)
    return a.clone().requires_grad_(), b.clone().requires_grad_()


def test_hand_computed_pair_of_orthogonal_items() -> None:
    view = torch.tensor([[2.0, 0.0], [0.0, 0.5]])  # cosine similarities are the identity
    expected = math.log(1 + math.exp(-1 / 0.5))
    assert info_nce(view, view, 0.5).item() == pytest.approx(expected)
    assert info_nce(view, view.flip(0), 0.5).item() == pytest.approx(expected + 1 / 0.5)


def test_equals_cross_entropy_of_cosine_similarities(views: tuple[Tensor, Tensor]) -> None:
    a, b = views
    logits = cosine_similarity(a.unsqueeze(1), b.unsqueeze(0), dim=2) / 0.2
    same = torch.arange(7)
    expected = (cross_entropy(logits, same) + cross_entropy(logits.T, same)) / 2
    torch.testing.assert_close(info_nce(a, b, 0.2), expected)


def test_is_symmetric_in_the_views(views: tuple[Tensor, Tensor]) -> None:
    a, b = views
    torch.testing.assert_close(info_nce(a, b, 0.2), info_nce(b, a, 0.2))


def test_masked_items_are_neither_anchors_nor_negatives(views: tuple[Tensor, Tensor]) -> None:
    a, b = views
    mask = torch.tensor([True, False, True, True, False, False, True])
    with torch.no_grad():
        b[~mask] = math.nan
    loss = info_nce(a, b, 0.2, mask)
    torch.testing.assert_close(loss, info_nce(a[mask], b[mask], 0.2))
    loss.backward()
    assert a.grad is not None
    assert b.grad is not None
    assert not a.grad[~mask].any()
    assert not b.grad[~mask].any()
    assert bool((a.grad[mask].abs().sum(dim=1) > 0).all())
    assert bool(b.grad.isfinite().all())


@pytest.mark.parametrize("n_present", [0, 1])
def test_fewer_than_two_items_give_a_zero_that_is_part_of_the_graph(
    views: tuple[Tensor, Tensor], n_present: int
) -> None:
    a, b = views
    mask = torch.arange(7) < n_present
    with torch.no_grad():
        a[~mask] = math.inf
    loss = info_nce(a, b, 0.2, mask)
    loss.backward()
    assert loss.item() == 0
    assert a.grad is not None
    assert b.grad is not None
    assert not a.grad.any()
    assert not b.grad.any()


def test_zero_rows_give_finite_and_moderate_gradients() -> None:
    a = torch.zeros(3, 4, requires_grad=True)
    b = torch.eye(3, 4, requires_grad=True)
    loss = info_nce(a, b, 0.1)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(3))
    assert a.grad is not None
    assert b.grad is not None
    assert float(a.grad.abs().max()) < 10
    assert bool(b.grad.isfinite().all())


def test_gradients_are_right(views: tuple[Tensor, Tensor]) -> None:
    mask = torch.tensor([True, True, False, True, True, False, True])
    assert torch.autograd.gradcheck(lambda a, b: info_nce(a, b, 0.5, mask), views)


def test_extreme_scale_and_low_temperature_stay_finite(views: tuple[Tensor, Tensor]) -> None:
    a, b = (view.detach().float() for view in views)
    expected = info_nce(a, b, 1e-3)
    assert bool(expected.isfinite())
    torch.testing.assert_close(info_nce(a * 1e4, b * 1e-4, 1e-3), expected, rtol=1e-4, atol=0)


def test_autocast_does_not_round_the_similarities(views: tuple[Tensor, Tensor]) -> None:
    a, b = (view.detach().float() for view in views)
    expected = info_nce(a, b, 0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(info_nce(a, b, 0.05), expected)


@pytest.mark.parametrize(
    ("b", "mask", "message"),
    [
        (torch.ones(1, 2), None, "views of shape"),
        (torch.ones(3, 4), None, "views of shape"),
        (torch.ones(3, 2), torch.ones(3), "mask is torch.float32"),
        (torch.ones(3, 2), torch.ones(2, dtype=torch.bool), "mask is torch.bool"),
    ],
)
def test_wrong_shapes_are_refused(b: Tensor, mask: Tensor | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        info_nce(torch.ones(3, 2), b, 0.2, mask)


def test_temperature_of_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="temperature is 0"):
        info_nce(torch.ones(3, 2), torch.ones(3, 2), 0)


def shares_of_a_loss(n: int, temperature: float) -> tuple[float, list[float], list[float]]:
    """Value and summed gradients of InfoNCE whose anchors processes have shared out."""
    a, b, mask = shared_views(n)
    share = ProcessShare(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    loss = info_nce(a, b, temperature, mask, share)
    for view in (gradients := torch.autograd.grad(3 * loss, (a, b))):
        torch.distributed.all_reduce(view)
    first, second = (gradient.flatten().tolist() for gradient in gradients)
    return loss.item(), first, second


def shared_views(n: int) -> tuple[Tensor, Tensor, Tensor]:
    a, b = (torch.randn(n + 1, 4, generator=generator(seed)) for seed in (1, 2))
    mask = torch.ones(n + 1, dtype=torch.bool)
    mask[0] = False
    return a.requires_grad_(), b.requires_grad_(), mask


@pytest.mark.parametrize("temperature", [0.2, 0.01])  # by one exponential, and by logarithms
@pytest.mark.parametrize("n", [7, 2, 1])  # of three processes, one or two have no anchors
def test_parts_of_the_anchors_add_up_to_the_whole_loss(n: int, temperature: float) -> None:
    a, b, mask = shared_views(n)
    expected = info_nce(a, b, temperature, mask)
    gradients = torch.autograd.grad(3 * expected, (a, b))
    for loss, *shares in in_processes(3, in_process_group, shares_of_a_loss, n, temperature):
        close(torch.tensor(loss), expected.detach())
        for gradient, other in zip(shares, gradients, strict=True):
            close(torch.tensor(gradient), other.flatten())
