import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slifmr_pl.config.files import merged_configuration
from slifmr_pl.errors import RunError
from slifmr_pl.runs.atomic_files import write_json
from slifmr_pl.studies.runs import (
    Job,
    ensure_fitted,
    finished_run,
    in_parallel,
    newest_run,
    validated_epochs,
)

METRIC = "val/recall@20"


def record(folder: Path, version: int, outcome: str) -> Path:
    run = folder / "run" / f"version_{version}"
    keys = ("data", "trainer", "environment", "git", "resumed_from")
    best = {"checkpoint": "checkpoints/best.ckpt", "monitor": METRIC, "score": 0.5}
    write_json(run / "run.json", {"outcome": outcome, "best": best, **dict.fromkeys(keys)})
    return run


def test_the_newest_run_counts_and_only_if_it_finished(tmp_path: Path) -> None:
    assert newest_run(tmp_path) is finished_run(tmp_path) is None
    first = record(tmp_path, 9, "finished")
    assert finished_run(tmp_path) == first
    second = record(tmp_path, 10, "interrupted")
    assert newest_run(tmp_path) == second
    assert finished_run(tmp_path) is None


def test_epochs_are_read_while_they_are_written(tmp_path: Path) -> None:
    assert list(validated_epochs(tmp_path, METRIC, -1)) == []
    path = tmp_path / "metrics.csv"
    path.write_text(f"epoch,step,train/total,{METRIC}\n0,9,,0.125\n0,9,1.5,\n1,19,,0.25\n2,29,,0.1")
    assert list(validated_epochs(tmp_path, METRIC, -1)) == [(0, 0.125), (1, 0.25)]
    assert list(validated_epochs(tmp_path, METRIC, 0)) == [(1, 0.25)]
    assert list(validated_epochs(tmp_path, "val/ndcg@20", -1)) == []


def test_error_of_a_failed_run_shows_the_end_of_its_log(tmp_path: Path) -> None:
    """In a process of its own, as all runs are."""
    config = tmp_path / "config.yaml"
    config.write_text("model: {no_such_key: 1}\n")
    with pytest.raises(RunError) as failed:
        ensure_fitted(Job(tmp_path / "job", (config,), {"data.root": "nowhere"}), threads=1)
    assert "no_such_key" in str(failed.value)
    assert "log.txt" in str(failed.value)


def test_after_an_error_nothing_more_is_started() -> None:
    done: list[int] = []

    def work(number: int) -> int:
        done.append(number)
        if number == 1:
            raise RunError("failed", expected="success", fix="mend it")
        return number

    with pytest.raises(RunError):
        in_parallel(work, range(50), 1)
    assert done == [0, 1]
    assert in_parallel(lambda n: n * n, range(4), 3) == [0, 1, 4, 9]


def test_error_of_a_run_is_raised_though_others_are_still_to_be_named() -> None:
    """The first run fails while the items are still being read."""
    failed, done = threading.Event(), []

    def items() -> Iterator[int]:
        yield 0
        assert failed.wait(60)
        yield from range(1, 20_000)

    def work(number: int) -> None:
        done.append(number)
        failed.set()
        raise RunError("failed", expected="success", fix="mend it")

    with pytest.raises(RunError, match="failed"):
        in_parallel(work, items(), 1)
    assert done == [0]


def test_runs_of_other_settings_are_refused(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("model: {top_k: 5}\n")
    job = Job(tmp_path / "job", (config,), {"data.root": "here", "trainer.max_epochs": 3})
    write_json(job.folder / "job.json", merged_configuration(job.configs, job.settings))
    done = record(job.folder, 0, "finished")
    assert ensure_fitted(job, threads=1) == done
    config.write_text("# the same\nmodel:\n  top_k: 5\n")
    assert ensure_fitted(job, threads=1) == done
    config.write_text("model: {top_k: 6}\n")
    with pytest.raises(RunError, match=r"model\.top_k was 5 and is 6"):
        ensure_fitted(job, threads=1)


def test_run_that_was_stopped_goes_on_and_one_that_failed_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path | None] = []

    def start(job: Job, threads: int, checkpoint: Path | None) -> "subprocess.Popen[bytes]":
        started.append(checkpoint)
        record(job.folder, 1, "finished")
        return subprocess.Popen(["true"])

    monkeypatch.setattr("slifmr_pl.studies.runs.start_fit", start)
    for outcome, goes_on in (("interrupted", True), ("running", True), ("failed", False)):
        job = Job(tmp_path / outcome, (), {})
        last = record(job.folder, 0, outcome) / "checkpoints" / "last.ckpt"
        last.parent.mkdir()
        last.touch()
        assert ensure_fitted(job, threads=1) == job.folder / "run" / "version_1"
        assert started.pop() == (last if goes_on else None)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_the_processes_that_run(tmp_path: Path, signum: signal.Signals) -> None:
    """A study in a process of its own, whose runs are programs that sleep."""
    sleeper = tmp_path / "sleeper"
    sleeper.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    sleeper.chmod(0o755)
    script = (
        "import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pathlib import Path\nfrom slifmr_pl.studies import runs\n"
        f"sys.executable = {str(sleeper)!r}\n"
        f"job = runs.Job(Path({str(tmp_path / 'job')!r}), (), {{}})\n"
        "runs.in_parallel(lambda job: runs.ensure_fitted(job, 1), [job], 1)\n"
    )
    study = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    pid = tmp_path / "pid"
    deadline = time.monotonic() + 60
    while not (pid.is_file() and pid.read_text().strip()):
        assert time.monotonic() < deadline
        assert study.poll() is None
        time.sleep(0.05)
    study.send_signal(signum)
    study.wait(30)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
