"""A real run of the command line, repeated; the other cases are cut short before training."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console

from slifmr_pl.cli import main
from slifmr_pl.errors import RunError
from slifmr_pl.runs.atomic_files import write_json
from slifmr_pl.studies import reproduction_report
from slifmr_pl.studies.reproduction import agreements, differences, read_recorded_run

Altered = Callable[..., Path]


def edit(path: Path, **changes: Any) -> None:
    write_json(path, json.loads(path.read_text("utf-8")) | changes)


@pytest.fixture(scope="module")
def run(catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deterministic run of the demo's full model, two epochs, tested."""
    root = tmp_path_factory.mktemp("runs")
    arguments = ["--config", "configs/demo.yaml", "--data.root", str(catalogue)]
    arguments += ["--trainer.default_root_dir", str(root), "--trainer.max_epochs", "2"]
    arguments += ["--trainer.logger", "false", "--trainer.enable_progress_bar", "false"]
    try:
        assert main(["fit", *arguments, "--trainer.deterministic", "true"]) == 0
        folder = root / "demo" / "version_0"
        (best,) = (folder / "checkpoints").glob("epoch*.ckpt")
        assert (
            main(["test", "--config", str(folder / "config.yaml"), "--ckpt_path", str(best)]) == 0
        )
    finally:
        torch.use_deterministic_algorithms(False)
    return folder


