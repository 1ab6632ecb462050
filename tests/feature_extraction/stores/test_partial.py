import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from feature_extraction import (
    EncoderSpec,
    ExtractionConfig,
    FeatureError,
    FeatureStore,
    Item,
    ItemInputs,
)
from feature_extraction import extract as extract_features
from feature_extraction.items.input_files import Files, open_files
from feature_extraction.stores import partial

_TOUCHES = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir")
QUIET = ExtractionConfig(device="cpu", progress=False, batch_size=3)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial, "SHARD_ROWS", 4)


class Breaking:
    """22 items that end with an error where told to, on the second pass."""

    def __init__(self, breaks_at: int | None) -> None:
        self.breaks_at = breaks_at
        self.passes = 0

    def files(self, modality: str) -> Files:
        return open_files([], modality)

    def __iter__(self) -> Iterator[Item]:
        self.passes += 1
        for row in range(22):
            if self.passes == 2 and row == self.breaks_at:
                raise KeyboardInterrupt
            yield Item(
                str(row), None if row % 5 == 4 else "red hat " * (row % 3 + 1) + "abc"[row % 3]
            )


def shards_done(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob("*.partial/shards*/*.json"))


def test_interrupted_run_goes_on_behind_its_finished_shards(
    bert_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = EncoderSpec("bert", str(bert_folder))
    straight = extract_features(Breaking(None), spec, tmp_path / "straight", name="x", config=QUIET)
    with pytest.raises(KeyboardInterrupt):
        extract_features(Breaking(13), spec, tmp_path / "resumed", name="x", config=QUIET)
    assert len(shards_done(tmp_path / "resumed")) == 3

    written = []
    write = partial.PartialStore.write
    monkeypatch.setattr(
        partial.PartialStore,
        "write",
        lambda self, shard, *args: (written.append(shard), write(self, shard, *args)),
    )
    resumed = extract_features(Breaking(None), spec, tmp_path / "resumed", name="x", config=QUIET)
    assert written == [3, 4, 5]
    np.testing.assert_array_equal(resumed.features, straight.features)
    np.testing.assert_array_equal(resumed.present, straight.present)
    assert resumed.manifest == straight.manifest
    assert [path.name for path in (tmp_path / "resumed").iterdir()] == [resumed.path.name]
    assert sorted(path.name for path in resumed.path.iterdir()) == [
        "features.npy",
        "ids.json",
        "manifest.json",
        "present.npy",
    ]


def test_run_killed_at_any_point_is_finished_by_the_next(bert_folder: Path, tmp_path: Path) -> None:
    spec = EncoderSpec("bert", str(bert_folder))
    inputs = ItemInputs(list("abcdef"), texts=["red hat", None, "blue", "x", "shoe", "hat"])

    def run(root: Path) -> FeatureStore:
        return extract_features(inputs, spec, root, name="x", config=QUIET)

    expected = run(tmp_path / "straight")
    finished = set()
    for step in range(1, 1000, 3):
        root = tmp_path / str(step)
        child = os.fork()
        if child == 0:
            _die_at(step, root, run)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert os.WEXITSTATUS(status) == 0
            break
        finished.add(len(shards_done(root)))
        store = run(root)
        np.testing.assert_array_equal(store.features, expected.features)
        assert store.manifest == expected.manifest
        assert [path.name for path in root.iterdir()] == [store.path.name]
    assert finished == {0, 1, 2}


def _die_at(step: int, root: Path, run: Callable[[Path], Any]) -> None:
    """Run in a forked process that kills itself before it touches a file for the n-th time."""
    torch.set_num_threads(1)  # threads do not survive a fork
    count = 0

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal count
        if event in _TOUCHES and str(root) in str(args[0]):
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    try:
        run(root)
    except BaseException:  # whatever it is, the parent must not get it twice
        os._exit(1)
    os._exit(0)


def test_processes_that_want_one_store_compute_it_once(bert_folder: Path, tmp_path: Path) -> None:
    spec = EncoderSpec("bert", str(bert_folder))
    folder = tmp_path / "x.partial"
    with partial.locked(folder):
        child = os.fork()
        if child == 0:
            with partial.locked(folder):
                (tmp_path / "entered").touch()
            os._exit(0)
        time.sleep(0.2)
        assert not (tmp_path / "entered").exists()
    assert os.waitpid(child, 0)[1] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["entered"]
    with pytest.raises(FeatureError), partial.locked(folder):
        extract_features(Breaking(None), spec, tmp_path, name="../x", config=QUIET)
    assert not folder.exists()


def test_lock_ends_with_its_process_though_a_worker_of_it_lives_on(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with partial.locked(tmp_path / "x.partial"):
            worker = os.fork()
            if worker == 0:
                time.sleep(60)
                os._exit(0)
            os.write(writing, str(worker).encode())
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    held = os.fork()
    if held == 0:
        with partial.locked(tmp_path / "x.partial"):
            os._exit(0)
    for _ in range(200):
        if os.waitpid(held, os.WNOHANG) != (0, 0):
            break
        time.sleep(0.05)
    else:
        os.kill(held, signal.SIGKILL)
        pytest.fail("the lock is held by a worker of a process that is gone")
    os.kill(int(os.read(reading, 20)), signal.SIGKILL)


def test_items_that_change_under_way_are_refused(bert_folder: Path, tmp_path: Path) -> None:
    class Changing(Breaking):
        def __iter__(self) -> Iterator[Item]:
            items = list(super().__iter__())
            return iter(items if self.passes == 1 else items[::-1])

    spec = EncoderSpec("bert", str(bert_folder))
    with pytest.raises(FeatureError, match="no longer in its place"):
        extract_features(Changing(None), spec, tmp_path, name="x", config=QUIET)


def test_full_disk_is_an_error_and_no_crash(bert_folder: Path, tmp_path: Path) -> None:
    spec = EncoderSpec("bert", str(bert_folder))
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900))
        try:
            extract_features(Breaking(None), spec, tmp_path, name="x", config=QUIET)
        except FeatureError as error:
            os._exit(3 if "cannot be written" in str(error) else 4)
        os._exit(5)
    assert os.WEXITSTATUS(os.waitpid(child, 0)[1]) == 3
