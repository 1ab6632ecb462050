"""A file that is killed while it is written is the old one or the new one."""

import itertools
import time
from pathlib import Path

from slifmr_pl.callbacks.storage import write_whole
from tests.faults import SPAWN

SIZE = 1 << 22


def write_for_ever(path: Path) -> None:
    for number in itertools.cycle(range(256)):
        write_whole(path, bytes([number]) * SIZE)


def test_file_is_whole_whenever_its_writer_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    left_partial = 0
    for attempt in range(8):
        writer = SPAWN.Process(target=write_for_ever, args=(path,))
        writer.start()
        began = path.stat().st_mtime_ns if path.exists() else 0
        while not path.exists() or path.stat().st_mtime_ns == began:
            writer.join(0.001)
            assert writer.exitcode is None
        end = time.monotonic() + 0.001 * attempt
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
    assert left_partial > 0  # it was killed while it wrote
