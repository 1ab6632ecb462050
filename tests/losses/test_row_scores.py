import pytest
import torch
from torch import Tensor

from slifmr_pl.losses import row_scores as module
from slifmr_pl.losses.row_scores import reference_row_scores, row_scores
from tests.graphs.oracles import generator


def batch(n_rows: int, per_row: int, n_items: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    rng = generator(1)
    users = torch.randn(n_rows, dim, generator=rng, dtype=torch.float32, requires_grad=True)
    items = torch.randn(n_items, dim, generator=rng, dtype=torch.float32, requires_grad=True)
    # The last item is in no row; some are several times in one.
    return users, items, torch.randint(n_items - 1, (n_rows, per_row), generator=rng)


@pytest.mark.parametrize("shape", [(7, 3, 5, 4), (1, 1, 2, 3), (0, 2, 4, 3), (40, 33, 9, 8)])
def test_values_and_gradients_are_those_of_ordinary_autograd(
    shape: tuple[int, int, int, int],
) -> None:
    users, items, positions = batch(*shape)
    weights = torch.randn(positions.shape, generator=generator(2))
    found = row_scores(users, items, positions)
    expected = reference_row_scores(users, items, positions)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad((found * weights).sum(), [users, items]),
        torch.autograd.grad((expected * weights).sum(), [users, items]),
        rtol=1e-5,
        atol=1e-5,
    )


def test_blocks_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    users, items, positions = batch(50, 4, 11, 6)
    whole = row_scores(users, items, positions)
    monkeypatch.setattr(module, "_BLOCK", 3 * 4 * 6)
    assert torch.equal(row_scores(users, items, positions), whole)


def test_scores_and_gradients_are_float32_under_autocast() -> None:
    users, items, positions = batch(8, 3, 5, 16)
    exact = row_scores(users, items, positions)
    with torch.autocast("cpu", torch.bfloat16):
        found = row_scores(users, items, positions)
        found.sum().backward()
    assert found.dtype == torch.float32
    assert torch.equal(found, exact)
    assert items.grad is not None
    assert items.grad.dtype == torch.float32


def test_a_table_that_is_not_trained_gets_no_gradient() -> None:
    users, items, positions = batch(4, 2, 5, 3)
    scores = row_scores(users, items.detach(), positions)
    (gradient,) = torch.autograd.grad(scores.sum(), [users])
    torch.testing.assert_close(gradient, items.detach()[positions].sum(1))
