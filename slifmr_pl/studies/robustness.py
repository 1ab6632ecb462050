"""Robustness: test metrics of models over training data that are degraded step by step.

A point is one model, one way to degrade the data, one level of it and one seed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slifmr_pl.config.files import merged_configuration
from slifmr_pl.config.sections import class_and_settings
from slifmr_pl.errors import ConfigError
from slifmr_pl.metrics.definitions import BUILT_IN
from slifmr_pl.metrics.metric import UserMetric
from slifmr_pl.models.ranking_module import DEFAULT_KS
from slifmr_pl.runs.reading import read_evaluation, read_settings
from slifmr_pl.runs.run_data import run_data
from slifmr_pl.runs.time_left import Countdown
from slifmr_pl.studies.runs import Job, ensure_fitted, ensure_tested, in_parallel
from slifmr_pl.studies.statistics import mean_and_std

GROUPS = 4  # of users, by activity
_PREFIX = "data.perturbations"


@dataclass(frozen=True)
class Model:
    """A model to measure: a name and its configuration files, of which the later one wins."""

    name: str
    configs: tuple[Path, ...]


@dataclass(frozen=True)
class Aspect:
    """A way to degrade training data.

    Attributes:
        name: As shown and as chosen.
        label: Of the axis.
        levels: Ascending or descending.
        clean: The level of unchanged data; None if there is none.
        settings: Configuration of a level.
        concerns: Whether it can affect a model, given the settings of a run of it.
    """

    name: str
    label: str
    levels: tuple[float, ...]
    clean: float | None
    settings: Callable[[float], dict[str, Any]]
    concerns: Callable[[Mapping[str, Any]], bool] = lambda settings: True


@dataclass(frozen=True)
class Point:
    """One measurement.

    Attributes:
        model: Name of the model.
        aspect: Name of the aspect, or `activity`.
        level: Its level as shown; for `activity` the number of the group, the least active first,
            and the training interactions of its users.
        seed: Of the run.
        metrics: Test metrics by `METRIC@K`.
    """

    model: str
    aspect: str
    level: str
    seed: int
    metrics: Mapping[str, float]


def aspects(modalities: Sequence[str]) -> list[Aspect]:
    """All ways to degrade data with these modalities."""
    tenths = (0.1, 0.2, 0.3, 0.4, 0.5)
    known = [
        Aspect(
            "interactions",
            "random interactions added",
            tenths,
            0.0,
            lambda level: {f"{_PREFIX}.added_interactions": level},
        ),
        Aspect(
            "training",
            "share of the training interactions",
            (0.2, 0.4, 0.6, 0.8),
            1.0,
            lambda level: {f"{_PREFIX}.train_share": level},
        ),
        Aspect(
            "knowledge",
            "triples corrupted",
            tenths,
            0.0,
            lambda level: {f"{_PREFIX}.corrupted_triples": level},
            uses_knowledge,
        ),
        Aspect(
            "cold",
            "items without training interactions; these alone compete",
            (0.1, 0.2, 0.3),
            None,
            lambda level: {f"{_PREFIX}.cold_items": level, "data.test_items": "cold"},
        ),
    ]
    return known + [_missing(name) for name in modalities]


def _missing(modality: str) -> Aspect:
    return Aspect(
        f"missing-{modality}",
        f"items without {modality}",
        (0.2, 0.4, 0.6, 0.8),
        0.0,
        lambda level: {f"{_PREFIX}.missing_features": {modality: level}},
        lambda settings: modality in (_section(settings, "data").get("modalities") or {}),
    )


def uses_knowledge(settings: Mapping[str, Any]) -> bool:
    """Whether the model of a run with these settings uses triples."""
    class_path, model = class_and_settings(settings["model"], "model")
    if class_path is None:
        reads: bool = model["network"]["knowledge"]["enabled"]
    else:  # of this package's other models one reads triples
        ours = class_path.startswith("slifmr_pl.models.")
        reads = not ours or class_path == "slifmr_pl.models.kgin.Kgin"
    return reads and _section(settings, "data").get("use_knowledge", True)


def _section(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The settings in a section, whichever class it names."""
    return class_and_settings(settings.get(name), name)[1]


