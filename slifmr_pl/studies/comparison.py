"""Compares runs that were evaluated on the same users: means, intervals, differences, tests.

A group is one run, or several runs of one configuration with different seeds. Every other group is
compared with the first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from slifmr_pl.errors import RunError
from slifmr_pl.runs.reading import Evaluation
from slifmr_pl.runs.run_folders import Stage
from slifmr_pl.studies.comparable import (
    Group,
    differing_settings,
    model_name,
    require_groups,
    require_one_configuration,
    require_same_evaluation,
)
from slifmr_pl.studies.statistics import (
    Floats,
    bootstrap_means,
    holm,
    interval,
    paired_t_test,
    randomisation_test,
    welch_test,
    wilcoxon_test,
)

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """One metric of a group.

    Attributes:
        mean: Over users, and over the runs of the group; None where it is not a number.
        low: Lower end of the 95 % bootstrap interval over users; None for metrics that are not
            means over users.
        high: Its upper end.
        std: Standard deviation over the runs (n - 1); None for a single run.
        runs: Value of each run.
    """

    mean: float | None
    low: float | None
    high: float | None
    std: float | None
    runs: tuple[float | None, ...]


@dataclass(frozen=True)
class Tested:
    """A two-sided p-value, and the same after Holm's correction over all metrics and groups."""

    p: float
    holm: float


@dataclass(frozen=True)
class Contrast:
    """One metric of a group against the first group.

    Attributes:
        difference: Mean of the group minus mean of the first.
        low: Lower end of the 95 % bootstrap interval of the difference, over users.
        high: Its upper end.
        relative: The difference divided by the mean of the first; None where that is 0.
        t_test: Paired t-test over users.
        wilcoxon: Wilcoxon's signed-rank test over users.
        randomisation: Paired randomisation test over users.
        over_runs: Welch's t-test over runs; None where a group has a single run.
    """

    difference: float
    low: float
    high: float
    relative: float | None
    t_test: Tested
    wilcoxon: Tested
    randomisation: Tested
    over_runs: Tested | None


@dataclass(frozen=True)
class Comparison:
    """What `compare` prints and writes.

    Attributes:
        stage: Part of the data that was evaluated on.
        masks: Known items that were left out of the ranking.
        users: Number of users.
        resamples: Of the bootstrap and of the randomisation test.
        seed: Of both.
        tests: Number of tests that Holm's correction counts.
        runs: Models, folders and seeds of each group's runs.
        estimates: By group and metric.
        contrasts: By group (all but the first) and metric.
        settings: Settings in which the first runs of the groups differ, by key and group.
        left_out: Metrics that not all runs have.
    """

    stage: Stage
    masks: str
    users: int
    resamples: int
    seed: int
    tests: int
    runs: dict[str, list[dict[str, Any]]]
    estimates: dict[str, dict[str, Estimate]]
    contrasts: dict[str, dict[str, Contrast]]
    settings: dict[str, dict[str, Any]]
    left_out: list[str]


def compare(
    groups: Sequence[Group],
    metrics: Sequence[str] | None = None,
    *,
    resamples: int = 10_000,
    seed: int = 2026,
) -> Comparison:
    """Compares groups of runs with the first group.

    Args:
        groups: At least two.
        metrics: Names like `recall@20`; default all that every run has.
        resamples: Of the bootstrap and of the randomisation test.
        seed: Of both.

    Raises:
        RunError: The runs were not evaluated alike, a group mixes configurations or repeats a
            seed, or a metric is missing.
    """
    runs = [run for group in groups for run in group.runs]
    require_groups(groups)
    require_same_evaluation(runs)
    for group in groups:
        require_one_configuration(group)
    names, left_out = _chosen(runs, metrics)
    of_users = [name for name in names if name in runs[0].columns]
    values = np.stack([_mean_of_users(group, of_users) for group in groups])  # [G, n, c]
    estimates, contrasts = _estimates(groups, names), {}
    if of_users:
        n_users = values.shape[1]
        columns = values.transpose(1, 0, 2).reshape(n_users, -1)
        means = bootstrap_means(columns, resamples, seed).reshape(resamples, len(groups), -1)
        estimates = _with_intervals(estimates, of_users, means)
        contrasts = _contrasts(groups, of_users, values, means, resamples, seed)
    return Comparison(
        stage=runs[0].stage,
        masks=runs[0].masks,
        users=len(runs[0].users),
        resamples=resamples,
        seed=seed,
        tests=len(contrasts) * len(of_users),
        runs={
            group.name: [
                {"model": model_name(run.settings), "folder": str(run.folder), "seed": run.seed}
                for run in group.runs
            ]
            for group in groups
        },
        estimates=estimates,
        contrasts=contrasts,
        settings=differing_settings(groups),
        left_out=left_out,
    )


