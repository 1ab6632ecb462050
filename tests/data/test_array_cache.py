import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slifmr_pl.data.array_cache import Arrays, cached_arrays, content_key

SMAPS = Path("/proc/self/smaps")
KEY = "0123456789abcdef" * 4
ARRAYS = {
    "rows": np.arange(6).reshape(2, 3),
    "none": np.empty((0, 4), np.float32),
    "mask": np.array([True, False]),
}


class Computation:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self) -> Arrays:
        self.runs += 1
        return {name: array.copy() for name, array in ARRAYS.items()}


def same(found: Arrays) -> bool:
    return found.keys() == ARRAYS.keys() and all(
        array.dtype == ARRAYS[name].dtype and np.array_equal(array, ARRAYS[name])
        for name, array in found.items()
    )


def test_computed_once_and_read_from_then_on(tmp_path: Path) -> None:
    compute = Computation()
    for _ in range(3):
        arrays = cached_arrays(tmp_path / "new" / "folder", "rows", KEY, compute)
        assert same(arrays)
        arrays["rows"][0] = 7  # the caller's own
    assert compute.runs == 1
    (file,) = (tmp_path / "new" / "folder").iterdir()  # nothing half written stays behind
    assert file.name == "rows-0123456789abcdef.safetensors"


@pytest.mark.skipif(not SMAPS.exists(), reason="only Linux tells whose pages are mapped")
def test_arrays_are_pages_of_the_file_until_they_are_written_to(tmp_path: Path) -> None:
    """So that the processes of a machine share them."""
    size = 1 << 20
    for _ in range(2):  # computed, then found
        rows = cached_arrays(tmp_path, "rows", KEY, lambda: {"rows": np.ones(size)})["rows"]
        assert _pages_of_file(tmp_path, "Rss") >= 8 * size // 1024
        assert _pages_of_file(tmp_path, "Anonymous") == 0
    rows[:] = 2
    assert _pages_of_file(tmp_path, "Anonymous") >= 8 * size // 1024
    again = cached_arrays(tmp_path, "rows", KEY, dict)["rows"]
    assert (again == 1).all()


def _pages_of_file(folder: Path, kind: str) -> int:
    """KiB of this process's mappings of the files in a folder."""
    total, inside = 0, False
    for line in SMAPS.read_text("utf-8").splitlines():
        if "-" in line.split()[0]:
            inside = str(folder) in line
        elif inside and line.startswith(f"{kind}:"):
            total += int(line.split()[1])
    return total


@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_any_changed_bit_is_seen_and_mended(
    tmp_path_factory: pytest.TempPathFactory, position: float, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    compute = Computation()
    cached_arrays(folder, "rows", KEY, compute)
    (file,) = folder.iterdir()
    content = bytearray(file.read_bytes())
    content[int(position * len(content))] ^= 1 << bit
    file.write_bytes(content)
    assert same(cached_arrays(folder, "rows", KEY, compute))
    assert compute.runs == 2
    assert same(cached_arrays(folder, "rows", KEY, compute))
    assert compute.runs == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content[:20],
        lambda content: b"\xff" * 100,
        lambda content: content.replace(b"0123", b"3210"),
    ],
)
def test_damaged_file_is_replaced_with_one_line_of_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
) -> None:
    compute = Computation()
    cached_arrays(tmp_path, "rows", KEY, compute)
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    for _ in range(2):
        assert same(cached_arrays(tmp_path, "rows", KEY, compute))
        assert compute.runs == 2
    assert len(caplog.records) == 1
    assert str(file) in caplog.text
    assert "computed again" in caplog.text


def test_file_of_another_key_does_not_count(tmp_path: Path) -> None:
    cached_arrays(tmp_path, "rows", KEY, lambda: {"other": np.zeros(3)})
    compute = Computation()
    assert same(cached_arrays(tmp_path, "rows", KEY[:16] + "0" * 48, compute))
    assert compute.runs == 1


def test_folder_that_cannot_be_written_costs_no_result(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    compute = Computation()
    with caplog.at_level(logging.WARNING):
        assert same(cached_arrays(tmp_path / "file", "rows", KEY, compute))
    assert compute.runs == 1
    assert "cannot be kept" in caplog.text


def test_keys_differ_with_all_that_they_are_made_of(tmp_path: Path) -> None:
    for name, text in (("a.py", "x = 1"), ("b.py", "x = 2")):
        (tmp_path / name).write_text(text)
    code = [tmp_path / "a.py"]
    rows = {"rows": np.arange(4)}
    keys = [
        content_key({"k": 1}, rows, code),
        content_key({"k": 2}, rows, code),
        content_key({"k": 1}, {"rows": np.arange(4)[::-1]}, code),
        content_key({"k": 1}, {"rows": np.arange(4).reshape(2, 2)}, code),
        content_key({"k": 1}, {"rows": np.arange(4).astype(np.int32)}, code),
        content_key({"k": 1}, {"other": np.arange(4)}, code),
        content_key({"k": 1}, rows, [tmp_path / "b.py"]),
        content_key({"k": 1}, rows, tmp_path.glob("*.py")),
        content_key({"k": 1}, rows, []),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == content_key({"k": 1}, {"rows": np.arange(4)}, code)
    (tmp_path / "a.py").write_text("x = 3")
    assert keys[0] != content_key({"k": 1}, rows, code)
