import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from slifmr_pl.errors import ConfigError, DataError
from slifmr_pl.metrics.ranking_metrics import ACCURACY, RankingMetrics
from tests.metrics.reference import catalogue_metrics, user_metrics

Users = tuple[Tensor, Tensor, Tensor]  # arguments of RankingMetrics.update


def as_users(rankings: list[list[int]], relevant: list[list[int]], width: int) -> Users:
    padded = [ranked[:width] + [-1] * (width - len(ranked[:width])) for ranked in rankings]
    counts = torch.tensor([0, *map(len, relevant)], dtype=torch.int64)
    items = [item for wanted in relevant for item in sorted(wanted)]
    return (
        torch.tensor(padded, dtype=torch.int64).view(len(rankings), width),
        counts.cumsum(dim=0),
        torch.tensor(items, dtype=torch.int64),
    )


def random_users(n_users: int, n_items: int, width: int, seed: int = 0) -> Users:
    """Users with 0 to 4 relevant items and 0 to `width` recommended ones."""
    rng = torch.Generator().manual_seed(seed)
    rankings, relevant = [], []
    for _ in range(n_users):
        length = int(torch.randint(0, width + 1, (1,), generator=rng))
        rankings.append(torch.randperm(n_items, generator=rng)[:length].tolist())
        n_relevant = int(torch.randint(0, 5, (1,), generator=rng))
        relevant.append(torch.randperm(n_items, generator=rng)[:n_relevant].tolist())
    return as_users(rankings, relevant, width)


def users_from_to(users: Users, first: int, last: int) -> Users:
    recommended, offsets, items = users
    part = offsets[first : last + 1]
    return recommended[first:last], part - part[0], items[int(part[0]) : int(part[-1])]


def popularity_of(n_items: int) -> Tensor:
    return torch.arange(n_items) ** 2 % 7


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-13, atol=0, equal_nan=True)


def test_hand_computed_values() -> None:
    metric = RankingMetrics([1, 3], n_items=4, item_popularity=torch.tensor([4, 2, 2, 0]))
    # Hits at ranks 1 and 3 of 2 relevant; no relevant items; a miss, then an empty place.
    rankings, relevant = [[0, 1, 2], [3, 2, 1], [3, 2]], [[2, 0], [], [1]]
    metric.update(*as_users(rankings, relevant, 3))
    result = metric.compute()
    expected = {
        "recall@1": (1 / 2 + 0) / 2,
        "recall@3": (1 + 0) / 2,
        "precision@1": 1 / 2,
        "precision@3": 2 / 3 / 2,
        "ndcg@1": 1 / 2,
        "ndcg@3": 1.5 / (1 + 1 / math.log2(3)) / 2,
        "map@1": 1 / 2,
        "map@3": (1 + 2 / 3) / 2 / 2,
        "mrr@1": 1 / 2,
        "mrr@3": 1 / 2,
        "hit@1": 1 / 2,
        "hit@3": 1 / 2,
        "coverage@1": 2 / 4,
        "coverage@3": 4 / 4,
        "novelty@1": (1 + 3) / 2,
        "novelty@3": (1 + 2 + 2 + 3 + 2) / 5,
        "popularity@1": (4 + 0) / 2,
        "popularity@3": (4 + 2 + 2 + 0 + 2) / 5,
        "n_users": 2,
        "n_users_without_relevant": 1,
    }
    assert {name: value.item() for name, value in result.items()} == pytest.approx(expected)
    assert all(value.dtype == torch.float64 and value.dim() == 0 for value in result.values())
    assert (metric.n_users, metric.n_users_without_relevant) == (2, 1)


@st.composite
def evaluations(draw: st.DrawFn) -> tuple[int, list[list[int]], list[list[int]]]:
    n_items = draw(st.integers(1, 9))
    n_users = draw(st.integers(1, 6))
    some = st.lists(st.integers(0, n_items - 1), unique=True)
    rankings = [draw(some) for _ in range(n_users)]
    relevant = [draw(some) for _ in range(n_users)]
    relevant[draw(st.integers(0, n_users - 1))] = [0]
    return n_items, rankings, relevant


