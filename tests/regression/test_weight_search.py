from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from slifmr_pl.data.batches import EvalBatch
from slifmr_pl.regression.item_regression import RegressionFactors
from slifmr_pl.regression.view import WEIGHTS
from slifmr_pl.regression.weight_search import best_weight
from tests.graphs.oracles import generator

N_USERS, N_ITEMS, DIM = 60, 120, 8


def truth() -> tuple[Tensor, Tensor]:
    """Vectors whose products say what users like."""
    rng = generator(4)
    return torch.randn(N_USERS, DIM, generator=rng), torch.randn(N_ITEMS, DIM, generator=rng)


def batches(size: int) -> list[EvalBatch]:
    """Each user's ten best items; the first three are known, the others are to be found."""
    users, items = truth()
    best = (users @ items.T).topk(10).indices
    return [
        EvalBatch(
            rows,
            torch.arange(len(rows) + 1) * 3,
            best[rows, :3].flatten(),
            torch.arange(len(rows) + 1) * 7,
            best[rows, 3:].sort().values.flatten(),
        )
        for rows in torch.arange(N_USERS).split(size)
    ]


def factors(users: Tensor, items: Tensor) -> RegressionFactors:
    spread = (users @ items.T).std(dim=1, correction=0, keepdim=True)
    return RegressionFactors(users / spread, items, items, weight=0.0)


def weight(
    noise: float, regression_noise: float, sign: float = 1.0, size: int = 60, budget: int = 64
) -> float:
    """The weight for scores and a regression that know the truth up to noise of their own."""
    users, items = truth()
    rng = generator(5)

    def noisy(table: Tensor, amount: float) -> Tensor:
        return table + amount * torch.randn(table.shape, generator=rng)

    return best_weight(
        noisy(users, noise),
        noisy(items, noise),
        factors(sign * noisy(users, regression_noise), noisy(items, regression_noise)),
        batches(size),
        memory_budget_mb=budget,
    )


def test_better_regression_gets_the_highest_weight_and_a_misleading_one_zero() -> None:
    assert weight(noise=3.0, regression_noise=0.0) == max(WEIGHTS)
    assert weight(noise=0.0, regression_noise=0.0, sign=-1.0) == 0


def test_weight_lies_between_where_both_know_something() -> None:
    assert 0 < weight(noise=0.5, regression_noise=0.8) < max(WEIGHTS)


def test_of_equal_rankings_the_lowest_weight_is_chosen() -> None:
    assert weight(noise=0.0, regression_noise=0.0) == 0


@pytest.mark.parametrize("size", [1, 7, 59])
def test_batches_do_not_matter(size: int) -> None:
    assert weight(noise=0.5, regression_noise=0.8, size=size) == weight(0.5, 0.8)


def test_memory_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "slifmr_pl.regression.weight_search._TABLES", (1 << 20) // (N_ITEMS * 4) // 7
    )
    splits: list[int] = []
    split = EvalBatch.split

    def noted(batch: EvalBatch, users: int) -> Iterator[EvalBatch]:
        splits.append(users)
        return split(batch, users)

    monkeypatch.setattr(EvalBatch, "split", noted)
    assert weight(noise=0.5, regression_noise=0.8, budget=1) == weight(0.5, 0.8)
    assert splits[0] < N_USERS


def test_parts_of_a_batch_are_the_batch() -> None:
    (batch,) = batches(N_USERS)
    parts = list(batch.split(7))
    assert [len(part.users) for part in parts] == [7] * 8 + [4]
    for part, expected in zip(parts, batches(7), strict=True):
        assert all(map(torch.equal, part, expected))
