"""Searches settings: each trial is a run of `fit`, chosen by its best validation metric alone."""

import math
import os
import shutil
import socket
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slifmr_pl.config.files import composed
from slifmr_pl.errors import DivergenceError, RunError
from slifmr_pl.runs.atomic_files import write_json
from slifmr_pl.runs.reading import RECORD_FILE, read_record, read_settings
from slifmr_pl.studies.runs import (
    Job,
    finished_run,
    fitted,
    in_parallel,
    newest_run,
    run_failed,
    start_fit,
    tested,
    validated_epochs,
)
from slifmr_pl.studies.space import optuna

BEST_FILE = "best.yaml"
TRIALS_FILE = "trials.json"
FINAL_FILE = "final.json"
_FAILED = "failed before"  # attribute of a trial whose settings are tried once more
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
    states = optuna().trial.TrialState
    for lost in study.get_trials(states=(states.RUNNING,)):  # killed with an earlier call
        _require_dead(lost, sweep)
        _put_back(study, lost)
    missing = max(0, trials - len(_records(study, sweep)))
    in_parallel(lambda _: _try(study, sweep, say), range(missing), jobs)
    records = _records(study, sweep)
    write_json(sweep.out / TRIALS_FILE, records)
    if records and records[0]["value"] is not None:
        _write_best(records[0], sweep)
    return records


