"""Thousands of random users, ranked and measured by us and by independent libraries.

Scores are small whole numbers, so that ties and negative scores are everywhere. Catalogues are
smaller and larger than the cut-offs; users may have no relevant items, or every item masked.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import (
    label_ranking_average_precision_score,
    ndcg_score,
    precision_score,
    recall_score,
)
from torch import Tensor

from slifmr_pl.errors import DataError
from slifmr_pl.metrics.full_ranking import ItemRanking
from slifmr_pl.metrics.ranked_lists import RankedLists
from slifmr_pl.metrics.ranking_metrics import UserValues
from tests.metrics.measured import accuracy, all_metrics

KS = (1, 3, 10, 60)
WIDEST = 50  # items of the largest catalogue
USERS = 40  # of each catalogue


class Case(NamedTuple):
    """One catalogue with its users; masks are bool ``[USERS, I]``."""

    users: Tensor
    items: Tensor
    known: Tensor
    relevant: Tensor

    @property
    def scores(self) -> NDArray[np.float64]:
        return (self.users.double() @ self.items.double().T).numpy()


def offsets_of(mask: Tensor) -> tuple[Tensor, Tensor]:
    counts = mask.sum(dim=1)
    return torch.cat((counts.new_zeros(1), counts)).cumsum(dim=0), mask.nonzero()[:, 1]


def random_case(rng: torch.Generator) -> Case:
    n_items = int(torch.randint(1, WIDEST + 1, (1,), generator=rng))
    users = torch.randint(-2, 3, (USERS, 3), generator=rng).float()
    items = torch.randint(-2, 3, (n_items, 3), generator=rng).float()
    shares = torch.rand(USERS, 1, generator=rng)
    shares[0], shares[1] = 1.0, 0.0  # everything is masked, and nothing
    known = torch.rand(USERS, n_items, generator=rng) < shares
    relevant = (torch.rand(USERS, n_items, generator=rng) < 0.2) & ~known
    relevant[2] = False
    return Case(users, items, known, relevant)


def user_values(case: Case, ks: tuple[int, ...] = KS) -> UserValues:
    n_items = len(case.items)
    known_offsets, known_items = offsets_of(case.known)
    ranking = ItemRanking(case.items, max(ks))
    lists = ranking.recommend(case.users, known_offsets, known_items).indices
    return all_metrics(ks, n_items).user_values(
        lists, *offsets_of(case.relevant), torch.arange(USERS)
    )


def positions(case: Case) -> NDArray[np.int64]:
    """The place of every item in its user's ranking, from 0; WIDEST for masked items."""
    scores = np.where(case.known.numpy(), -np.inf, case.scores)
    order = np.argsort(-scores, axis=1, kind="stable")  # equal scores: lower item first
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(order.shape[1])[None], axis=1)
    return np.where(case.known.numpy(), WIDEST, places)


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    rng = torch.Generator().manual_seed(2026)
    return [random_case(rng) for _ in range(80)]


@pytest.fixture(scope="module")
def measured(cases: list[Case]) -> list[UserValues]:
    return [user_values(case) for case in cases]


def test_users_without_relevant_items_are_left_out(
    cases: list[Case], measured: list[UserValues]
) -> None:
    for case, values in zip(cases, measured, strict=True):
        counts = case.relevant.sum(dim=1)
        assert torch.equal(values.users, counts.nonzero().flatten())
        assert torch.equal(values.relevant, counts[counts > 0])
    assert sum(len(values.users) for values in measured) > 2000


@pytest.fixture(scope="module")
def ranx() -> Iterator[object]:
    import numba

    compiled = numba.config.DISABLE_JIT
    numba.config.DISABLE_JIT = True  # compiling ranx takes a minute, running it as Python does not
    import ranx

    yield ranx
    numba.config.DISABLE_JIT = compiled


def test_all_accuracy_metrics_equal_ranx(
    ranx, cases: list[Case], measured: list[UserValues]
) -> None:
    wanted, ranked, relevant = {}, {}, []
    for number, (case, values) in enumerate(zip(cases, measured, strict=True)):
        places = positions(case)
        for row in values.users.tolist():
            name = f"{number:03}-{row:03}"
            wanted[name] = {f"i{i}": 1 for i in case.relevant[row].nonzero().flatten().tolist()}
            unmasked = np.flatnonzero(places[row] < WIDEST)
            ranked[name] = {f"i{i}": 1.0 - places[row, i] / 100 for i in unmasked}
            ranked[name]["no item"] = 0.0  # ranx refuses empty lists
        relevant += values.relevant.tolist()
    names = {"recall": "recall", "precision": "precision", "ndcg": "ndcg", "map": "map"}
    names |= {"mrr": "mrr", "hit": "hit_rate"}
    oracle = ranx.evaluate(
        ranx.Qrels(wanted),
        ranx.Run(ranked),
        [f"{name}@{k}" for name in names.values() for k in KS],
        return_mean=False,
    )
    for ours, theirs in names.items():
        values = torch.cat([user.metrics[ours] for user in measured]).numpy()
        for column, k in enumerate(KS):
            expected = oracle[f"{theirs}@{k}"]
            if ours == "map":  # ranx divides by all relevant items
                expected = expected * relevant / np.minimum(relevant, k)
            np.testing.assert_allclose(values[:, column], expected, rtol=1e-6, err_msg=ours)