@pytest.fixture(scope="module")
def moved(catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data at another place."""
    return Path(shutil.copytree(catalogue, tmp_path_factory.mktemp("moved") / "data"))


@pytest.fixture(scope="module")
def again(run: Path, moved: Path) -> Path:
    """The folder of the run that `reproduce` made."""
    assert main(["reproduce", str(run), "--data.root", str(moved), "--tolerance", "0"]) == 0
    return run / "reproduction" / "demo" / "version_0"


@pytest.fixture
def altered(run: Path, tmp_path: Path) -> Altered:
    """A copy of the run's records with changes."""

    def make(record: dict[str, Any] | None = None, result: dict[str, Any] | None = None) -> Path:
        folder = tmp_path / "altered"
        folder.mkdir()
        for name in ("config.yaml", "run.json", "test.json"):
            shutil.copy(run / name, folder / name)
        edit(folder / "run.json", **(record or {}))
        edit(folder / "test.json", **(result or {}))
        return folder

    return make


def test_deterministic_run_is_repeated_bit_for_bit(run: Path, again: Path) -> None:
    content = json.loads((again / "reproduction.json").read_text())
    assert content["agrees"]
    assert content["differences"] == []
    recorded = json.loads((run / "test.json").read_text())["metrics"]
    assert len(content["numbers"]) == len(recorded) + 1
    assert {number["verdict"] for number in content["numbers"]} == {"bit-equal"}
    first, second = (json.loads((f / "run.json").read_text()) for f in (run, again))
    assert first["trainer"]["deterministic"]
    assert second["command"].count("--data.root") == 1
    weights = []
    for folder, record in ((run, first), (again, second)):
        path = folder / record["best"]["checkpoint"]
        weights.append(torch.load(path, weights_only=True)["state_dict"])
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


def test_repeated_run_can_be_compared_and_does_not_differ(
    run: Path, again: Path, tmp_path: Path
) -> None:
    path = tmp_path / "comparison.json"
    arguments = [str(run), str(again), "--resamples", "100", "--json", str(path)]
    assert main(["compare", *arguments]) == 0
    for contrast in json.loads(path.read_text())["contrasts"]["B"].values():
        assert (contrast["difference"], contrast["randomisation"]["p"]) == (0.0, 1.0)


def test_numbers_that_differ_are_named(
    altered: Altered, run: Path, again: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = json.loads((run / "test.json").read_text())["metrics"]
    recall, ndcg = metrics["test/recall@20"], metrics["test/ndcg@20"]
    changes = {"test/recall@20": recall * 1.01, "test/ndcg@20": ndcg * 1.0001, "test/old@1": 0.5}
    recorded = read_recorded_run(altered(result={"metrics": metrics | changes}))
    verdicts = {number.metric: number.verdict for number in agreements(recorded, again, 1e-3)}
    assert verdicts.pop("test/recall@20") == verdicts.pop("test/old@1") == "differs"
    assert verdicts.pop("test/ndcg@20") == "within tolerance"
    assert set(verdicts.values()) == {"bit-equal"}
    copy = recorded.folder / "copy"
    shutil.copytree(again, copy)
    assert not reproduction_report.report(recorded, copy, [], 1e-3, Console(width=200))
    assert "Not reproduced" in capsys.readouterr().out


@pytest.mark.parametrize(("recall", "status"), [(None, 0), (0.99, 1)])
def test_status_tells_whether_numbers_agree(
    altered: Altered,
    run: Path,
    again: Path,
    monkeypatch: pytest.MonkeyPatch,
    recall: float | None,
    status: int,
) -> None:
    metrics = json.loads((run / "test.json").read_text())["metrics"]
    folder = altered(result={"metrics": metrics | ({"test/recall@5": recall} if recall else {})})
    # The training has been done for the fixture.
    monkeypatch.setattr(reproduction_report, "train_and_test_again", lambda *_: again)
    assert main(["reproduce", str(folder)]) == status


def test_unexpected_end_is_not_taken_for_a_difference(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*arguments: object) -> Path:
        raise OSError("no space left on device")

    monkeypatch.setattr(reproduction_report, "train_and_test_again", broken)
    assert main(["reproduce", str(run)]) == 2
    assert "no space left" in capsys.readouterr().err


def test_what_differs_is_listed_before_training(
    altered: Altered, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((run / "run.json").read_text())
    environment = record["environment"]
    environment["packages"]["torch"] = "2.0.0"
    environment["hardware"] |= {"cpu": "Abacus", "threads": 99}
    git = {"commit": "abc", "dirty": True}
    data = record["data"] | {"fingerprint": "0" * 64}
    folder = altered(record={"environment": environment, "git": git, "data": data})
    changed = {
        difference.key: difference for difference in differences(read_recorded_run(folder).record)
    }
    assert changed["packages.torch"].recorded == "2.0.0"
    assert changed["packages.torch"].now == torch.__version__
    assert changed.keys() >= {"hardware.cpu", "git.commit"}
    assert "hardware.threads" not in changed
    assert main(["reproduce", str(folder)]) == 2
    printed = capsys.readouterr()
    assert "Abacus" in printed.out
    assert "uncommitted changes" in printed.out
    assert "the knowledge graph or item features" in printed.err


def test_changed_data_is_refused_with_what_changed(
    run: Path, moved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(moved, tmp_path / "changed"))
    (path,) = data.glob("interactions.*")
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]) + "\n")
    assert main(["reproduce", str(run), "--data.root", str(data)]) == 2
    error = capsys.readouterr().err
    assert "the data has changed: train" in error
    assert "--data.root" in error


def test_absent_data_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", str(run), "--data.root", "no/such/folder"]) == 2
    assert "the run's data are not there" in capsys.readouterr().err


def test_training_that_fails_ends_with_2(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    assert main(["reproduce", str(run)]) == 2
    assert "fit ended with status 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("record", "result", "message"),
    [
        ({"outcome": "interrupted"}, {}, "the run is interrupted"),
        ({"best": None}, {}, "no best checkpoint"),
        ({}, {"checkpoint": "elsewhere/last.ckpt"}, r"test\.json is of the checkpoint last\.ckpt"),
    ],
)
def test_what_cannot_be_reproduced_is_refused(
    altered: Altered, record: dict[str, Any], result: dict[str, Any], message: str
) -> None:
    with pytest.raises(RunError, match=message):
        read_recorded_run(altered(record, result))


def test_unknown_data_setting_is_refused(
    altered: Altered, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = altered()
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    settings["data"]["colour"] = "blue"
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    assert main(["reproduce", str(folder)]) == 2
    assert "colour" in capsys.readouterr().err


@pytest.mark.parametrize("tolerance", ["-1", "1", "much"])
def test_tolerance_is_a_share(tolerance: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["reproduce", "run", "--tolerance", tolerance])
    assert "not a number from 0 to below 1" in capsys.readouterr().err
