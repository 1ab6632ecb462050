import pytest
import torch
from torch import Tensor

from slifmr_pl.graphs import regression
from slifmr_pl.graphs.regression import joined, regression_factors
from tests.graphs.oracles import generator

N_USERS, N_ITEMS, RIDGE = 40, 25, 3.0


def interactions() -> Tensor:
    """Y [U, I]; the last user and the last item have none."""
    matrix = torch.rand(N_USERS, N_ITEMS, generator=generator(1), dtype=torch.float64) < 0.2
    matrix[-1], matrix[:, -1] = False, False
    return matrix


def ease(matrix: Tensor) -> Tensor:
    """Y·B [U, I], solved item by item without itself, as least squares define it."""
    y = matrix.double()
    columns = []
    for item in range(N_ITEMS):
        others = [other for other in range(N_ITEMS) if other != item]
        gram = y[:, others].T @ y[:, others] + RIDGE * torch.eye(N_ITEMS - 1)
        columns.append(y[:, others] @ torch.linalg.solve(gram, y[:, others].T @ y[:, item]))
    return torch.stack(columns, dim=1)


def scores(rank: int) -> Tensor:
    users, items = interactions().nonzero(as_tuple=True)
    factors = regression_factors(users, items, N_USERS, N_ITEMS, rank=rank, ridge=RIDGE)
    assert factors.users.dtype == factors.items.dtype == torch.float32
    return factors.users.double() @ factors.items.double().T


def test_products_of_full_rank_are_the_regression_for_items_that_a_user_has_not() -> None:
    found, expected, known = scores(N_ITEMS), ease(interactions()), interactions()
    for user in range(N_USERS - 1):
        new = ~known[user]
        ratio = expected[user, new].norm() / found[user, new].norm()
        torch.testing.assert_close(
            ratio * found[user, new], expected[user, new], rtol=1e-4, atol=1e-5
        )


def test_factor_of_a_history_is_that_of_a_user_who_has_it() -> None:
    known = interactions()
    pairs = known.nonzero(as_tuple=True)
    factors = regression_factors(*pairs, N_USERS, N_ITEMS, rank=9, ridge=RIDGE)
    for user in range(N_USERS - 1):
        alone = factors.of_history(known[user].nonzero().squeeze(1))
        torch.testing.assert_close(
            alone.users, factors.users[user : user + 1], rtol=1e-4, atol=1e-6
        )


def test_scores_of_a_user_spread_by_one_or_not_at_all() -> None:
    spread = scores(N_ITEMS).std(dim=1, correction=0)
    torch.testing.assert_close(spread[:-1], torch.ones_like(spread[:-1]), rtol=1e-5, atol=0)
    assert spread[-1] == 0


@pytest.mark.parametrize("rank", [1, 5, N_ITEMS - 2])
def test_large_catalogues_get_the_factors_of_small_ones(
    rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = scores(rank)
    monkeypatch.setattr(regression, "_DENSE_ITEMS", 0)
    torch.testing.assert_close(scores(rank), small, rtol=1e-4, atol=1e-5)
    assert torch.equal(scores(rank), scores(rank))


def test_higher_rank_comes_closer_to_the_regression() -> None:
    full = scores(N_ITEMS)
    errors = [float((scores(rank) - full).norm()) for rank in (1, 6, 12, 24)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01 * errors[0]


def test_rank_above_what_there_is_keeps_all() -> None:
    assert torch.equal(scores(N_ITEMS + 100), scores(N_ITEMS))


def test_large_catalogue_with_one_user_has_no_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regression, "_DENSE_ITEMS", 0)
    one = torch.tensor([0])
    factors = regression_factors(one, one, 1, 5, rank=3, ridge=RIDGE)
    assert factors.users.shape == (1, 0)
    assert factors.items.shape == (5, 0)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_join_adds_the_regression_at_the_spread_of_the_scores(scale: float) -> None:
    rng = generator(2)
    users = scale * torch.randn(N_USERS, 4, generator=rng)
    items = torch.randn(N_ITEMS, 4, generator=rng) + 1
    pairs = interactions().nonzero(as_tuple=True)
    factors = regression_factors(*pairs, N_USERS, N_ITEMS, rank=6, ridge=RIDGE)
    both_users, both_items = joined(users, items, factors, weight=0.5)
    own = users @ items.T
    spread = own.std(dim=1, correction=0, keepdim=True)
    torch.testing.assert_close(
        both_users @ both_items.T,
        own + 0.5 * spread * (factors.users @ factors.items.T),
        rtol=1e-4,
        atol=1e-5 * scale,
    )
