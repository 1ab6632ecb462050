import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score
from torch import Tensor

from slifmr_pl.errors import ConfigError, DataError
from slifmr_pl.metrics.accuracy import (
    AveragePrecision,
    HitRate,
    Ndcg,
    Precision,
    Recall,
    ReciprocalRank,
)
from slifmr_pl.metrics.ranked_lists import RankedLists
from tests.metrics.measured import accuracy
from tests.metrics.reference import user_metrics

KS = (1, 2, 3, 10)


def as_hits(*rows: list[int]) -> Tensor:
    return torch.tensor(rows).bool()


@pytest.fixture
def two_users() -> tuple[Tensor, Tensor]:
    """Hits at ranks 1 and 3 with 3 relevant items; one hit at rank 4 with 1 relevant item."""
    return as_hits([1, 0, 1, 0], [0, 0, 0, 1]), torch.tensor([3, 1])


@pytest.mark.parametrize(
    ("metric", "first", "second"),
    [
        (Recall, [1 / 3, 1 / 3, 2 / 3, 2 / 3], [0, 0, 0, 1]),
        (Precision, [1, 1 / 2, 2 / 3, 2 / 10], [0, 0, 0, 1 / 10]),
        (
            Ndcg,
            [
                1,
                1 / (1 + 1 / math.log2(3)),
                1.5 / (1.5 + 1 / math.log2(3)),
                1.5 / (1.5 + 1 / math.log2(3)),
            ],
            [0, 0, 0, 1 / math.log2(5)],
        ),
        (AveragePrecision, [1, 1 / 2, (1 + 2 / 3) / 3, (1 + 2 / 3) / 3], [0, 0, 0, 1 / 4]),
        (ReciprocalRank, [1, 1, 1, 1], [0, 0, 0, 1 / 4]),
        (HitRate, [1, 1, 1, 1], [0, 0, 0, 1]),
    ],
)
def test_hand_computed_values(
    two_users: tuple[Tensor, Tensor], metric, first: list[float], second: list[float]
) -> None:
    values = metric().values(RankedLists.of_hits(*two_users, KS))
    assert values.dtype == torch.float64
    torch.testing.assert_close(values, torch.tensor([first, second], dtype=torch.float64))


def test_a_perfect_ranking_has_an_ndcg_of_exactly_one() -> None:
    relevant = torch.arange(1, 51)
    hits = torch.arange(50) < relevant.unsqueeze(1)
    assert bool((Ndcg().values(RankedLists.of_hits(hits, relevant, range(1, 60))) == 1).all())


@st.composite
def rankings(draw: st.DrawFn) -> tuple[list[list[int]], list[set[int]]]:
    n_items = draw(st.integers(1, 12))
    width = draw(st.integers(0, n_items))
    n_users = draw(st.integers(0, 4))
    permutation = st.permutations(range(n_items))
    relevant = st.sets(st.integers(0, n_items - 1), min_size=1)
    return (
        [draw(permutation)[:width] for _ in range(n_users)],
        [draw(relevant) for _ in range(n_users)],
    )


@settings(max_examples=300, deadline=None)
@given(
    case=rankings(),
    ks=st.lists(st.integers(1, 15), min_size=1, max_size=4, unique=True),
)
def test_equals_the_plain_python_definitions(
    case: tuple[list[list[int]], list[set[int]]], ks: list[int]
) -> None:
    ranked, relevant = case
    width = len(ranked[0]) if ranked else 3
    pairs = zip(ranked, relevant, strict=True)
    hits = [[item in wanted for item in items] for items, wanted in pairs]
    result = accuracy(
        RankedLists.of_hits(
            torch.tensor(hits, dtype=torch.bool).view(len(ranked), width),
            torch.tensor([len(wanted) for wanted in relevant], dtype=torch.int64),
            ks,
        )
    )
    for name, values in result.items():
        assert values.shape == (len(ranked), len(ks))
        expected = [
            [user_metrics(items, wanted, k)[name] for k in ks]
            for items, wanted in zip(ranked, relevant, strict=True)
        ]
        np.testing.assert_allclose(values.numpy().ravel(), np.ravel(expected), rtol=1e-12)


