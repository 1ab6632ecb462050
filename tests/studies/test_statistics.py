import numpy as np
import pytest
from scipy import stats

from slifmr_pl.studies import statistics
from slifmr_pl.studies.statistics import (
    bootstrap_means,
    holm,
    interval,
    paired_t_test,
    randomisation_test,
    welch_test,
    wilcoxon_test,
)


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    """Two metrics of 80 users: one skewed, one of zeros and ones."""
    rng = np.random.default_rng(1)
    return np.stack([rng.beta(0.4, 2, 80), rng.random(80) < 0.3], axis=1).astype(float)


def test_interval_equals_scipys_percentile_bootstrap(values: np.ndarray) -> None:
    ends = interval(bootstrap_means(values, 20_000, seed=1), 0.95)
    for column in range(2):
        expected = stats.bootstrap(
            (values[:, column],), np.mean, n_resamples=20_000, method="percentile", random_state=2
        ).confidence_interval
        np.testing.assert_allclose(ends[:, column], expected, atol=3e-3)


def test_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    inside = []
    for seed in range(300):
        low, high = interval(bootstrap_means(rng.random((40, 1)), 400, seed), 0.9)
        inside.append(low[0] <= 0.5 <= high[0])
    assert np.mean(inside) == pytest.approx(0.9, abs=0.05)


def test_randomisation_equals_all_sign_flips() -> None:
    differences = np.array([0.3, -0.1, 0.2, 0.4, 0.0, 0.2, -0.3, 0.5, 0.1, 0.1])[:, None]
    signs = 1 - 2 * np.array([[b >> i & 1 for i in range(10)] for b in range(1024)])
    exact = np.mean(np.abs(signs @ differences) >= np.abs(differences.sum()) - 1e-12)
    p_values = randomisation_test(differences, 40_000, seed=1)
    assert p_values[0] == pytest.approx(exact, abs=0.01)
    assert 0.02 < exact < 0.2


def test_randomisation_counts_ties_and_never_says_zero() -> None:
    # Ten users, all better by the same: one of 512 sign patterns is as extreme (two-sided).
    p_values = randomisation_test(np.full((10, 1), 0.1), 50_000, seed=3)
    assert p_values[0] == pytest.approx(2 / 1024, abs=6e-4)
    assert randomisation_test(np.full((500, 1), 0.1), 99, seed=3)[0] == 1 / 100
    assert randomisation_test(np.zeros((10, 1)), 99, seed=3)[0] == 1.0


def test_t_tests_equal_scipys(values: np.ndarray) -> None:
    differences = values[:, :1] - values[:, 1:]
    expected = stats.ttest_rel(values[:, 0], values[:, 1]).pvalue
    assert paired_t_test(differences)[0] == pytest.approx(expected, rel=1e-12)
    expected = stats.ttest_ind(values[:5], values[5:9], equal_var=False).pvalue
    np.testing.assert_allclose(welch_test(values[:5], values[5:9]), expected, rtol=1e-12)


def test_wilcoxon_by_hand() -> None:
    """Seven differ. Ranks of 1 1 2 3 3 3 4 are 1.5 1.5 3 5 5 5 7; those below 0 sum to 6.5."""
    column = np.array([0.0, 1, -1, 2, 3, 3, -3, 4, 0])
    # Mean 7·8/4 = 14; variance 7·8·15/24 less (2³ - 2 + 3³ - 3)/48 for ties.
    z = (6.5 - 14) / np.sqrt(35 - 30 / 48)
    p_values = wilcoxon_test(np.stack([column, 0.1 - (0.1 - column)], axis=1))
    np.testing.assert_allclose(p_values, 2 * stats.norm.cdf(z), rtol=1e-12)


@pytest.mark.filterwarnings("error")
def test_no_difference_is_no_evidence() -> None:
    assert paired_t_test(np.zeros((5, 2))).tolist() == [1.0, 1.0]
    assert wilcoxon_test(np.zeros((5, 2))).tolist() == [1.0, 1.0]
    assert paired_t_test(np.full((5, 1), 0.5))[0] < 1e-6
    same = np.full((3, 1), 0.25)
    assert welch_test(same, same)[0] == 1.0
    assert welch_test(same, same + 0.5)[0] == 0.0


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # 3·0.01; 2·0.03; max(0.06, 1·0.04)
        ([0.6, 0.9], [1.0, 1.0]),
        ([0.2], [0.2]),
        ([], []),
    ],
)
def test_holm_by_hand(raw: list[float], expected: list[float]) -> None:
    assert holm(raw).tolist() == pytest.approx(expected)


def test_same_seed_same_numbers_in_any_number_of_columns(
    values: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = bootstrap_means(values, 50, seed=4)
    assert np.array_equal(whole, bootstrap_means(values, 50, seed=4))
    assert not np.array_equal(whole, bootstrap_means(values, 50, seed=5))
    np.testing.assert_allclose(bootstrap_means(values[:, :1], 50, seed=4), whole[:, :1])
    monkeypatch.setattr(statistics, "_BLOCK", 80 * 7)
    np.testing.assert_allclose(bootstrap_means(values, 50, seed=4), whole)