@dataclass(frozen=True)
class Study:
    """Where and how the points are measured.

    Attributes:
        models: Models of different names.
        settings: Single settings of every run, by dotted key.
        seeds: One run of each point for each.
        out: Folder; points that it holds are not measured again.
        jobs: Runs at a time.
        threads: Threads of each.
        metrics: What is reported, for example `recall@20`.
    """

    models: tuple[Model, ...]
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    out: Path
    jobs: int
    threads: int
    metrics: tuple[str, ...] = ("recall@20", "ndcg@20")

    def __post_init__(self) -> None:
        names = [model.name for model in self.models]
        if len(set(names)) < len(names):
            raise ConfigError(
                f"the models {', '.join(names)}",
                expected="different names",
                fix="--model NAME=FILE",
            )


def measure(study: Study, chosen: Sequence[str] | None, say: Callable[[str], None]) -> list[Point]:
    """Trains and tests every point that is not there yet.

    Args:
        study: Models, seeds and place.
        chosen: Names of the aspects, also `activity`; None takes all.
        say: Is told what has been measured.

    Returns:
        All points, by aspect, model and level.

    Raises:
        ConfigError: An aspect has another name.
        RunError: A run failed; what has finished is kept.
    """
    modalities = dict.fromkeys(
        name
        for model in study.models
        for name in _settings(model, study, "data").get("modalities") or {}
    )
    _require_measured(study)
    known = aspects(list(modalities))
    names = [aspect.name for aspect in known] + ["activity"]
    unknown = sorted(set(chosen or ()) - set(names))
    if unknown:
        raise ConfigError(
            f"no aspect is called {', '.join(unknown)}",
            expected=f"some of {', '.join(names)}",
            fix="take one of these",
        )
    clean = [(model, seed) for model in study.models for seed in study.seeds]
    runs = dict(
        zip(clean, _run_jobs(study, [_job(study, *pair) for pair in clean], say), strict=True)
    )
    settings = {model.name: read_settings(runs[model, study.seeds[0]]) for model in study.models}
    wanted = [aspect for aspect in known if chosen is None or aspect.name in chosen]
    worse = [
        (aspect, model, level, seed)
        for aspect in wanted
        for model in study.models
        if aspect.concerns(settings[model.name])
        for level in aspect.levels
        for seed in study.seeds
    ]
    jobs = [_job(study, model, seed, aspect, level) for aspect, model, level, seed in worse]
    runs_of = dict(zip(worse, _run_jobs(study, jobs, say), strict=True))
    points = []
    for aspect in wanted:
        levels = aspect.levels if aspect.clean is None else (aspect.clean, *aspect.levels)
        for model in study.models:
            for level in sorted(levels):
                for seed in study.seeds:
                    # An aspect that does not concern a model leaves the run on clean data.
                    run = runs_of.get((aspect, model, level, seed), runs[model, seed])
                    metrics = ensure_tested(run, study.threads)
                    points.append(Point(model.name, aspect.name, f"{level:.0%}", seed, metrics))
    if chosen is None or "activity" in chosen:
        points += _activity(runs)
    return points


def _settings(model: Model, study: Study, section: str) -> dict[str, Any]:
    """What a model's configurations say in one section."""
    return _section(merged_configuration(model.configs, study.settings), section)


def _require_measured(study: Study) -> None:
    """Refuses metrics that the runs would not measure, before any of them trains."""
    built_in = [kind.name for kind in BUILT_IN if issubclass(kind, UserMetric)]
    for model in study.models:
        settings = _settings(model, study, "model")
        unknown = [name for name in study.metrics if name.partition("@")[0] not in built_in]
        if unknown and not settings.get("metrics"):
            raise ConfigError(
                f"{model.name} measures no {', '.join(unknown)} of single users",
                expected=f"{', '.join(built_in)}, or a metric of model.metrics",
                fix="name one of these, or the class of yours in model.metrics",
            )
        cutoffs = settings.get("ks", DEFAULT_KS)
        unmeasured = [name for name in study.metrics if int(name.split("@")[1]) not in cutoffs]
        if unmeasured:
            raise ConfigError(
                f"{model.name} measures at {', '.join(map(str, cutoffs))}, and "
                f"{', '.join(unmeasured)} is wanted",
                expected="cut-offs of model.ks",
                fix=f"--metrics recall@{cutoffs[-1]}, or add the cut-off to model.ks",
            )


