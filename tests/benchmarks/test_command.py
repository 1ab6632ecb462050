import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.registry import load, summaries
from benchmarks.report import REPOSITORY

NAMES = {"attention", "graph", "growth", "rows", "sampling", "spmm", "start", "step"}


def test_list_names_every_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    listed = {
        line.split()[0]: line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()
    }
    assert listed.keys() >= NAMES
    assert "harness" not in listed
    assert "ablations" not in listed
    for name, summary in summaries().items():
        assert listed[name] == summary
        assert callable(load(name))


def test_missing_data_ends_with_a_fix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spmm", "--data", str(tmp_path), "--threads", "1"]) == 2
    assert "--data" in capsys.readouterr().err


@pytest.mark.parametrize(
    "args", [[], ["speed"], ["spmm", "--threads", "0"], ["spmm", "--dims", "3"]]
)
def test_bad_command_line_is_refused(args: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(args)
    assert caught.value.code == 2


def test_every_benchmark_runs_on_tiny_data(tmp_path: Path) -> None:
    plot = tmp_path / "growth.svg"
    options = ["--quick", "--threads", "1", "--out", str(tmp_path), "--plot", str(plot)]
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks", "all", *options],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert {path.stem for path in tmp_path.glob("*.json")} == summaries().keys()
    for path in tmp_path.glob("*.json"):
        content = json.loads(path.read_text("utf-8"))
        assert content["settings"]["quick"] is True
        for report in content["reports"]:
            assert report["rows"], path.stem
            assert report["rows"][0]["samples"], path.stem
            for row in report["rows"]:
                assert row["samples"] or row["note"].startswith("not measured"), row
                assert row["name"] in result.stdout
    assert plot.read_text("utf-8").lstrip().startswith("<?xml")
