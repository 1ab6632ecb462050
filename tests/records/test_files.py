import json
from pathlib import Path

import pytest

from slifmr_pl.records.files import write_json


def test_file_is_written_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "record.json"
    write_json(path, {"user": "Zoë"})
    assert json.loads(path.read_text("utf-8")) == {"user": "Zoë"}
    assert [*path.parent.iterdir()] == [path]


def test_older_file_stays_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "record.json"
    write_json(path, "old")

    def broken(self: Path, text: str, **options: str) -> None:
        self.write_bytes(text.encode()[:3])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", broken)
    with pytest.raises(OSError, match="no space"):
        write_json(path, "new")
    assert json.loads(path.read_text()) == "old"
