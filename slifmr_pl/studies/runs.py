"""Ordinary runs of `fit` and `test` in processes of their own, and what they leave behind."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

from slifmr_pl.config import plugins
from slifmr_pl.config.conversion import flat
from slifmr_pl.config.files import merged_configuration
from slifmr_pl.errors import RunError
from slifmr_pl.runs.atomic_files import write_json
from slifmr_pl.runs.reading import read_record, read_result
from slifmr_pl.runs.run_folders import (
    CONFIG_FILE,
    METRICS_FILE,
    RECORD_FILE,
    RESULT_FILES,
    last_path,
    versions,
)

Item = TypeVar("Item")
Result = TypeVar("Result")

NAME = "run"
LOG_FILE = "log.txt"
JOB_FILE = "job.json"  # the settings that the runs in a job's folder are of
_LOG_LINES = 15  # of a run that failed, as shown
_started: "WeakSet[subprocess.Popen[bytes]]" = WeakSet()


@dataclass(frozen=True)
class Job:
    """A run to make.

    Attributes:
        folder: Gets `run/version_N`, as `trainer.default_root_dir`, and a log.
        configs: Configuration files, the later one wins.
        settings: Single settings by dotted key, which win over all files.
    """

    folder: Path
    configs: tuple[Path, ...]
    settings: Mapping[str, Any]


def start_fit(job: Job, threads: int, checkpoint: Path | None = None) -> "subprocess.Popen[bytes]":
    """Starts `fit`, anew or from a checkpoint; its output goes to the job's log."""
    settings = {
        **job.settings,
        "trainer.default_root_dir": str(job.folder.absolute()),
        "name": NAME,
    }
    arguments = [f"--config={path}" for path in job.configs]
    arguments += [f"--{key}={_argument(value)}" for key, value in settings.items()]
    if checkpoint is not None:
        arguments.append(f"--ckpt_path={checkpoint}")
    return start(["fit", *arguments], threads, job.folder / LOG_FILE)


def ensure_fitted(job: Job, threads: int) -> Path:
    """Trains, unless a run in the job's folder has finished; a run that was stopped is resumed.

    Returns:
        Folder of the finished run.

    Raises:
        RunError: It failed, or the runs in its folder are of other settings.
    """
    _require_same_settings(job)
    done = finished_run(job.folder)
    if done is None:
        _require_success(start_fit(job, threads, _stopped_at(job.folder)), job.folder)
        done = finished_run(job.folder)
    if done is None:
        raise RunError(
            "the run finished without a best checkpoint",
            expected="a run that validates and keeps its best epoch",
            fix="leave checkpoint and validation settings of the trainer as they are",
            path=job.folder,
        )
    return done


def _require_same_settings(job: Job) -> None:
    """Compares a job's settings with those of the runs in its folder, and notes them for later.

    Raises:
        RunError: They differ.
    """
    path = job.folder / JOB_FILE
    wanted = json.loads(json.dumps(merged_configuration(job.configs, job.settings), default=str))
    if not path.is_file():
        write_json(path, wanted)
        return
    before, now = flat(json.loads(path.read_text("utf-8"))), flat(wanted)
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if changed:
        key = changed[0]
        raise RunError(
            f"the runs there are of other settings: {key} was {before.get(key)!r} and is "
            f"{now.get(key)!r}" + (f" ({len(changed)} differ)" if len(changed) > 1 else ""),
            expected="the same settings whenever a study goes on",
            fix="restore the settings, or give another --out",
            path=job.folder,
        )


def _stopped_at(folder: Path) -> Path | None:
    """The last checkpoint of the newest run in a job's folder, if something stopped that run."""
    run, record = newest_run(folder), newest_record(folder)
    if run is None or record is None or record["outcome"] not in ("interrupted", "running"):
        return None
    last = last_path(run)
    return last if last.is_file() else None


def ensure_tested(run: Path, threads: int) -> dict[str, float]:
    """Test metrics of a finished run's best checkpoint, by `METRIC@K`; tests it if need be.

    Raises:
        RunError: The test failed.
    """
    if not (run / RESULT_FILES["test"]).is_file():
        best = run / read_record(run)["best"]["checkpoint"]
        arguments = ["test", f"--config={run / CONFIG_FILE}", f"--ckpt_path={best}"]
        folder = run.parents[1]
        _require_success(start(arguments, threads, folder / LOG_FILE), folder)
    metrics = read_result(run, "test")["metrics"]
    return {name.removeprefix("test/"): value for name, value in metrics.items() if "@" in name}


