from typing import Any

import pytest
import torch
from scipy.sparse import csr_array
from torch import Tensor

import slifmr_pl.regression.item_regression as regression
from slifmr_pl.regression.item_regression import (
    RegressionFactors,
    append_regression,
    item_regression,
)
from tests.graphs.oracles import generator

N_USERS, N_ITEMS, RIDGE = 40, 25, 3.0


def interactions() -> Tensor:
    """Y [U, I]; the last user and the last item have none."""
    matrix = torch.rand(N_USERS, N_ITEMS, generator=generator(1), dtype=torch.float64) < 0.2
    matrix[-1], matrix[:, -1] = False, False
    return matrix


def profiles() -> Tensor:
    """X [I, 4]: what is known of the items; nothing of the first."""
    rows = torch.randn(N_ITEMS, 4, generator=generator(8), dtype=torch.float64)
    rows[0] = 0
    return rows


def ease(matrix: Tensor, side: Tensor) -> Tensor:
    """Y·B [U, I], solved item by item without itself, as least squares define it.

    Args:
        matrix: Y [U, I].
        side: More rows to fit, [·, I].
    """
    y = matrix.double()
    rows = torch.cat([y, side])
    columns = []
    for item in range(N_ITEMS):
        others = [other for other in range(N_ITEMS) if other != item]
        gram = rows[:, others].T @ rows[:, others] + RIDGE * torch.eye(N_ITEMS - 1)
        columns.append(y[:, others] @ torch.linalg.solve(gram, rows[:, others].T @ rows[:, item]))
    return torch.stack(columns, dim=1)


def factors(rank: int, **side: Any) -> RegressionFactors:
    users, items = interactions().nonzero(as_tuple=True)
    solved = item_regression(users, items, N_USERS, N_ITEMS, rank=rank, ridge=RIDGE, **side)
    return solved.factors(users, items, N_USERS)


def scores(rank: int, **side: Any) -> Tensor:
    solved = factors(rank, **side)
    assert solved.users.dtype == solved.items.dtype == torch.float32
    return solved.users.double() @ solved.items.double().T


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("weight", [0.0, 2.5])
def test_products_of_full_rank_are_the_regression_for_items_that_a_user_has_not(
    weight: float, sparse: bool
) -> None:
    known, x = interactions(), profiles()
    side = [csr_array(x.numpy()) if sparse else x.numpy()]
    predicted = scores(N_ITEMS, profiles=side, profile_weight=weight)
    expected = ease(known, weight**0.5 * x.T)
    for user in range(N_USERS - 1):
        new = ~known[user]
        ratio = expected[user, new].norm() / predicted[user, new].norm()
        torch.testing.assert_close(
            ratio * predicted[user, new], expected[user, new], rtol=1e-4, atol=1e-5
        )


def test_factor_of_a_history_is_that_of_a_user_who_has_it() -> None:
    known = interactions()
    all_users = factors(9)
    for user in range(N_USERS - 1):
        alone = all_users.of_history(known[user].nonzero().squeeze(1))
        torch.testing.assert_close(
            alone.users, all_users.users[user : user + 1], rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("weight", [1e17, 1e-12])
def test_extreme_weights_leave_finite_factors(weight: float) -> None:
    solved = factors(N_ITEMS, profiles=[profiles().numpy()], profile_weight=weight)
    assert all(part.isfinite().all() for part in solved[:3])


def test_item_without_interactions_is_scored_by_what_is_known_of_it_alone() -> None:
    assert not scores(N_ITEMS)[:, -1].any()
    assert scores(N_ITEMS, profiles=[profiles().numpy()], profile_weight=1.0)[:-1, -1].all()


def test_scores_of_a_user_spread_by_one_or_not_at_all() -> None:
    spread = scores(N_ITEMS).std(dim=1, correction=0)
    torch.testing.assert_close(spread[:-1], torch.ones_like(spread[:-1]), rtol=1e-5, atol=0)
    assert spread[-1] == 0


@pytest.mark.parametrize("rank", [1, 5, N_ITEMS - 2])
def test_large_catalogues_get_the_factors_of_small_ones(
    rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = {"profiles": [profiles().numpy(), csr_array(profiles().numpy())], "profile_weight": 0.7}
    small = scores(rank, **side)
    monkeypatch.setattr(regression, "_DENSE_ITEMS", 0)
    torch.testing.assert_close(scores(rank, **side), small, rtol=1e-4, atol=1e-5)
    assert torch.equal(scores(rank, **side), scores(rank, **side))


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
    solved = item_regression(one, one, 1, 5, rank=3, ridge=RIDGE).factors(one, one, 1)
    assert solved.users.shape == (1, 0)
    assert solved.items.shape == (5, 0)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_join_adds_the_regression_at_the_spread_of_the_scores(scale: float) -> None:
    rng = generator(2)
    users = scale * torch.randn(N_USERS, 4, generator=rng)
    items = torch.randn(N_ITEMS, 4, generator=rng) + 1
    regressed = factors(6)
    both_users, both_items = append_regression(users, items, regressed._replace(weight=0.5))
    own = users @ items.T
    spread = own.std(dim=1, correction=0, keepdim=True)
    torch.testing.assert_close(
        both_users @ both_items.T,
        own + 0.5 * spread * (regressed.users @ regressed.items.T),
        rtol=1e-4,
        atol=1e-5 * scale,
    )
