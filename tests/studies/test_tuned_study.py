"""Studies of two models on the demo catalogue, by the command line."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from slifmr_pl.cli import main
from slifmr_pl.errors import ConfigError
from slifmr_pl.studies import sweep as sweeping
from slifmr_pl.studies.study_file import read_study
from tests.studies.processes import in_this_process as in_this_process

ROOT = Path(__file__).parents[2]
EASE = {
    "configs": ["model/ease"],
    "space": {"model.l2": {"low": 0.1, "high": 10000.0, "log": True}},
}
POPULAR = {"configs": ["model/most_popular"]}


@pytest.fixture
def written(tmp_path: Path, catalogue: Path) -> Callable[..., Path]:
    def write(**changes: object) -> Path:
        content = {
            "configs": [str(ROOT / "configs" / "demo.yaml")],
            "settings": {"data.root": str(catalogue), "trainer.accelerator": "cpu"},
            "trials": 3,
            "seeds": [1, 2],
            "models": {"EASE": EASE, "MostPop": POPULAR},
            **changes,
        }
        path = tmp_path / "small.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


@pytest.mark.usefixtures("in_this_process")
def test_study_that_was_stopped_goes_on_and_tests_after_the_last_trial(
    written: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    command = ["study", str(written(seeds=[1])), f"--out={out}"]
    whole, trials = sweeping._run_trial, []

    def stop(*args: Any) -> None:
        trials.append(args)
        if len(trials) == 3:
            raise KeyboardInterrupt
        whole(*args)

    with monkeypatch.context() as patch:
        patch.setattr(sweeping, "_run_trial", stop)
        assert main(command) == 130
    before = {path: path.read_text() for path in out.rglob("run.json")}
    assert len(before) == 2
    assert not list(out.rglob("test.json"))
    assert main(command) == 0
    assert len(list((out / "EASE" / "trials").rglob("run.json"))) == 3
    assert all(path.read_text() == text for path, text in before.items())
    assert len(list(out.rglob("test.json"))) == 2


@pytest.mark.usefixtures("in_this_process")
def test_table_has_what_the_runs_have(
    written: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["study", str(written()), f"--out={out}"]
    assert main(command) == 0
    said = capsys.readouterr().out
    for line in (
        "model 1 of 2, EASE: 3 trials",
        "model 2 of 2, MostPop: as it is",
        "tested 2 of 2",
    ):
        assert line in said
    runs = {
        name: [json.loads(path.read_text()) for path in sorted((out / name).rglob("test.json"))]
        for name in ("EASE", "MostPop")
    }
    assert [len(of_model) for of_model in runs.values()] == [2, 2]
    ease, popular = json.loads((out / "study.json").read_text())["rows"]
    assert (ease["trials"], popular["trials"]) == (3, 1)
    trials = json.loads((out / "EASE" / "trials.json").read_text())
    assert ease["validation"] == max(trial["value"] for trial in trials)
    assert ease["settings"] == trials[0]["params"]
    mean = sum(run["metrics"]["test/recall@20"] for run in runs["EASE"]) / 2
    other = sum(run["metrics"]["test/recall@20"] for run in runs["MostPop"]) / 2
    assert ease["recall@20"] == pytest.approx(mean)
    assert popular["recall@20 difference"] == pytest.approx(other / mean - 1)
    assert ease["recall@20 difference"] is None
    assert 0 <= popular["recall@20 p"] <= 1
    with (out / "study.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["ndcg@20"]) for row in rows] == [ease["ndcg@20"], popular["ndcg@20"]]
    text = (out / "study.md").read_text()
    assert f"{mean:.4f} ± 0.0000" in text
    assert text.strip() in said
    # Again: nothing is left to do, and the table is the same.
    times = {path: path.stat().st_mtime_ns for path in out.rglob("run.json")}
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("run.json")} == times
    assert (out / "study.md").read_text() == text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"models": {"EASE": EASE}}, "the study has 1 models"),
        ({"models": {"A": POPULAR, "B": {"config": []}}}, "model B has config"),
        ({"models": {"A/B": POPULAR, "B": POPULAR}}, "'A/B'"),
        ({"models": {"A": {"configs": "model/nothing"}, "B": POPULAR}}, "model/nothing"),
        ({"models": {"A": POPULAR, "B": {"space": {"data.split": {}}}}}, "data.split"),
        ({"trials": 0}, "study.trials is 0"),
        ({"seeds": [1, 1]}, "study.seeds"),
        ({"seeds": 3}, "study.seeds is 3"),
        ({"seeds": None}, "study.seeds is None"),
        ({"settings": ["data.root"]}, "study.settings"),
        ({"seeds": [-1]}, "study.seed"),
        ({"metric": "test/recall@20"}, "study.metric is 'test/recall@20'"),
        ({"metrics": ["recall"]}, "study.metrics"),
        ({"metrics": ["recall@²"]}, "study.metrics"),
        ({"configs": [5]}, "study.configs is [5]"),
        ({"models": {"A": POPULAR, "B": {"configs": 5}}}, "study.configs is 5"),
        ({"trails": 3}, "trails"),
    ],
)
def test_files_that_say_something_else_are_refused(
    written: Callable[..., Path], changes: dict[str, object], said: str
) -> None:
    path = written(**changes)
    with pytest.raises(ConfigError) as refused:
        read_study(path)
    assert said in str(refused.value)
    assert refused.value.path == path


def test_file_that_is_no_study_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    for text in ("- a\n", "a: [\n", ""):
        path.write_text(text)
        with pytest.raises(ConfigError):
            read_study(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_study(tmp_path / "absent.yaml")