def newest_run(folder: Path) -> Path | None:
    """The run that began last in a job's folder."""
    runs = versions(folder / NAME)
    return runs[max(runs)] if runs else None


def newest_record(folder: Path) -> dict[str, Any] | None:
    """The record of the newest run in a job's folder, if that run began to train."""
    run = newest_run(folder)
    return read_record(run) if run is not None and (run / RECORD_FILE).is_file() else None


def finished_run(folder: Path) -> Path | None:
    """The newest run in a job's folder, if it has finished."""
    record = newest_record(folder)
    if record is None or record["outcome"] != "finished" or not record["best"]:
        return None
    return newest_run(folder)


def validated_epochs(run: Path, metric: str, after: int) -> Iterator[tuple[int, float]]:
    """Epochs later than one, and their value of a validation metric, as logged so far.

    Args:
        run: A run's folder, also of one that is running.
        metric: For example `val/recall@20`.
        after: Last epoch that is known already.
    """
    path = run / METRICS_FILE
    text = path.read_text("utf-8") if path.is_file() else ""
    whole = text[: text.rfind("\n") + 1]  # a line may be half written
    for row in csv.DictReader(io.StringIO(whole)):
        if row.get(metric) and row.get("epoch") and int(row["epoch"]) > after:
            yield int(row["epoch"]), float(row[metric])


def log_tail(folder: Path) -> str:
    """The last lines of a job's log."""
    path = folder / LOG_FILE
    lines = path.read_text("utf-8", errors="replace").splitlines() if path.is_file() else []
    return "\n".join(lines[-_LOG_LINES:])


def in_parallel(
    function: Callable[[Item], Result], items: Iterable[Item], jobs: int
) -> list[Result]:
    """Applies a function that waits for a process.

    After an error no further process is started, and those that run are waited for; then the first
    error is raised. SIGINT and SIGTERM stop those that run, too.
    """
    errors: list[BaseException] = []

    def unless_failed(item: Item) -> Result:
        if errors:
            raise CancelledError
        try:
            return function(item)
        except BaseException as error:
            errors.append(error)
            raise

    with _raised_on_sigterm(), ThreadPoolExecutor(jobs) as pool:
        futures: list[Future[Result]] = []
        try:
            futures += (pool.submit(unless_failed, item) for item in items)
            return [future.result() for future in futures]
        except KeyboardInterrupt as error:
            errors.append(error)
            unfinished = set(futures)
            while unfinished:  # a worker may be about to start its process
                for process in list(_started):
                    _started.discard(process)
                    process.terminate()  # it saves and stops; a second signal would cut that short
                unfinished = wait(unfinished, timeout=0.2).not_done
            raise
        except Exception as error:
            errors.append(error)
            raise errors[0] from None


@contextmanager
def _raised_on_sigterm() -> Iterator[None]:
    """SIGTERM becomes an exception, as SIGINT is one; only a main thread hears of either."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum: int, frame: object) -> None:
        raise KeyboardInterrupt(signum)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _argument(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def start(
    arguments: Sequence[str], threads: int, log: Path | None = None
) -> "subprocess.Popen[bytes]":
    """Starts our command line in a process of its own.

    Args:
        arguments: Subcommand and options.
        threads: Threads of that process.
        log: File that its output is appended to; by default it is shown where ours is.
    """
    with ExitStack() as stack:
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen(  # noqa: S603  # our own command line, no shell
            [sys.executable, "-m", "slifmr_pl", *arguments, *plugins.arguments()],
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
            stdout=None if log is None else stack.enter_context(log.open("ab")),
            stderr=None if log is None else subprocess.STDOUT,
        )
    _started.add(process)
    return process


def exit_status(process: "subprocess.Popen[bytes]") -> int:
    """Waits for a process; whatever interrupts the wait lets it save and stop."""
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise


def _require_success(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    if status := exit_status(process):
        raise run_failed(status, folder)


def run_failed(status: int, folder: Path) -> RunError:
    """The error of a run that ended with a status other than 0."""
    return RunError(
        f"a run ended with status {status} and said at its end\n{log_tail(folder)}",
        expected="a run that finishes",
        fix="mend what it says, and start the same command again: what has finished is kept",
        path=folder / LOG_FILE,
    )
