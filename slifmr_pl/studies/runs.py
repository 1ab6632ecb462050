"""Ordinary runs of `fit` and `test` in processes of their own, and what they leave behind."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from slifmr_pl.errors import RunError
from slifmr_pl.records.folder import CONFIG_FILE, read_record, read_result

Item = TypeVar("Item")
Result = TypeVar("Result")

NAME = "run"
LOG_FILE = "log.txt"
_LOG_LINES = 15  # of a run that failed, as shown


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


def start_fit(job: Job, threads: int) -> "subprocess.Popen[bytes]":
    """Starts `fit`; what it says goes to the job's log."""
    settings = {
        "trainer.enable_progress_bar": False,
        "trainer.enable_model_summary": False,
        **job.settings,
        "trainer.default_root_dir": str(job.folder.absolute()),
        "name": NAME,
    }
    arguments = [f"--config={path}" for path in job.configs]
    arguments += [f"--{key}={_argument(value)}" for key, value in settings.items()]
    return _start(["fit", *arguments], job.folder, threads)


def fitted(job: Job, threads: int) -> Path:
    """Makes the run, unless one in its folder has finished already.

    Returns:
        Folder of the finished run.

    Raises:
        RunError: It failed.
    """
    done = finished_run(job.folder)
    if done is None:
        _wait(start_fit(job, threads), job.folder)
        done = finished_run(job.folder)
        assert done is not None
    return done


def tested(run: Path, threads: int) -> dict[str, float]:
    """Test metrics of a finished run's best checkpoint, by `METRIC@K`; tests it if need be.

    Raises:
        RunError: The test failed.
    """
    if not (run / "test.json").is_file():
        best = run / read_record(run)["best"]["checkpoint"]
        arguments = ["test", f"--config={run / CONFIG_FILE}", f"--ckpt_path={best}"]
        folder = run.parents[1]
        _wait(_start(arguments, folder, threads), folder)
    metrics = read_result(run, "test")["metrics"]
    return {name.removeprefix("test/"): value for name, value in metrics.items() if "@" in name}


def newest_run(folder: Path) -> Path | None:
    """The run that began last in a job's folder."""
    runs = [path for path in (folder / NAME).glob("version_*") if path.is_dir()]
    return max(runs, key=lambda path: int(path.name.removeprefix("version_")), default=None)


def finished_run(folder: Path) -> Path | None:
    """The newest run in a job's folder, if it has finished."""
    run = newest_run(folder)
    if run is None or not (run / "run.json").is_file():
        return None
    record = read_record(run)
    return run if record["outcome"] == "finished" and record["best"] else None


def validated_epochs(run: Path, metric: str, after: int) -> Iterator[tuple[int, float]]:
    """Epochs later than one, and their value of a validation metric, as logged so far.

    Args:
        run: A run's folder, also of one that is running.
        metric: For example `val/recall@20`.
        after: Last epoch that is known already.
    """
    path = run / "metrics.csv"
    text = path.read_text("utf-8") if path.is_file() else ""
    whole = text[: text.rfind("\n") + 1]  # a line may be half written
    for row in csv.DictReader(io.StringIO(whole)):
        if row.get(metric) and row.get("epoch") and int(row["epoch"]) > after:
            yield int(row["epoch"]), float(row[metric])


def last_words(folder: Path) -> str:
    """The end of a job's log."""
    path = folder / LOG_FILE
    lines = path.read_text("utf-8", errors="replace").splitlines() if path.is_file() else []
    return "\n".join(lines[-_LOG_LINES:])


def in_parallel(
    function: Callable[[Item], Result], items: Iterable[Item], jobs: int
) -> list[Result]:
    """Applies a function that waits for a process; after an error no further one is started."""
    pool = ThreadPoolExecutor(jobs)

    def applied(item: Item) -> Result:
        try:
            return function(item)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise

    try:
        futures = [pool.submit(applied, item) for item in items]
        wait(futures, return_when=FIRST_EXCEPTION)
    finally:
        pool.shutdown(cancel_futures=True)
    for future in futures:
        if not future.cancelled() and (error := future.exception()) is not None:
            raise error
    return [future.result() for future in futures]


def _argument(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _start(arguments: list[str], folder: Path, threads: int) -> "subprocess.Popen[bytes]":
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOG_FILE).open("ab") as log:
        return subprocess.Popen(  # noqa: S603  # our own command line, no shell
            [sys.executable, "-m", "slifmr_pl.cli", *arguments],
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _wait(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    try:
        status = process.wait()
    except BaseException:
        process.terminate()  # it saves and stops
        process.wait()
        raise
    if status:
        raise run_failed(status, folder)


def run_failed(status: int, folder: Path) -> RunError:
    """The error of a run that ended with a status other than 0."""
    return RunError(
        f"a run ended with status {status} and said at its end\n{last_words(folder)}",
        expected="a run that finishes",
        fix="mend what it says, and start the same command again: what has finished is kept",
        path=folder / LOG_FILE,
    )