def mean_points(points: Sequence[Point], metric: str) -> dict[tuple[str, str, str], list[float]]:
    """Values of one metric over the seeds, by aspect, model and level, in the order of points."""
    values: dict[tuple[str, str, str], list[float]] = {}
    for point in points:
        values.setdefault((point.aspect, point.model, point.level), []).append(
            point.metrics[metric]
        )
    return values


def records(points: Sequence[Point], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Rows for a table: mean and standard deviation over the seeds."""
    rows: list[dict[str, Any]] = []
    means = {metric: mean_points(points, metric) for metric in metrics}
    for key, of_seeds in means[metrics[0]].items():
        row: dict[str, Any] = dict(zip(("aspect", "model", "level"), key, strict=True))
        row["seeds"] = len(of_seeds)
        for metric in metrics:
            row[metric], row[f"{metric} std"] = mean_and_std(means[metric][key])
        rows.append(row)
    return rows


def activity_groups(counts: npt.NDArray[np.int64], n_groups: int) -> list[npt.NDArray[np.int64]]:
    """Users in groups of nearly equal size, by training interactions.

    Args:
        counts: int64 ``[n]``, training interactions of each user.
        n_groups: Groups; users of equal activity are ordered by row.

    Returns:
        Rows of the users of each group, the least active first.
    """
    return np.array_split(np.argsort(counts, kind="stable"), n_groups)


def _activity(runs: Mapping[tuple[Model, int], Path]) -> list[Point]:
    """The test metrics of groups of users, from runs on the data as they are."""
    points = []
    counts: dict[Model, dict[str, int]] = {}  # of a user, by raw id
    for (model, seed), run in runs.items():
        if model not in counts:
            data = run_data(read_settings(run), run).data
            train = np.bincount(data.train.users, minlength=len(data.users)).tolist()
            counts[model] = dict(zip(data.users.ids.to_pylist(), train, strict=True))
        evaluation = read_evaluation(run, "test")
        own = np.array([counts[model][user] for user in evaluation.users.to_pylist()])
        for number, rows in enumerate(activity_groups(own, GROUPS), start=1):
            level = f"{number}: {own[rows].min()}–{own[rows].max()}"
            means = evaluation.values[rows].mean(axis=0).tolist()
            metrics = dict(zip(evaluation.columns, means, strict=True))
            points.append(Point(model.name, "activity", level, seed, metrics))
    return points


def _job(
    study: Study, model: Model, seed: int, aspect: Aspect | None = None, level: float = 0.0
) -> Job:
    place = Path("clean") if aspect is None else Path(aspect.name, f"{level:g}")
    worse = {}
    if aspect is not None:
        worse = {**aspect.settings(level), f"{_PREFIX}.seed": seed}
    return Job(
        study.out / "points" / model.name / place / f"seed{seed}",
        model.configs,
        {**study.settings, **worse, "seed_everything": seed},
    )


def _run_jobs(study: Study, jobs: Sequence[Job], say: Callable[[str], None]) -> list[Path]:
    """Makes and tests the runs of some jobs, several at a time."""
    countdown = Countdown(len(jobs))

    def run_one(job: Job) -> Path:
        run = ensure_fitted(job, study.threads)
        metric, place = study.metrics[0], job.folder.relative_to(study.out / "points")
        value = ensure_tested(run, study.threads)[metric]
        say(f"{countdown.done()}  {metric} {value:.4f}  {place}")
        return run

    return in_parallel(run_one, jobs, study.jobs)