def _chosen(
    runs: Sequence[Evaluation], wanted: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """Metrics to compare, and those that only some runs have."""
    everywhere = [name for name in runs[0].metrics if all(name in run.metrics for run in runs)]
    anywhere = dict.fromkeys(name for run in runs for name in run.metrics)
    if wanted is None and everywhere:
        return everywhere, [name for name in anywhere if name not in everywhere]
    for name in wanted or ["any metric"]:
        if name not in everywhere:
            close = get_close_matches(name, everywhere, n=1)
            raise RunError(
                f"not all runs have {name}",
                expected=f"one of {', '.join(everywhere)}" if everywhere else "common cut-offs",
                fix=f"did you mean {close[0]}?" if close else "test again with the same model.ks",
            )
    return list(dict.fromkeys(wanted or [])), []


def _mean_of_users(group: Group, names: Sequence[str]) -> Floats:
    """Values of the users, ``[n, c]``, averaged over the runs of a group."""
    runs = [
        run.values[:, [run.columns.index(name) for name in names]].reshape(len(run.users), -1)
        for run in group.runs
    ]
    mean: Floats = np.mean(runs, axis=0)
    return mean


def _of_runs(group: Group, names: Sequence[str]) -> Floats:
    """Metrics of the runs ``[r, c]``."""
    return np.array([[run.metrics[name] for name in names] for run in group.runs])


def _estimates(groups: Sequence[Group], names: Sequence[str]) -> dict[str, dict[str, Estimate]]:
    estimates: dict[str, dict[str, Estimate]] = {}
    for group in groups:
        estimates[group.name] = {}
        for name in names:
            runs = [run.metrics[name] for run in group.runs]
            estimates[group.name][name] = Estimate(
                mean=_number(np.mean(runs)),
                low=None,
                high=None,
                std=_number(np.std(runs, ddof=1)) if len(runs) > 1 else None,
                runs=tuple(map(_number, runs)),
            )
    return estimates


def _with_intervals(
    estimates: dict[str, dict[str, Estimate]], names: Sequence[str], means: Floats
) -> dict[str, dict[str, Estimate]]:
    result = {}
    for row, (group, of_group) in enumerate(estimates.items()):
        ends = interval(means[:, row], CONFIDENCE)
        of_users = {
            name: Estimate(
                mean=of_group[name].mean,
                low=float(ends[0, column]),
                high=float(ends[1, column]),
                std=of_group[name].std,
                runs=of_group[name].runs,
            )
            for column, name in enumerate(names)
        }
        result[group] = of_group | of_users
    return result


def _contrasts(
    groups: Sequence[Group],
    names: Sequence[str],
    values: Floats,
    means: Floats,
    resamples: int,
    seed: int,
) -> dict[str, dict[str, Contrast]]:
    """Contrasts of values ``[G, n, c]`` and their resampled means ``[R, G, c]``."""
    others = range(1, len(groups))
    differences = [values[row] - values[0] for row in others]
    t_test = _corrected(paired_t_test(part) for part in differences)
    wilcoxon = _corrected(wilcoxon_test(part) for part in differences)
    randomisation = _corrected(randomisation_test(part, resamples, seed) for part in differences)
    over_runs: list[list[Tested]] | None = None
    if all(len(group.runs) > 1 for group in groups):
        spread = [
            np.array([[run.metrics[name] for name in names] for run in g.runs]) for g in groups
        ]
        over_runs = _corrected(welch_test(spread[row], spread[0]) for row in others)
    result: dict[str, dict[str, Contrast]] = {}
    for index, row in enumerate(others):
        ends = interval(means[:, row] - means[:, 0], CONFIDENCE)
        base, difference = values[0].mean(axis=0), differences[index].mean(axis=0)
        result[groups[row].name] = {
            name: Contrast(
                difference=float(difference[column]),
                low=float(ends[0, column]),
                high=float(ends[1, column]),
                relative=float(difference[column] / base[column]) if base[column] else None,
                t_test=t_test[index][column],
                wilcoxon=wilcoxon[index][column],
                randomisation=randomisation[index][column],
                over_runs=over_runs[index][column] if over_runs else None,
            )
            for column, name in enumerate(names)
        }
    return result


def _corrected(p_values: Iterable[Floats]) -> list[list[Tested]]:
    """One family of tests: all metrics of all groups."""
    raw = np.stack(list(p_values))
    corrected = holm(raw.ravel()).reshape(raw.shape)
    return [
        [Tested(float(p), float(q)) for p, q in zip(*rows, strict=True)]
        for rows in zip(raw, corrected, strict=True)
    ]


def _number(value: float | np.floating[Any]) -> float | None:
    return float(value) if np.isfinite(value) else None