@settings(max_examples=200, deadline=None)
@given(case=evaluations())
def test_equals_the_plain_python_definitions_for_any_padding_and_empty_users(
    case: tuple[int, list[list[int]], list[list[int]]],
) -> None:
    n_items, rankings, relevant = case
    ks = (1, 3, 20)  # 20 is beyond every catalogue here
    popularity = popularity_of(n_items) + 1
    metric = RankingMetrics(ks, n_items=n_items, item_popularity=popularity)
    metric.update(*as_users(rankings, relevant, n_items))
    result = metric.compute()
    counted = [(r, set(w)) for r, w in zip(rankings, relevant, strict=True) if w]
    for k in ks:
        users = [user_metrics(ranked, wanted, k) for ranked, wanted in counted]
        expected = {name: sum(u[name] for u in users) / len(users) for name in ACCURACY}
        expected |= catalogue_metrics([r for r, _ in counted], popularity.tolist(), k)
        found = {name: result[f"{name}@{k}"].item() for name in expected}
        assert found == pytest.approx(expected, rel=1e-12, nan_ok=True)
    assert metric.n_users == len(counted)
    assert metric.n_users_without_relevant == len(rankings) - len(counted)


@settings(max_examples=200, deadline=None)
@given(case=evaluations())
def test_values_of_users_equal_the_plain_python_definitions(
    case: tuple[int, list[list[int]], list[list[int]]],
) -> None:
    n_items, rankings, relevant = case
    metric = RankingMetrics((1, 3, 20), n_items=n_items)
    found = metric.user_values(*as_users(rankings, relevant, n_items))
    counted = [row for row, wanted in enumerate(relevant) if wanted]
    assert found.rows.tolist() == counted
    assert found.relevant.tolist() == [len(relevant[row]) for row in counted]
    assert tuple(found.metrics) == ACCURACY
    for name, values in found.metrics.items():
        expected = [
            user_metrics(rankings[row], set(relevant[row]), k)[name]
            for row in counted
            for k in metric.ks
        ]
        assert values.flatten().tolist() == pytest.approx(expected, rel=1e-12)
    assert metric.n_users == 0


@pytest.fixture(scope="module")
def users() -> Users:
    return random_users(23, 40, 10)


def new_metric() -> RankingMetrics:
    return RankingMetrics((2, 10), n_items=40, item_popularity=popularity_of(40))


@pytest.fixture(scope="module")
def whole(users: Users) -> dict[str, Tensor]:
    metric = new_metric()
    metric.update(*users)
    return metric.compute()


def test_updates_in_parts_give_the_same_values(users: Users, whole: dict[str, Tensor]) -> None:
    metric = new_metric()
    for first, last in ((0, 1), (1, 1), (1, 15), (15, 23)):
        metric.update(*users_from_to(users, first, last))
    assert_same(metric.compute(), whole)


def test_merged_objects_give_the_same_values(users: Users, whole: dict[str, Tensor]) -> None:
    first, second = new_metric(), new_metric()
    first.update(*users_from_to(users, 0, 16))
    second.update(*users_from_to(users, 16, 23))
    first.merge_state(second)
    assert_same(first.compute(), whole)


def test_reset_forgets_everything(users: Users, whole: dict[str, Tensor]) -> None:
    metric = new_metric()
    metric.update(*users_from_to(users, 3, 9))
    metric.reset()
    assert (metric.n_users, metric.n_users_without_relevant) == (0, 0)
    metric.update(*users)
    assert_same(metric.compute(), whole)


def test_casting_a_module_to_half_keeps_states_in_full_precision(users: Users) -> None:
    module = nn.ModuleDict({"metric": new_metric()}).half()
    metric = module["metric"]
    assert isinstance(metric, RankingMetrics)
    metric.update(*users)
    assert metric.metric_sums.dtype == torch.float64
    assert metric.recommended_counts.dtype == torch.int64


def test_states_are_no_part_of_checkpoints(users: Users) -> None:
    metric = new_metric()
    metric.update(*users)
    assert metric.state_dict() == {}