def final(sweep: Sweep, best: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
    """Trains the best trial's settings with several seeds and reads the test part.

    Args:
        sweep: As searched.
        best: First record of `search`.
        seeds: Seeds; runs that are there already are kept.

    Returns:
        Mean and standard deviation of each test metric, and the runs.

    Raises:
        RunError: The test part was read for another trial, or a run failed.
    """
    place = sweep.out / "final"
    own = place / f"trial{best['trial']:04}"
    others = {path for path in place.glob("trial*") if path != own and [*path.rglob("test.json")]}
    if others:
        raise RunError(
            f"the test part was read for {', '.join(sorted(path.name for path in others))}, and "
            f"the best one is now {own.name}",
            expected="one reading of the test part a sweep",
            fix="report what was read, or begin a sweep with another --out",
            path=place,
        )
    runs, values = [], []
    for seed in seeds:
        job = Job(own / f"seed{seed}", (sweep.out / BEST_FILE,), {"seed_everything": seed})
        runs.append(fitted(job, sweep.threads))
        values.append(tested(runs[-1], sweep.threads))
    result = {
        "trial": best["trial"],
        "value": best["value"],
        "params": best["params"],
        "seeds": list(seeds),
        "runs": [str(run) for run in runs],
        "metrics": {
            name: {
                "mean": statistics.mean(of_seed[name] for of_seed in values),
                "std": statistics.stdev(of_seed[name] for of_seed in values)
                if len(values) > 1
                else None,
            }
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
    if changed and not _records(study, sweep):  # what was to be tried is of no use any more
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
    # Not the same draws again where a sweep goes on.
    study.sampler = library.samplers.TPESampler(seed=sweep.seed + len(study.trials))
    return study


def _opened(storage: Any) -> Any:
    library = optuna()
    return library.create_study(
        storage=storage,
        study_name=_NAME,
        load_if_exists=True,
        direction="maximize",
        # Late epochs, which only the best trials reach, are compared by as many trials too.
        pruner=library.pruners.MedianPruner(_STARTUP, _WARMUP, n_min_trials=_STARTUP),
    )


class _FailedOnceError(Exception):
    """A trial failed after it had validated, for whatever reason but divergence."""


def _try(study: Any, sweep: Sweep, say: Callable[[str], None]) -> None:
    """One trial, from the choice of its settings to its result; one that fails is tried again."""
    while not _concluded(study, sweep, say):
        pass


def _concluded(study: Any, sweep: Sweep, say: Callable[[str], None]) -> bool:
    """Makes a trial, and says whether it counts."""
    library = optuna()
    states = library.trial.TrialState
    trial = study.ask(dict(sweep.space))
    trial.set_user_attr("process", [socket.gethostname(), os.getpid()])
    try:
        value = _value(trial, sweep)
    except library.TrialPruned:
        study.tell(trial, state=states.PRUNED)
    except _FailedOnceError:
        _put_back(study, trial)
        return False
    except BaseException:
        _put_back(study, trial)
        raise
    else:
        study.tell(trial, value, state=states.FAIL if value is None else states.COMPLETE)
    say(_line(study.trials[trial.number], sweep.metric))
    return True


def _line(trial: Any, metric: str) -> str:
    """A trial that ended, as progress shows it."""
    seen = trial.value
    if seen is None:
        seen = max(trial.intermediate_values.values(), default=math.nan)
    state = trial.user_attrs.get("gave up", trial.state.name.lower())
    settings = "  ".join(f"{key}={value}" for key, value in trial.params.items())
    return f"trial {trial.number}  {state}  {metric} {seen:.4f}  {settings}"


def _require_dead(trial: Any, sweep: Sweep) -> None:
    """Refuses to take over a trial whose process is alive; of another host, none is.

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


def _put_back(study: Any, trial: Any) -> None:
    """Gives up a trial that may not be its settings' fault; a later one takes them."""
    study.tell(trial.number, state=optuna().trial.TrialState.FAIL)
    if trial.params:
        failed = trial.user_attrs.get(_FAILED, False)
        study.enqueue_trial(trial.params, user_attrs={_FAILED: failed})


def _value(trial: Any, sweep: Sweep) -> float | None:
    """Trains, and gives the best validation metric; None where training diverged or failed twice.

    Raises:
        RunError: It was stopped, or failed before its first validation.
        _FailedOnceError: It failed later, for the first time.
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
    status = process.returncode
    run = newest_run(job.folder)
    if status and run is not None and (run / RECORD_FILE).is_file():
        record = read_record(run)
        if (record["outcome"], record["error"]) == ("failed", DivergenceError.__name__):
            trial.set_user_attr("gave up", "diverged")
            return None
    finished = finished_run(job.folder)
    if finished is not None and not status:
        return float(read_record(finished)["best"]["score"])
    if status in (130, 143):
        raise run_failed(status, job.folder)
    if not trial.user_attrs.get(_FAILED):
        trial.set_user_attr(_FAILED, True)
        if epoch < 0 and not _records(trial.study, sweep):
            raise run_failed(status, job.folder)  # no trial has worked: most likely none can
        raise _FailedOnceError
    trial.set_user_attr("gave up", "failed")
    return None


def _report(trial: Any, job: Job, metric: str, after: int) -> int:
    run = newest_run(job.folder)
    for epoch, value in validated_epochs(run, metric, after) if run else ():
        trial.report(value, epoch)
        after = epoch
    return after


def _records(study: Any, sweep: Sweep) -> list[dict[str, Any]]:
    """Trials that came to an end, best first; without those that were lost."""
    states = optuna().trial.TrialState
    records = []
    for trial in study.trials:
        gave_up = trial.user_attrs.get("gave up") if trial.state == states.FAIL else None
        if trial.state not in (states.COMPLETE, states.PRUNED) and gave_up is None:
            continue
        seen = trial.intermediate_values
        records.append(
            {
                "trial": trial.number,
                "state": gave_up or trial.state.name.lower(),
                "value": trial.value if trial.state == states.COMPLETE else None,
                "best_seen": max(seen.values(), default=None),
                "epochs": len(seen),
                "seconds": round(trial.duration.total_seconds(), 1),
                "params": trial.params,
                "run": _relative_run(sweep.out / _TRIALS / f"{trial.number:04}", sweep.out),
            }
        )
    return sorted(
        records,
        key=lambda record: (_or_least(record["value"]), _or_least(record["best_seen"])),
        reverse=True,
    )


def _or_least(value: float | None) -> float:
    return -math.inf if value is None else value


def _relative_run(folder: Path, out: Path) -> str | None:
    run = newest_run(folder)
    return None if run is None else Path(os.path.relpath(run, out)).as_posix()


def _write_best(best: Mapping[str, Any], sweep: Sweep) -> None:
    """Every setting of the best trial, ready for `fit --config`."""
    settings = read_settings(sweep.out / best["run"])
    given = composed(sweep.configs, sweep.settings)
    settings["name"] = given.get("name", sweep.out.name)
    for key in ("default_root_dir", "enable_progress_bar", "enable_model_summary"):
        settings["trainer"].pop(key)
        if key in given.get("trainer", {}):
            settings["trainer"][key] = given["trainer"][key]
    (sweep.out / BEST_FILE).write_text(
        f"# Trial {best['trial']} of a sweep: {sweep.metric} {best['value']:.4f}\n"
        + yaml.safe_dump(settings, sort_keys=False),
        "utf-8",
    )
