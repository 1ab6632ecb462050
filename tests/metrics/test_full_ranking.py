import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from slifmr_pl.errors import ConfigError, DataError, DivergenceError
from slifmr_pl.graphs.sparse.topk import TopK
from slifmr_pl.metrics.full_ranking import ItemRanking, rank_scores

NOTHING = torch.empty(0, dtype=torch.int64)
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def offsets_of(known: Tensor) -> tuple[Tensor, Tensor]:
    """bool [B, I] -> offsets and items."""
    counts = known.sum(dim=1)
    offsets = torch.cat((counts.new_zeros(1), counts)).cumsum(dim=0)
    return offsets, known.nonzero()[:, 1]


def reference(users: Tensor, items: Tensor, k: int, known: Tensor) -> list[list[int]]:
    """Plain Python: sort all unknown items by (score descending, item ascending), fill with -1."""
    ranked = []
    for row, is_known in zip((users @ items.T).tolist(), known.tolist(), strict=True):
        unknown = [item for item, knows in enumerate(is_known) if not knows]
        best = sorted(unknown, key=lambda item, row=row: (-row[item], item))
        ranked.append((best + [-1] * len(row))[: min(k, len(row))])
    return ranked


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    n_users=st.integers(0, 6),
    n_items=st.integers(0, 10),
    k=st.integers(1, 12),
    share_known=st.sampled_from([0.0, 0.4, 0.9, 1.0]),
)
def test_equals_sorting_all_unknown_items_with_ties_and_negative_scores(
    seed: int, n_users: int, n_items: int, k: int, share_known: float
) -> None:
    rng = torch.Generator().manual_seed(seed)
    users = torch.randint(-1, 2, (n_users, 3), generator=rng).float()
    items = torch.randint(-1, 2, (n_items, 3), generator=rng).float()
    known = torch.rand(n_users, n_items, generator=rng) < share_known
    known_offsets, known_items = offsets_of(known)
    best = ItemRanking(items, k).recommend(users, known_offsets, known_items)
    assert best.indices.tolist() == reference(users, items, k, known)
    assert best.indices.dtype == torch.int64
    assert torch.equal(best.indices == -1, best.values == -math.inf)
    scores = (users @ items.T).gather(1, best.indices.clamp_min(0)) if n_items else best.values
    assert torch.equal(best.values[best.indices >= 0], scores[best.indices >= 0])


Case = tuple[Tensor, Tensor, Tensor, Tensor]


@pytest.fixture(scope="module")
def case() -> Case:
    """600 users and 2500 items, so several blocks both ways; known items in any order."""
    rng = torch.Generator().manual_seed(1)
    users = torch.randn(600, 16, generator=rng)
    items = torch.randn(2500, 16, generator=rng)
    items[2000:] = items[:500]
    known = torch.rand(600, 2500, generator=rng) < 0.02
    known[5] = True
    known_offsets, known_items = offsets_of(known)
    first, last = int(known_offsets[7]), int(known_offsets[8])
    known_items[first:last] = known_items[first:last].flip(0)
    return users, items, known_offsets, known_items


def ranking_of(case: Case, k: int = 20, memory_budget_mb: int = 1024) -> TopK:
    users, items, known_offsets, known_items = case
    ranking = ItemRanking(items, k, memory_budget_mb=memory_budget_mb)
    return ranking.recommend(users, known_offsets, known_items)


@pytest.mark.parametrize("device", DEVICES)
def test_result_is_bitwise_the_same_for_every_memory_budget(case: Case, device: str) -> None:
    users, items, known_offsets, known_items = (tensor.to(device) for tensor in case)
    there = (users, items, known_offsets, known_items)
    small, large = ranking_of(there, memory_budget_mb=1), ranking_of(there)
    assert torch.equal(small.values, large.values)
    assert torch.equal(small.indices, large.indices)


def test_result_is_bitwise_the_same_for_every_batch_of_users(case: Case) -> None:
    users, items, known_offsets, known_items = case
    whole = ranking_of(case)
    ranking = ItemRanking(items, 20)
    for first, last in ((41, 59), (500, 530)):
        part = known_offsets[first : last + 1]
        some = ranking.recommend(users[first:last], part - part[0], known_items[part[0] : part[-1]])
        assert torch.equal(some.values, whole.values[first:last])
        assert torch.equal(some.indices, whole.indices[first:last])