def _evaluate_shards(rank: int, folder: Path, users: Users, cuts: tuple[int, ...]) -> None:
    """One of two processes: for every cut, rank 0 takes the users before it, rank 1 the others."""
    dist.init_process_group(
        "gloo", init_method=(folder / "rendezvous").as_uri(), rank=rank, world_size=2
    )
    results = []
    for cut in cuts:
        first, last = ((0, cut), (cut, len(users[0])))[rank]
        metric = new_metric()
        if first < last:
            metric.update(*users_from_to(users, first, last))
        results.append(metric.compute())
    torch.save(results, folder / f"rank{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_with_uneven_users_give_the_values_of_one(
    tmp_path: Path, users: Users, whole: dict[str, Tensor]
) -> None:
    cuts = (16, 1, 23)  # the last one leaves the second process without users
    spawn(_evaluate_shards, (tmp_path, users, cuts), nprocs=2)
    for rank in range(2):
        for result in torch.load(tmp_path / f"rank{rank}.pt", weights_only=True):
            assert_same(result, whole)


def test_no_user_with_relevant_items_is_an_error() -> None:
    metric = RankingMetrics([1], n_items=3)
    metric.update(*as_users([[0], [1]], [[], []], 1))
    with pytest.raises(DataError, match=r"no user .* \(2 users had none\)"):
        metric.compute()


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric:UserWarning")
def test_no_update_is_an_error() -> None:
    with pytest.raises(DataError, match="no user with relevant items"):
        RankingMetrics([1], n_items=3).compute()


def test_without_popularity_only_what_needs_it_is_missing(users: Users) -> None:
    metric = RankingMetrics([10], n_items=40)
    metric.update(*users)
    assert set(metric.compute()) == {
        *(f"{name}@10" for name in (*ACCURACY, "coverage")),
        "n_users",
        "n_users_without_relevant",
    }


@pytest.mark.parametrize(
    ("recommended", "offsets", "items", "error", "message"),
    [
        ([[0, 1]], [0, 2], [2, 1], DataError, "not ascending"),
        ([[0, 1]], [0, 2], [1, 1], DataError, "one is repeated"),
        ([[0, 4]], [0, 1], [1], DataError, "recommended item 4"),
        ([[0, -2]], [0, 1], [1], DataError, "recommended item -2"),
        ([[0, 1]], [0, 1], [4], DataError, "relevant item 4"),
        ([[0, 1]], [0, 1], [-1], DataError, "relevant item -1"),
        ([[1, 0], [3, 3]], [0, 1, 1], [1], DataError, "row 1 .* twice"),
        ([[0]], [0, 1], [1], ConfigError, "1 items are recommended"),
        ([[0, 1]], [0, 1, 1], [1], ConfigError, "do not fit together"),
        ([[0, 1]], [0, 2], [1], ConfigError, "do not fit together"),
        ([[0, 1]], [1, 1], [1], ConfigError, "do not fit together"),
        ([[0, 1], [0, 1]], [0, 2, 1], [1], ConfigError, "do not fit together"),
    ],
)
def test_inputs_that_would_give_wrong_values_are_refused_and_change_nothing(
    recommended: list[list[int]],
    offsets: list[int],
    items: list[int],
    error: type[Exception],
    message: str,
) -> None:
    metric = RankingMetrics([2], n_items=4)
    arguments = torch.tensor(recommended), torch.tensor(offsets), torch.tensor(items)
    with pytest.raises(error, match=message):
        metric.update(*arguments)
    with pytest.raises(error, match=message):
        metric.user_values(*arguments)
    assert metric.n_users == 0
    assert not metric.recommended_counts.any()


@pytest.mark.parametrize(
    ("ks", "n_items", "popularity", "message"),
    [
        ([], 2, None, "cut-offs"),
        ([5, 5], 2, None, "repeat"),
        ([5], 0, None, "n_items is 0"),
        ([5], 2, torch.tensor([1]), "item_popularity is"),
        ([5], 2, torch.tensor([1.0, 2.0]), "torch.float32"),
        ([5], 2, torch.tensor([0, 0]), "no interaction"),
        ([5], 2, torch.tensor([3, -1]), "negative"),
    ],
)
def test_arguments_out_of_range_are_refused(
    ks: list[int], n_items: int, popularity: Tensor | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        RankingMetrics(ks, n_items=n_items, item_popularity=popularity)
