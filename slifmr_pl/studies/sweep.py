"""Searches settings: each trial is a run of `fit`, chosen by its best validation metric alone."""

import math
import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slifmr_pl.config.files import merged_configuration
from slifmr_pl.errors import DivergenceError, RunError
from slifmr_pl.runs.atomic_files import write_json
from slifmr_pl.runs.reading import read_settings
from slifmr_pl.runs.run_folders import RESULT_FILES
from slifmr_pl.runs.time_left import Countdown
from slifmr_pl.studies.runs import (
    Job,
    ensure_fitted,
    ensure_tested,
    in_parallel,
    newest_record,
    newest_run,
    run_failed,
    start_fit,
    validated_epochs,
)
from slifmr_pl.studies.space import optuna
from slifmr_pl.studies.statistics import mean_and_std

BEST_FILE = "best.yaml"
TRIALS_FILE = "trials.json"
FINAL_FILE = "final.json"
_FAILED = "failed before"  # attribute of a trial whose settings are tried once more
_GAVE_UP = "gave up"  # attribute that says why a trial counts without a result
_TRIALS = "trials"  # folder of their runs
_NAME = "sweep"  # of the study in its journal
_POLL = 0.5  # seconds between looks at a running trial
_STARTUP, _WARMUP = 5, 5  # trials to compare with, and epochs, before one is pruned


@dataclass(frozen=True)
class Sweep:
    """A search for settings.

    Attributes:
        configs: Configuration files of every trial.
        settings: Single settings of every trial, by dotted key.
        space: Optuna's distributions, by dotted key.
        metric: Validation metric to maximise.
        out: Folder of the sweep.
        storage: Journal of the trials; trials there count.
        threads: Threads of a trial.
        seed: Seed of the search.
    """

    configs: tuple[Path, ...]
    settings: Mapping[str, Any]
    space: Mapping[str, Any]
    metric: str
    out: Path
    storage: Path
    threads: int
    seed: int


def search(
    sweep: Sweep, trials: int, jobs: int, say: Callable[[str], None] = lambda line: None
) -> list[dict[str, Any]]:
    """Runs trials until there are as many as wanted, those of earlier calls included.

    Args:
        sweep: What to search.
        trials: Finished and pruned trials together, with those that diverged or failed twice.
        jobs: Trials at a time.
        say: Is told of each trial that ends.

    Returns:
        One record a trial, best first; they and the best configuration are written, too.

    Raises:
        RunError: A trial failed before its first validation, another process is at this sweep, or
            the storage is of another one.
    """
    study = _study(sweep)
    running = (optuna().trial.TrialState.RUNNING,)
    for lost in study.get_trials(states=running):  # killed with an earlier call
        _require_dead(lost, sweep)
        _fail_and_enqueue(study, lost)
    countdown = Countdown(trials, done=len(_records(study, sweep)))

    def tell(line: str) -> None:
        say(f"{countdown.done()}  {line}")

    while missing := max(0, trials - len(_records(study, sweep))):
        in_parallel(lambda _: _run_trial(study, sweep, tell), range(missing), jobs)
    records = _records(study, sweep)
    write_json(sweep.out / TRIALS_FILE, records)
    if records and records[0]["value"] is not None:
        _write_best(records[0], sweep)
    return records