@pytest.mark.parametrize("memory_budget_mb", [1, 1024])
def test_known_items_are_never_recommended(case: Case, memory_budget_mb: int) -> None:
    _, _, known_offsets, known_items = case
    best = ranking_of(case, 2500, memory_budget_mb)
    for user in (0, 5, 7, 599):
        known = set(known_items[known_offsets[user] : known_offsets[user + 1]].tolist())
        recommended = best.indices[user].tolist()
        n_unknown = 2500 - len(known)
        assert set(recommended[:n_unknown]) == set(range(2500)) - known
        assert recommended[n_unknown:] == [-1] * len(known)


def test_copies_of_an_item_are_ranked_by_lower_index(case: Case) -> None:
    users, items, _, _ = case
    best = ranking_of((users, items, torch.zeros(601, dtype=torch.int64), NOTHING))
    for row in best.indices.tolist():
        for place, item in enumerate(row):
            if item >= 2000:
                assert row[place - 1] == item - 2000


def test_float64_oracle_agrees(case: Case) -> None:
    users, items, known_offsets, known_items = case
    rows = torch.arange(600).repeat_interleave(known_offsets.diff())
    scores = users.double() @ items.double().T
    scores[rows, known_items] = -math.inf
    expected = scores.topk(20).values.float()
    torch.testing.assert_close(ranking_of(case).values, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30])
@pytest.mark.parametrize("which", [0, 1])
def test_diverged_embeddings_are_refused(value: float, which: int) -> None:
    embeddings = [torch.full((2, 3), 1e10), torch.full((4, 3), 1e10)]
    embeddings[which][1, 2] = value
    users, items = embeddings
    with pytest.raises(DivergenceError, match="training diverged"):
        ItemRanking(items, 1).recommend(users, torch.zeros(3, dtype=torch.int64), NOTHING)


@pytest.mark.parametrize(
    ("known_offsets", "known_items", "error", "message"),
    [
        ([0, 1], [0], ConfigError, "do not fit 2 users"),
        ([0, 1, 3], [0], ConfigError, "do not fit 2 users"),
        ([1, 1, 1], [0], ConfigError, "do not fit 2 users"),
        ([0, 2, 1], [0], ConfigError, "do not fit 2 users"),
        ([0, 1, 1], [4], DataError, "known item 4 is out of range"),
        ([0, 1, 1], [-1], DataError, "known item -1 is out of range"),
    ],
)
def test_known_items_that_do_not_fit_are_refused(
    known_offsets: list[int], known_items: list[int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ItemRanking(torch.ones(4, 3), 1).recommend(
            torch.ones(2, 3), torch.tensor(known_offsets), torch.tensor(known_items)
        )


def test_embeddings_of_different_size_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"\(2, 3\) with item embeddings \(4, 2\)"):
        ItemRanking(torch.ones(4, 2), 1).recommend(
            torch.ones(2, 3), torch.zeros(3, dtype=torch.int64), NOTHING
        )


@pytest.mark.parametrize("memory_budget_mb", [1, 1024])
def test_only_allowed_items_are_ranked_and_with_the_same_scores(
    case: Case, memory_budget_mb: int
) -> None:
    users, items, known_offsets, known_items = case
    allowed = torch.rand(2500, generator=torch.Generator().manual_seed(2)) < 0.3
    everything = ItemRanking(items, 2500).recommend(users, known_offsets, known_items)
    ranking = ItemRanking(items, 20, allowed=allowed, memory_budget_mb=memory_budget_mb)
    best = ranking.recommend(users, known_offsets, known_items)
    for row in (0, 5, 7, 599):
        order = everything.indices[row][everything.indices[row] >= 0]
        expected = order[allowed[order]][:20]
        assert best.indices[row].tolist() == (expected.tolist() + [-1] * 20)[:20]
        places = torch.isin(everything.indices[row], expected)
        assert torch.equal(
            best.values[row][: len(expected)], everything.values[row][places][: len(expected)]
        )


def test_scores_that_a_model_hands_out_are_left_as_they_are() -> None:
    popularity = torch.tensor([3.0, 1.0, 2.0])
    scores = popularity.expand(2, 3)  # one row of memory for all users
    best = rank_scores(scores, 2, torch.tensor([0, 1, 1]), torch.tensor([0]))
    assert best.indices.tolist() == [[2, 1], [0, 2]]
    assert popularity.tolist() == [3.0, 1.0, 2.0]
