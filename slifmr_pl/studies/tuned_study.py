"""Several models, each tuned on the validation part with as many trials, then tested once.

It is made of sweeps and a comparison, and goes on where it stopped.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from slifmr_pl.errors import RunError
from slifmr_pl.runs.reading import read_evaluation
from slifmr_pl.studies.comparable import Group
from slifmr_pl.studies.comparison import Comparison, compare
from slifmr_pl.studies.runs import in_parallel
from slifmr_pl.studies.sweep import Sweep, final, search


@dataclass(frozen=True)
class Contestant:
    """One model of a study.

    Attributes:
        name: As the table shows it.
        configs: Its configurations, on top of those of the study.
        settings: Its single settings, by dotted key.
        space: Optuna's distributions of what is searched; empty for a model that is taken as it is.
    """

    name: str
    configs: tuple[Path, ...]
    settings: Mapping[str, Any]
    space: Mapping[str, Any]


@dataclass(frozen=True)
class TunedStudy:
    """What a study compares.

    Attributes:
        models: At least two; the others are compared with the first.
        configs: Configurations of all runs.
        settings: Single settings of all runs, by dotted key.
        metric: Validation metric that trials are chosen by.
        trials: Trials of each model that has a search space.
        seeds: Of the runs that are tested, for each model.
        metrics: Test metrics of the table; None for all.
    """

    models: tuple[Contestant, ...]
    configs: tuple[Path, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    metric: str = "val/recall@20"
    trials: int = 20
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    metrics: tuple[str, ...] | None = ("recall@20", "ndcg@20")


@dataclass(frozen=True)
class Tuned:
    """What is known of a model at the end.

    Attributes:
        trials: Records of its trials, best first, see `sweep.search`.
        runs: Folders of the runs that were tested, one a seed.
    """

    trials: list[dict[str, Any]]
    runs: list[Path]


def run_study(
    study: TunedStudy,
    out: Path,
    *,
    jobs: int = 1,
    threads: int = 1,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[dict[str, Tuned], Comparison]:
    """Tunes every model; then trains the best of each with all seeds, and tests.

    The test part is read after the last trial of the last model.

    Args:
        study: What is compared.
        out: Folder of the study; what is there already is kept.
        jobs: Runs at a time.
        threads: Of each.
        say: Is told how far it is.

    Returns:
        What is known of each model, and the comparison of the tested runs.

    Raises:
        RunError: No trial of a model has finished, or a run failed.
    """
    sweeps, trials = {}, {}
    n_models = len(study.models)
    for number, model in enumerate(study.models, 1):
        sweep = sweep_of(study, model, out, threads)
        wanted = study.trials if model.space else 1
        place = f"model {number} of {n_models}, {model.name}"
        say(f"{place}: {wanted} trials" if model.space else f"{place}: as it is")
        records = search(sweep, wanted, jobs, partial(_say_of, say, place))
        if records[0]["value"] is None:
            raise RunError(
                f"no trial of {model.name} finished",
                expected="at least one that was not pruned and did not diverge",
                fix="look at the logs of its trials, and mend its search space",
                path=sweep.out,
            )
        sweeps[model.name], trials[model.name] = sweep, records

    done: list[str] = []

    def test(model: Contestant) -> list[Path]:
        tell = partial(_say_of, say, f"test of {model.name}")
        result = final(sweeps[model.name], trials[model.name][0], study.seeds, tell)
        done.append(model.name)
        say(f"tested {len(done)} of {n_models}: {model.name}")
        return [Path(run) for run in result["runs"]]

    runs = in_parallel(test, study.models, jobs)
    tuned = {
        model.name: Tuned(trials[model.name], of_model)
        for model, of_model in zip(study.models, runs, strict=True)
    }
    groups = [
        Group(name, tuple(read_evaluation(run, "test") for run in one.runs))
        for name, one in tuned.items()
    ]
    return tuned, compare(groups, study.metrics)


def _say_of(say: Callable[[str], None], place: str, line: str) -> None:
    say(f"{place}: {line}")


def sweep_of(study: TunedStudy, model: Contestant, out: Path, threads: int) -> Sweep:
    """The search of one model."""
    folder = out / model.name
    return Sweep(
        configs=(*study.configs, *model.configs),
        settings={**study.settings, **model.settings},
        space=model.space,
        metric=study.metric,
        out=folder,
        storage=folder / "journal.log",
        threads=threads,
        seed=2026,
    )