@pytest.fixture(scope="module")
def many_users() -> tuple[Tensor, Tensor]:
    """200 users over 30 ranked items; some have relevant items that are not ranked at all."""
    rng = torch.Generator().manual_seed(0)
    hits = torch.rand(200, 30, generator=rng) < 0.15
    beyond = torch.randint(0, 4, (200,), generator=rng)
    relevant = hits.sum(dim=1) + beyond
    return hits[relevant > 0], relevant[relevant > 0]


@pytest.mark.parametrize("k", [1, 5, 30])
def test_ndcg_equals_scikit_learn(many_users: tuple[Tensor, Tensor], k: int) -> None:
    hits, relevant = many_users
    unranked = torch.arange(4) < (relevant - hits.sum(dim=1)).unsqueeze(1)
    gains = torch.cat((hits, unranked), dim=1).double().numpy()
    scores = np.tile(-np.arange(34.0), (len(gains), 1))
    oracle = [ndcg_score([row], [score], k=k) for row, score in zip(gains, scores, strict=True)]
    np.testing.assert_allclose(
        Ndcg().values(RankedLists.of_hits(hits, relevant, [k]))[:, 0].numpy(), oracle, rtol=1e-12
    )


@pytest.fixture(scope="module")
def ranx() -> Iterator[object]:
    import numba

    compiled = numba.config.DISABLE_JIT
    numba.config.DISABLE_JIT = True  # compiling ranx takes a minute, running it as Python does not
    import ranx

    yield ranx
    numba.config.DISABLE_JIT = compiled


@pytest.mark.parametrize("k", [1, 5, 30])
def test_equals_ranx(ranx, many_users: tuple[Tensor, Tensor], k: int) -> None:
    hits, relevant = many_users
    wanted, ranked = {}, {}
    for user, (row, count) in enumerate(zip(hits.tolist(), relevant.tolist(), strict=True)):
        items = [f"i{rank}" for rank, is_hit in enumerate(row) if is_hit]
        items += [f"unranked{n}" for n in range(count - len(items))]
        wanted[f"u{user:03}"] = dict.fromkeys(items, 1)
        ranked[f"u{user:03}"] = {f"i{rank}": 1.0 - rank / 100 for rank in range(len(row))}
    names = {
        "recall": "recall",
        "precision": "precision",
        "ndcg": "ndcg",
        "map": "map",
        "mrr": "mrr",
        "hit": "hit_rate",
    }
    oracle = ranx.evaluate(
        ranx.Qrels(wanted),
        ranx.Run(ranked),
        [f"{name}@{k}" for name in names.values()],
        return_mean=False,
    )
    # ranx divides AP@k by all relevant items, we by as many as k ranks can hold.
    oracle[f"map@{k}"] = oracle[f"map@{k}"] * (relevant / relevant.clamp_max(k)).numpy()
    result = accuracy(RankedLists.of_hits(hits, relevant, [k]))
    for ours, theirs in names.items():
        np.testing.assert_allclose(result[ours][:, 0], oracle[f"{theirs}@{k}"], rtol=1e-6)


def test_users_without_relevant_items_are_refused() -> None:
    with pytest.raises(DataError, match=r"user row 1 .* 0 hits with 0 relevant"):
        RankedLists.of_hits(as_hits([1], [0]), torch.tensor([1, 0]), [1])


def test_more_hits_than_relevant_items_are_refused() -> None:
    with pytest.raises(DataError, match="2 hits with 1 relevant"):
        RankedLists.of_hits(as_hits([1, 1]), torch.tensor([1]), [1])


@pytest.mark.parametrize("ks", [[], [0], [5, -1], [5, 5]])
def test_cutoffs_that_select_nothing_are_refused(ks: list[int]) -> None:
    with pytest.raises(ConfigError, match="cut-offs"):
        RankedLists.of_hits(as_hits([1]), torch.tensor([1]), ks)


@pytest.mark.parametrize(
    ("hits", "relevant"),
    [
        (torch.ones(2, 2), torch.ones(2)),
        (torch.ones(2, dtype=torch.bool), torch.ones(2)),
        (torch.ones(2, 2, dtype=torch.bool), torch.ones(1)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(hits: Tensor, relevant: Tensor) -> None:
    with pytest.raises(ConfigError, match="hits are"):
        RankedLists.of_hits(hits, relevant, [1])
