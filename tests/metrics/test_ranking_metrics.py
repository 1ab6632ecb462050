import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from slifmr_pl.errors import ConfigError, DataError
from slifmr_pl.metrics.definitions import built_in_metrics
from slifmr_pl.metrics.metric_inputs import MetricInputs
from slifmr_pl.metrics.ranking_metrics import RankingMetrics
from tests.metrics.measured import (
    ACCURACY,
    Users,
    all_metrics,
    as_users,
    assert_same,
    popularity_of,
    random_users,
    users_from_to,
    values_of_two_processes,
)
from tests.metrics.reference import catalogue_metrics, user_metrics


def test_hand_computed_values() -> None:
    metric = all_metrics([1, 3], 4, torch.tensor([4, 2, 2, 0]))
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
    metric = all_metrics(ks, n_items, popularity)
    metric.update(*as_users(rankings, relevant, n_items))
    result = metric.compute()
    counted = [(r, set(w)) for r, w in zip(rankings, relevant, strict=True) if w]
    for k in ks:
        users = [user_metrics(ranked, wanted, k) for ranked, wanted in counted]
        expected = {name: sum(u[name] for u in users) / len(users) for name in ACCURACY}
        expected |= catalogue_metrics([r for r, _ in counted], popularity.tolist(), k)
        measured = {name: result[f"{name}@{k}"].item() for name in expected}
        assert measured == pytest.approx(expected, rel=1e-12, nan_ok=True)
    assert metric.n_users == len(counted)
    assert metric.n_users_without_relevant == len(rankings) - len(counted)


@settings(max_examples=200, deadline=None)
@given(case=evaluations())
def test_values_of_users_equal_the_plain_python_definitions(
    case: tuple[int, list[list[int]], list[list[int]]],
) -> None:
    n_items, rankings, relevant = case
    metric = all_metrics((1, 3, 20), n_items)
    values = metric.user_values(*as_users(rankings, relevant, n_items))
    counted = [row for row, wanted in enumerate(relevant) if wanted]
    assert values.users.tolist() == counted
    assert values.relevant.tolist() == [len(relevant[row]) for row in counted]
    assert tuple(values.metrics) == ACCURACY
    for name, of_users in values.metrics.items():
        expected = [
            user_metrics(rankings[row], set(relevant[row]), k)[name]
            for row in counted
            for k in metric.ks
        ]
        assert of_users.flatten().tolist() == pytest.approx(expected, rel=1e-12)
    assert metric.n_users == 0


@pytest.fixture(scope="module")
def users() -> Users:
    return random_users(23, 40, 10)


def new_metric() -> RankingMetrics:
    return all_metrics((2, 10), 40, popularity_of(40))


@pytest.fixture(scope="module")
def whole(users: Users) -> dict[str, Tensor]:
    metric = new_metric()
    metric.update(*users)
    return metric.compute()


def test_values_of_a_random_case_are_the_same_to_the_last_bit(whole: dict[str, Tensor]) -> None:
    """Noted when the metrics were functions; no reordering of sums may change them unseen."""
    assert {name: value.item() for name, value in whole.items()} == {
        "recall@2": 0.046296296296296294,
        "recall@10": 0.10185185185185185,
        "precision@2": 0.08333333333333333,
        "precision@10": 0.03888888888888889,
        "ndcg@2": 0.07704737817969676,
        "ndcg@10": 0.0845052426132831,
        "map@2": 0.05555555555555555,
        "map@10": 0.04262566137566138,
        "mrr@2": 0.1111111111111111,
        "mrr@10": 0.14537037037037037,
        "hit@2": 0.16666666666666666,
        "hit@10": 0.3333333333333333,
        "coverage@2": 0.45,
        "coverage@10": 0.85,
        "novelty@2": 5.658619457854522,
        "novelty@10": 5.3347085832286485,
        "popularity@2": 1.6451612903225807,
        "popularity@10": 2.154639175257732,
        "n_users": 18.0,
        "n_users_without_relevant": 5.0,
    }


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
    assert metric.user_sums.dtype == torch.float64
    assert metric.recommended_counts.dtype == torch.int64


def test_states_are_no_part_of_checkpoints(users: Users) -> None:
    metric = new_metric()
    metric.update(*users)
    assert metric.state_dict() == {}


def test_two_processes_with_uneven_users_give_the_values_of_one(
    tmp_path: Path, users: Users, whole: dict[str, Tensor]
) -> None:
    cuts = (16, 1, 23)  # the last one leaves the second process without users
    for values in values_of_two_processes(new_metric, users, cuts, tmp_path):
        assert_same(values, whole)


def test_no_user_with_relevant_items_is_an_error() -> None:
    metric = all_metrics([1], 3)
    metric.update(*as_users([[0], [1]], [[], []], 1))
    with pytest.raises(DataError, match=r"no user .* \(2 users had none\)"):
        metric.compute()


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric:UserWarning")
def test_no_update_is_an_error() -> None:
    with pytest.raises(DataError, match="no user with relevant items"):
        all_metrics([1], 3).compute()


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
    metric = all_metrics([2], 4)
    users = torch.arange(len(recommended))
    arguments = torch.tensor(recommended), torch.tensor(offsets), torch.tensor(items), users
    with pytest.raises(error, match=message):
        metric.update(*arguments)
    with pytest.raises(error, match=message):
        metric.user_values(*arguments)
    assert metric.n_users == 0
    assert not metric.recommended_counts.any()


@pytest.mark.parametrize(
    ("ks", "popularity", "message"),
    [
        ([], torch.tensor([1]), "cut-offs"),
        ([5, 5], torch.tensor([1]), "repeat"),
        ([5], torch.tensor([], dtype=torch.int64), "at least one item"),
        ([5], torch.tensor([[1]]), "popularity is"),
        ([5], torch.tensor([1.0, 2.0]), "torch.float32"),
        ([5], torch.tensor([0, 0]), "no interaction"),
        ([5], torch.tensor([3, -1]), "negative"),
    ],
)
def test_arguments_out_of_range_are_refused(
    ks: list[int], popularity: Tensor, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        RankingMetrics(built_in_metrics(), ks, MetricInputs(popularity))
