import subprocess
from pathlib import Path

import pytest

from slifmr_pl.runs.environment import environment, git_state, without_home


def git(folder: Path, *arguments: str) -> str:
    options = ("-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    result = subprocess.run(
        ["git", *options, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return result.stdout.strip()


def test_versions_and_hardware_are_told() -> None:
    record = environment()
    assert list(record) == ["packages", "python", "platform", "hardware"]
    assert record["packages"].keys() >= {
        "slifmr-pl",
        "torch",
        "pytorch-lightning",
        "numpy",
        "scipy",
    }
    assert record["hardware"]["cpu"]
    assert record["hardware"]["threads"] >= 1


def test_git_state_is_the_commit_and_whether_tracked_files_changed(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None
    git(tmp_path, "init", "--quiet")
    assert git_state(tmp_path) is None  # no commit yet
    file = tmp_path / "file"
    file.write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "results").write_text("untracked")
    assert git_state(tmp_path) == {"commit": commit, "dirty": False}
    file.write_text("two")
    assert git_state(tmp_path) == {"commit": commit, "dirty": True}


def test_without_git_there_is_no_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(Path(__file__).parent) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fit --data.root /home/ann/data", "fit --data.root ~/data"),
        ("fit --data.root=/home/ann", "fit --data.root=~"),
        ("{store: /home/ann/a, other: /home/anna/b}", "{store: ~/a, other: /home/anna/b}"),
        ("/mnt/home/ann/data", "/mnt/home/ann/data"),
    ],
)
def test_home_folder_is_left_out(monkeypatch: pytest.MonkeyPatch, text: str, expected: str) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert without_home(text) == expected
