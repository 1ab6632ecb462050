"""What is free, by the files in which Linux says so."""

import subprocess
import sys
from pathlib import Path

import pytest

from slifmr_pl.config import memory
from slifmr_pl.errors import ConfigError


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 8 GiB, of which 6 are free."""
    for name in ("proc", "cgroup"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(memory, f"_{name.upper()}", tmp_path / name)
    (tmp_path / "proc" / "meminfo").write_text(
        "MemTotal:        8388608 kB\nMemAvailable:    6291456 kB\n"
    )
    return tmp_path


def test_memory_of_the_machine(machine: Path) -> None:
    assert memory.available_memory() == 6 << 30


def test_memory_of_a_container_counts_copies_of_files_as_free(machine: Path) -> None:
    group = machine / "cgroup"
    (group / "memory.max").write_text(f"{4 << 30}\n")
    (group / "memory.current").write_text(f"{3 << 30}\n")
    (group / "memory.stat").write_text(f"anon {2 << 30}\ninactive_file {1 << 30}\nactive_file 0\n")
    assert memory.available_memory() == 2 << 30
    (group / "memory.max").write_text("max\n")  # no limit
    assert memory.available_memory() == 6 << 30


def test_limit_of_the_process_counts() -> None:
    code = """if True:
        import resource
        from slifmr_pl.config.memory import available_memory
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        print(available_memory())
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < 1 << 30


def test_system_that_does_not_say_refuses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_limits", lambda: iter(()))
    assert memory.available_memory() is None
    memory.require_memory("anything", 1 << 60, "nothing")


def test_too_much_is_refused_with_both_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 9_000_000_000)
    memory.require_memory("this", 9_000_000_000, "less")
    with pytest.raises(ConfigError, match=r"this needs 101 GB of memory, and 9 GB are free"):
        memory.require_memory("this", 100_800_000_000, "less")