def test_recall_precision_and_ndcg_equal_scikit_learn(
    cases: list[Case], measured: list[UserValues]
) -> None:
    for case, values in zip(cases, measured, strict=True):
        rows = values.users.numpy()
        if not len(rows):
            continue
        # Items that exist nowhere, so that every catalogue has WIDEST of them.
        missing = ((0, 0), (0, WIDEST - len(case.items)))
        truth = np.pad(case.relevant.numpy()[rows], missing)
        places = np.pad(positions(case)[rows], missing, constant_values=WIDEST)
        for column, k in enumerate(KS):
            chosen = places < min(k, WIDEST)
            listed = chosen.sum(axis=1)
            expected = recall_score(truth, chosen, average="samples", zero_division=0)
            assert values.metrics["recall"][:, column].mean().item() == pytest.approx(expected)
            # scikit-learn divides by the length of the list, we by k.
            precision = values.metrics["precision"][:, column].numpy() * k / np.maximum(listed, 1)
            expected = precision_score(truth, chosen, average="samples", zero_division=0)
            assert precision.mean() == pytest.approx(expected)
            expected = ndcg_score(truth, -places.astype(float), k=k, ignore_ties=True)
            assert values.metrics["ndcg"][:, column].mean().item() == pytest.approx(expected)


def test_average_precision_and_reciprocal_rank_of_the_whole_list_equal_scikit_learn(
    cases: list[Case], measured: list[UserValues]
) -> None:
    for case, values in zip(cases, measured, strict=True):
        rows = values.users.numpy()
        if not len(rows):
            continue
        truth, scores = case.relevant.numpy()[rows], -positions(case)[rows].astype(float)
        expected = label_ranking_average_precision_score(truth, scores)
        assert values.metrics["map"][:, -1].mean().item() == pytest.approx(expected)
        # With one relevant item, average precision is the reciprocal rank.
        first = scores.argmax(axis=1, keepdims=True)
        best = np.where(truth, scores, -np.inf).argmax(axis=1, keepdims=True)
        assert np.take_along_axis(truth, best, axis=1).all()
        only = np.zeros_like(truth)
        np.put_along_axis(only, best, True, axis=1)
        expected = label_ranking_average_precision_score(only, scores)
        assert values.metrics["mrr"][:, -1].mean().item() == pytest.approx(expected)
        hits = np.take_along_axis(truth, first, axis=1).mean()
        assert values.metrics["hit"][:, 0].mean().item() == pytest.approx(hits)


def test_order_alone_counts_not_the_sign_or_size_of_scores(
    cases: list[Case], measured: list[UserValues]
) -> None:
    for case, values in zip(cases, measured, strict=True):
        # One more dimension lowers all scores of a user alike, below zero.
        lower = torch.full((USERS, 1), -64.0)
        ones = torch.ones(len(case.items), 1)
        users, items = torch.cat((case.users * 4, lower), 1), torch.cat((case.items, ones), 1)
        shifted = user_values(case._replace(users=users, items=items))
        for name, expected in values.metrics.items():
            assert torch.equal(shifted.metrics[name], expected)


def test_values_lie_between_0_and_1_and_longer_lists_find_no_less(
    measured: list[UserValues],
) -> None:
    for values in measured:
        for name, metric in values.metrics.items():
            assert bool(((metric >= 0) & (metric <= 1 + 1e-12)).all())
            if name in ("recall", "mrr", "hit"):
                assert bool((metric.diff(dim=1) >= 0).all())


def test_a_hit_one_rank_higher_never_lowers_a_metric() -> None:
    rng = torch.Generator().manual_seed(3)
    hits = torch.rand(4000, 20, generator=rng) < 0.3
    relevant = (hits.sum(dim=1) + torch.randint(0, 3, (4000,), generator=rng)).clamp_min(1)
    rank = torch.randint(1, 20, (4000, 1), generator=rng)
    swap = hits.gather(1, rank) & ~hits.gather(1, rank - 1)
    higher = hits.clone()
    higher.scatter_(1, rank, hits.gather(1, rank) & ~swap)
    higher.scatter_(1, rank - 1, hits.gather(1, rank - 1) | swap)
    assert int(swap.sum()) > 500
    before, after = (
        accuracy(RankedLists.of_hits(rows, relevant, (1, 5, 20))) for rows in (hits, higher)
    )
    for name, values in before.items():
        assert bool((after[name] >= values - 1e-15).all()), name
        if name in ("ndcg", "map"):  # they look at ranks
            assert bool((after[name][:, -1] > values[:, -1])[swap.flatten()].all()), name


def test_a_repeated_item_is_refused_wherever_it_is(cases: list[Case]) -> None:
    rng = torch.Generator().manual_seed(4)
    refused = 0
    for case in cases:
        n_items = len(case.items)
        if n_items < 2:
            continue
        lists = torch.rand(USERS, n_items, generator=rng).argsort(dim=1)
        row, place, other = (
            int(torch.randint(high, (1,), generator=rng)) for high in (USERS, n_items, n_items - 1)
        )
        lists[row, place] = lists[row, other + (other >= place)]
        metric = all_metrics(KS, n_items)
        with pytest.raises(DataError, match=rf"user row {row} .* twice"):
            metric.update(lists, *offsets_of(case.relevant), torch.arange(USERS))
        refused += 1
    assert refused > 70
