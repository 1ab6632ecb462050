"""Confidence intervals and paired significance tests over users.

Shapes: n users, c columns (metrics), R resamples. All randomness comes from the seed.
"""

import warnings
from collections.abc import Sequence
from statistics import mean, stdev

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]

# Numbers that a block of resamples holds at a time.
_BLOCK = 4_000_000


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation of runs; a single one has no deviation."""
    return mean(values), stdev(values) if len(values) > 1 else None


def bootstrap_means(values: Floats, resamples: int, seed: int) -> Floats:
    """Means of users that are drawn with replacement (Efron 1979), ``[R, c]``.

    Args:
        values: ``[n, c]``; all columns see the same draws.
        resamples: R.
        seed: Seed of the draws.
    """
    rng, n = np.random.default_rng(seed), len(values)
    means = []
    for size in _blocks(resamples, n):
        draws = rng.integers(0, n, (size, n))
        draws += np.arange(size)[:, None] * n
        counts = np.bincount(draws.ravel(), minlength=size * n).reshape(size, n)
        means.append(counts.astype(np.float64) @ values / n)
    return np.concatenate(means)


def interval(means: Floats, confidence: float) -> Floats:
    """Lower and upper end of the percentile interval, ``[2, c]``, of resampled means ``[R, c]``."""
    tail = (1 - confidence) / 2
    ends: Floats = np.quantile(means, [tail, 1 - tail], axis=0)
    return ends


def paired_t_test(differences: Floats) -> Floats:
    """Two-sided p-values ``[c]`` that the mean of each column of differences ``[n, c]`` is 0.

    1 where no user differs.
    """
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # columns without any difference
        result = stats.ttest_1samp(differences, 0.0, axis=0)
    return _without_difference(np.asarray(result.pvalue, np.float64), differences)


def wilcoxon_test(differences: Floats) -> Floats:
    """Two-sided p-values ``[c]`` of Wilcoxon's signed-rank test of each column ``[n, c]``.

    Users without a difference are left out (Wilcoxon 1945), equal sizes share their mean rank. The
    others' differences may lie anywhere, symmetrically around 0, if both systems are the same. 1
    where no user differs.
    """
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # columns without any difference
        # Differences that are equal by design must not differ by rounding.
        result = stats.wilcoxon(differences.round(12), method="approx", axis=0)
    return _without_difference(np.asarray(result.pvalue, np.float64), differences)


def randomisation_test(differences: Floats, resamples: int, seed: int) -> Floats:
    """Two-sided p-values ``[c]`` of Fisher's paired randomisation test on the mean difference.

    If both systems were the same, each user's difference could as well have the other sign. The
    p-value is the share of random signs whose mean lies at least as far from 0 as the measured one
    (which counts as one of them, so p is at least 1 / (R + 1)).

    Args:
        differences: ``[n, c]``; all columns see the same signs.
        resamples: R.
        seed: Seed of the signs.
    """
    rng, n = np.random.default_rng(seed), len(differences)
    total = differences.sum(axis=0)
    # Sums that are equal by design must not differ by rounding.
    measured = np.abs(total) - 1e-12 * np.abs(differences).sum(axis=0)
    extreme = np.zeros(differences.shape[1])
    for size in _blocks(resamples, n):
        bits = np.frombuffer(rng.bytes(size * -(-n // 8)), np.uint8).reshape(size, -1)
        kept = np.unpackbits(bits, axis=1, count=n).astype(np.float64)
        extreme += (np.abs(2 * (kept @ differences) - total) >= measured).sum(axis=0)
    p_values: Floats = (extreme + 1) / (resamples + 1)
    return p_values


def welch_test(first: Floats, second: Floats) -> Floats:
    """Two-sided p-values ``[c]`` that runs ``[r, c]`` and ``[s, c]`` have the same mean.

    Welch's t-test, for unequal variances; r and s are at least 2. 1 where the means are equal.
    """
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # runs that are all alike
        result = stats.ttest_ind(first, second, axis=0, equal_var=False)
    means = first.mean(axis=0), second.mean(axis=0)
    return np.where(means[0] == means[1], 1.0, np.asarray(result.pvalue, np.float64))


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """P-values ``[m]`` corrected for m tests (Holm 1979): family-wise error rate."""
    raw = np.asarray(p_values, np.float64)
    order = np.argsort(raw, kind="stable")
    stepped = np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1))
    corrected = np.empty_like(raw)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def _without_difference(p_values: Floats, differences: Floats) -> Floats:
    return np.where((differences == 0).all(axis=0), 1.0, p_values)


def _blocks(resamples: int, n: int) -> list[int]:
    size = max(1, _BLOCK // max(n, 1))
    return [min(size, resamples - start) for start in range(0, resamples, size)]