def final(
    sweep: Sweep,
    best: Mapping[str, Any],
    seeds: Sequence[int],
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Trains the best trial's settings with several seeds and reads the test part.

    Args:
        sweep: As searched.
        best: First record of `search`.
        seeds: Seeds; runs that are there already are kept.
        say: Is told of each run that was tested.

    Returns:
        Mean and standard deviation of each test metric, and the runs.

    Raises:
        RunError: The test part was read for another trial, or a run failed.
    """
    place = sweep.out / "final"
    own = place / f"trial{best['trial']:04}"
    tested = {path for path in place.glob("trial*") if [*path.rglob(RESULT_FILES["test"])]}
    others = tested - {own}
    if others:
        raise RunError(
            f"the test part was read for {', '.join(sorted(path.name for path in others))}, and "
            f"the best one is now {own.name}",
            expected="one reading of the test part a sweep",
            fix="report what was read, or begin a sweep with another --out",
            path=place,
        )
    runs, values, countdown = [], [], Countdown(len(seeds))
    for seed in seeds:
        job = Job(own / f"seed{seed}", (sweep.out / BEST_FILE,), {"seed_everything": seed})
        runs.append(ensure_fitted(job, sweep.threads))
        values.append(ensure_tested(runs[-1], sweep.threads))
        say(f"{countdown.done()}  seed {seed}")
    result = {
        "trial": best["trial"],
        "value": best["value"],
        "params": best["params"],
        "seeds": list(seeds),
        "runs": [str(run) for run in runs],
        "metrics": {
            name: dict(zip(("mean", "std"), mean_and_std([of[name] for of in values]), strict=True))
            for name in values[0]
        },
    }
    write_json(sweep.out / FINAL_FILE, result)
    return result


def _study(sweep: Sweep) -> Any:
    library = optuna()
    library.logging.set_verbosity(library.logging.WARNING)
    sweep.storage.parent.mkdir(parents=True, exist_ok=True)
    identity = {
        "configs": [path.read_text("utf-8") for path in sweep.configs],
        "settings": dict(sweep.settings),
        "space": {key: repr(distribution) for key, distribution in sweep.space.items()},
        "metric": sweep.metric,
    }
    journal = library.storages.journal
    storage = library.storages.JournalStorage(journal.JournalFileBackend(str(sweep.storage)))
    study = _opened(storage)
    before = study.user_attrs.get("sweep", identity)
    changed = [key for key in identity if before[key] != identity[key]]
    if changed and not _records(study, sweep):  # nothing was learnt from them
        library.delete_study(study_name=_NAME, storage=storage)
        shutil.rmtree(sweep.out / _TRIALS, ignore_errors=True)
        study = _opened(storage)
    elif changed:
        raise RunError(
            f"the trials there are of other {', '.join(changed)}",
            expected="the same configuration, space and metric for all trials of a sweep",
            fix="restore them, or give another --out or --storage",
            path=sweep.storage,
        )
    study.set_user_attr("sweep", identity)
    # A sweep that goes on does not repeat its random draws.
    study.sampler = library.samplers.TPESampler(seed=sweep.seed + len(study.trials))
    return study


def _opened(storage: Any) -> Any:
    library = optuna()
    return library.create_study(
        storage=storage,
        study_name=_NAME,
        load_if_exists=True,
        direction="maximize",
        # Few trials reach late epochs: none is pruned there before as many have been.
        pruner=library.pruners.MedianPruner(_STARTUP, _WARMUP, n_min_trials=_STARTUP),
    )


class _FailedOnceError(Exception):
    """A trial failed for the first time; its settings are tried once more."""


def _run_trial(study: Any, sweep: Sweep, say: Callable[[str], None]) -> None:
    """One trial, from the choice of its settings to its result."""
    library = optuna()
    trial = study.ask(dict(sweep.space))
    trial.set_user_attr("process", [socket.gethostname(), os.getpid()])
    try:
        study.tell(trial, _train(trial, sweep))
    except library.TrialPruned:
        study.tell(trial, state=library.trial.TrialState.PRUNED)
    except BaseException as error:
        _fail_and_enqueue(study, trial)
        if isinstance(error, _FailedOnceError):
            return
        raise
    record = _record(study.trials[trial.number], sweep)
    value = math.nan if record["best_seen"] is None else record["best_seen"]
    settings = "  ".join(f"{key}={setting}" for key, setting in record["params"].items())
    say(f"trial {trial.number}  {record['state']}  {sweep.metric} {value:.4f}  {settings}")


def _fail_and_enqueue(study: Any, trial: Any) -> None:
    """Ends a trial as failed, and lets a later trial take its settings."""
    study.tell(trial.number, state=optuna().trial.TrialState.FAIL)
    if trial.params:
        failed = trial.user_attrs.get(_FAILED, False)
        study.enqueue_trial(trial.params, user_attrs={_FAILED: failed})


def _require_dead(trial: Any, sweep: Sweep) -> None:
    """Refuses to take over a trial whose process still runs; one of another host counts as dead.

    Raises:
        RunError: If it is.
    """
    host, process = trial.user_attrs.get("process", (None, 0))
    if host != socket.gethostname():
        return
    try:
        os.kill(process, 0)
    except OSError:
        return
    raise RunError(
        f"process {process} is at trial {trial.number} of this sweep",
        expected="one call of `sweep` at a time; --jobs runs several trials",
        fix="wait for it, or give another --out and --storage",
        path=sweep.storage,
    )


def _train(trial: Any, sweep: Sweep) -> float:
    """Trains with a trial's settings, and gives the best validation metric.

    Raises:
        TrialPruned: It did worse than earlier trials; or it diverged or failed twice, which
            the attribute `gave up` then says.
        RunError: It was stopped, or no trial has worked yet and this one failed before its first
            validation, so that most likely all would.
        _FailedOnceError: It failed otherwise, for the first time.
    """
    job = Job(
        sweep.out / _TRIALS / f"{trial.number:04}",
        sweep.configs,
        {
            "early_stopping.monitor": sweep.metric,
            "checkpoint.monitor": sweep.metric,
            **sweep.settings,
            **trial.params,
        },
    )
    process = start_fit(job, sweep.threads)
    epoch = -1
    try:
        while process.poll() is None:
            time.sleep(_POLL)
            epoch = _report(trial, job, sweep.metric, epoch)
            if trial.should_prune():
                raise optuna().TrialPruned
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    epoch = _report(trial, job, sweep.metric, epoch)
    status, record = process.returncode, newest_record(job.folder) or {}
    if status == 0 and record.get("outcome") == "finished" and record["best"]:
        return float(record["best"]["score"])
    if status in (130, 143):  # by a signal
        raise run_failed(status, job.folder)
    diverged = record.get("error") == DivergenceError.__name__
    if not diverged and not trial.user_attrs.get(_FAILED):
        trial.set_user_attr(_FAILED, True)
        if epoch < 0 and not _records(trial.study, sweep):
            raise run_failed(status, job.folder)
        raise _FailedOnceError
    trial.set_user_attr(_GAVE_UP, "diverged" if diverged else "failed")
    raise optuna().TrialPruned


def _report(trial: Any, job: Job, metric: str, after: int) -> int:
    run = newest_run(job.folder)
    for epoch, value in validated_epochs(run, metric, after) if run else ():
        trial.report(value, epoch)
        after = epoch
    return after


def _records(study: Any, sweep: Sweep) -> list[dict[str, Any]]:
    """Trials that count, best first; not those that were lost or are to be tried once more."""
    states = optuna().trial.TrialState
    ended = [
        trial
        for trial in study.trials
        if trial.state in (states.COMPLETE, states.PRUNED)
        or (trial.state == states.FAIL and _GAVE_UP in trial.user_attrs)  # as once recorded
    ]

    def rank(record: dict[str, Any]) -> list[float]:
        values = record["value"], record["best_seen"]
        return [-math.inf if value is None else value for value in values]

    return sorted((_record(trial, sweep) for trial in ended), key=rank, reverse=True)


def _record(trial: Any, sweep: Sweep) -> dict[str, Any]:
    seen = trial.intermediate_values
    complete = trial.state == optuna().trial.TrialState.COMPLETE
    return {
        "trial": trial.number,
        "state": trial.user_attrs.get(_GAVE_UP, trial.state.name.lower()),
        # Of a pruned trial Optuna gives the last value that it reported.
        "value": trial.value if complete else None,
        "best_seen": max(seen.values(), default=None),
        "epochs": len(seen),
        "seconds": round(trial.duration.total_seconds(), 1),
        "params": trial.params,
        "run": _relative_run(sweep.out / _TRIALS / f"{trial.number:04}", sweep.out),
    }


def _relative_run(folder: Path, out: Path) -> str | None:
    run = newest_run(folder)
    return None if run is None else Path(os.path.relpath(run, out)).as_posix()


def _write_best(best: Mapping[str, Any], sweep: Sweep) -> None:
    """Every setting of the best trial, ready for `fit --config`."""
    settings = read_settings(sweep.out / best["run"])
    given = merged_configuration(sweep.configs, sweep.settings)
    settings["name"] = given.get("name", sweep.out.name)
    del settings["trainer"]["default_root_dir"]
    if root := given.get("trainer", {}).get("default_root_dir"):
        settings["trainer"]["default_root_dir"] = root
    (sweep.out / BEST_FILE).write_text(
        f"# Trial {best['trial']} of a sweep: {sweep.metric} {best['value']:.4f}\n"
        + yaml.safe_dump(settings, sort_keys=False),
        "utf-8",
    )
