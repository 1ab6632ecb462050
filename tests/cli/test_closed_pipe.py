"""`… | head`: a reader that goes away ends a command quietly, and what it writes is there."""

import subprocess
import sys
from pathlib import Path

import pytest

from feature_extraction.pipes import ends_quietly


def unread(*command: str) -> tuple[int, str]:
    """Exit status and standard error of a command whose output nobody reads."""
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        errors = process.stderr.read()
    return process.wait(), errors


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "slifmr_pl", "presets"],
        ["-m", "slifmr_pl", "inspect", "--help"],
        ["-u", "-m", "slifmr_pl", "presets"],
        ["-m", "feature_extraction", "--help"],
    ],
)
def test_nobody_reads(command: list[str]) -> None:
    status, errors = unread(*command)
    assert errors == ""
    assert status in (0, 141)


def test_inspection_is_written_though_nobody_reads_it(catalogue: Path, tmp_path: Path) -> None:
    _, errors = unread("-m", "slifmr_pl", "inspect", str(catalogue), "--out", str(tmp_path))
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors
    assert {file.suffix for file in tmp_path.iterdir()} == {".html", ".json"}


def test_pipe_of_another_process_is_an_error_as_ever() -> None:
    with pytest.raises(BrokenPipeError), ends_quietly():
        raise BrokenPipeError
