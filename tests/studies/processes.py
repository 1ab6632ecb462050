"""Runs of the command line without a process of their own, which would take seconds to start."""

import contextlib
from pathlib import Path

import pytest

from slifmr_pl.cli import main


class InThisProcess:
    """What `subprocess.Popen` would give, of a command line that has run by then."""

    def __init__(self, arguments: list[str], threads: int, log_file: Path) -> None:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with (
            log_file.open("a") as log,
            contextlib.redirect_stdout(log),
            contextlib.redirect_stderr(log),
        ):
            self.returncode = main(arguments)

    def poll(self) -> int:
        return self.returncode

    def wait(self) -> int:
        return self.returncode

    def terminate(self) -> None:
        raise AssertionError("it has ended")


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slifmr_pl.studies.runs.start", InThisProcess)
