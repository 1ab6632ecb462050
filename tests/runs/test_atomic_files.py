import itertools
import json
import resource
import time
from pathlib import Path

import pytest

from slifmr_pl.errors import StorageError
from slifmr_pl.runs.atomic_files import write_json, write_whole
from tests.checkpoints.faults import SPAWN

SIZE = 1 << 22


def test_file_is_written_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "record.json"
    write_json(path, {"user": "Zoë"})
    assert json.loads(path.read_text("utf-8")) == {"user": "Zoë"}
    assert [*path.parent.iterdir()] == [path]


def test_older_file_stays_where_the_new_one_has_no_space(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_json(path, "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 10, hard))
    try:
        with pytest.raises(StorageError, match="cannot be written"):
            write_json(path, "new" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert json.loads(path.read_text()) == "old"
    assert [*tmp_path.iterdir()] == [path]


def write_for_ever(path: Path) -> None:
    for number in itertools.cycle(range(256)):
        write_whole(path, bytes([number]) * SIZE)


def test_file_is_whole_whenever_its_writer_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    left_partial = 0
    for attempt in itertools.count():
        if attempt >= 8 and left_partial:  # it was killed while it wrote
            break
        assert attempt < 100
        writer = SPAWN.Process(target=write_for_ever, args=(path,))
        writer.start()
        began = path.stat().st_mtime_ns if path.exists() else 0
        while not path.exists() or path.stat().st_mtime_ns == began:
            writer.join(0.001)
            assert writer.exitcode is None
        end = time.monotonic() + 0.001 * (attempt % 8)
        while time.monotonic() < end:
            pass
        writer.kill()
        writer.join()
        content = path.read_bytes()
        assert len(content) == SIZE
        assert content == content[:1] * SIZE
        partials = list(tmp_path.glob("*.partial"))
        left_partial += bool(partials)
        for partial in partials:
            partial.unlink()
