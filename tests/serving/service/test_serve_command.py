"""What `slifmr serve` refuses before it serves."""

import sys
from pathlib import Path

import pytest

from slifmr_pl.cli import main


@pytest.mark.parametrize(
    "content", [None, "{", "[]", '{"format": "other"}', '{"format": "slifmr-export-1"}']
)
def test_folder_without_export_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    assert main(["serve", str(tmp_path), "--port", "0"]) == 2
    printed = capsys.readouterr().err
    assert "manifest.json: no export (" in printed
    assert "slifmr export CKPT FOLDER" in printed


def test_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "fastapi_offline", None)  # as if it were not there
    assert main(["serve", str(tmp_path)]) == 2
    assert "pip install 'slifmr-pl[serve]'" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--port", "65536"], ["--port", "http"], ["--workers", "0"]])
def test_numbers_out_of_range_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["serve", str(tmp_path), *flags])
    assert f"{flags[1]!r} is not a whole number" in capsys.readouterr().err
