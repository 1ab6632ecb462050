import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from slifmr_pl.cli import main
from slifmr_pl.studies.robustness import activity_groups, aspects, uses_knowledge
from tests.studies.processes import InThisProcess
from tests.studies.processes import in_this_process as in_this_process

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"


def arguments(catalogue: Path, out: Path, *more: str) -> list[str]:
    model = CONFIGS / "model"
    return [
        "robustness",
        str(CONFIGS / "demo.yaml"),
        str(model / "ease.yaml"),
        "--name=EASE",
        f"--set=data.root={catalogue}",
        "--set=trainer.accelerator=cpu",
        f"--out={out}",
        "--seeds=1",
        *more,
    ]


@pytest.fixture(scope="module")
def study(catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of EASE."""
    out = tmp_path_factory.mktemp("robustness")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slifmr_pl.studies.runs.start", InThisProcess)
        assert main(arguments(catalogue, out, "--aspects=training,activity,knowledge")) == 0
    return out


def rows(study: Path, aspect: str, model: str = "EASE") -> list[dict[str, str]]:
    with (study / "robustness.csv").open(newline="") as file:
        table = csv.DictReader(file)
        return [row for row in table if (row["aspect"], row["model"]) == (aspect, model)]


def test_every_level_is_measured_on_less_data(study: Path) -> None:
    levels = rows(study, "training")
    assert [row["level"] for row in levels] == ["20%", "40%", "60%", "80%", "100%"]
    recalls = [float(row["recall@20"]) for row in levels]
    assert recalls[0] < recalls[-1]
    parts = [
        json.loads(path.read_text())["data"]["parts"] for path in study.glob("points/**/test.json")
    ]
    assert len({part["train"] for part in parts}) == 5
    assert len({part["test"] for part in parts}) == 1


@pytest.mark.usefixtures("in_this_process")
def test_models_are_measured_side_by_side(study: Path, catalogue: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "points", tmp_path / "points")
    more = f"--model=MostPop={CONFIGS / 'model' / 'most_popular.yaml'}"
    assert main(arguments(catalogue, tmp_path, "--aspects=activity", "--no-plot", more)) == 0
    for model in ("EASE", "MostPop"):
        assert len(rows(tmp_path, "activity", model)) == 4
    assert rows(tmp_path, "activity") == rows(study, "activity")
    assert not (tmp_path / "robustness.svg").exists()


def test_data_of_a_class_of_ones_own_are_degraded_and_grouped(
    tmp_path: Path, in_this_process: None
) -> None:
    path = tmp_path / "own.yaml"
    module = "tests.extending.parts.clusters_data.ClustersDataModule"
    path.write_text(f"data: {{class_path: {module}}}\nmodel: Ease\n")
    command = ["robustness", str(path), "--out", str(tmp_path / "out"), "--seeds=1", "--no-plot"]
    command += ["--set=trainer.accelerator=cpu", "--aspects=cold,activity"]
    assert main(command) == 0
    groups = rows(tmp_path / "out", "activity", "SLIF-MR")
    assert len(groups) == 4
    assert len(rows(tmp_path / "out", "cold", "SLIF-MR")) == 3


def test_what_cannot_affect_a_model_is_not_trained_again(study: Path) -> None:
    levels = rows(study, "knowledge")
    assert len(levels) == 6
    assert len({row["recall@20"] for row in levels}) == 1
    assert not (study / "points" / "EASE" / "knowledge").exists()


def test_groups_of_users_average_to_the_whole(study: Path) -> None:
    groups = rows(study, "activity")
    assert [row["level"][0] for row in groups] == ["1", "2", "3", "4"]
    (test,) = (study / "points" / "EASE" / "clean").rglob("test.json")
    metrics = json.loads(test.read_text())["metrics"]
    n_users = int(metrics["test/n_users"])
    sizes = [len(part) for part in np.array_split(np.arange(n_users), 4)]
    mean = np.average([float(row["recall@20"]) for row in groups], weights=sizes)
    assert mean == pytest.approx(metrics["test/recall@20"])


def test_curves_are_drawn(study: Path) -> None:
    picture = (study / "robustness.svg").read_text()
    assert "EASE" in picture
    assert "share of the training interactions" in picture


def test_finished_points_are_not_trained_again(
    study: Path, catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*arguments: object) -> None:
        raise AssertionError(f"a run was started: {arguments}")

    monkeypatch.setattr("slifmr_pl.studies.runs.start", start)
    before = (study / "robustness.csv").read_text()
    assert main(arguments(catalogue, study, "--aspects=training,activity,knowledge")) == 0
    assert (study / "robustness.csv").read_text() == before


@pytest.mark.parametrize(
    "more",
    [
        [],
        ["--set=data.modalities.sound.store=sounds"],
        ["--set=data={modalities: {sound: {store: sounds}}}"],
    ],
)
def test_unknown_aspect_is_refused_with_those_there_are_before_anything_runs(
    catalogue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    assert main(arguments(catalogue, tmp_path / "out", "--aspects=noise", *more)) == 2
    error = capsys.readouterr().err
    assert "no aspect is called noise" in error
    assert "interactions, training, knowledge, cold" in error
    assert ("missing-sound" in error) == bool(more)
    assert not (tmp_path / "out").exists()


def test_models_of_one_name_are_refused(
    catalogue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(catalogue, tmp_path, f"--model=EASE={CONFIGS / 'demo.yaml'}")) == 2
    assert "different names" in capsys.readouterr().err


def test_each_modality_has_an_aspect_that_concerns_models_that_read_it() -> None:
    aspect = {aspect.name: aspect for aspect in aspects(["image", "text"])}["missing-text"]
    assert aspect.settings(0.4) == {"data.perturbations.missing_features": {"text": 0.4}}
    assert aspect.concerns({"data": {"modalities": {"text": {}}}})
    assert not aspect.concerns({"data": {"modalities": None}})
    own = {"class_path": "my_package.MyData"}
    assert aspect.concerns({"data": {**own, "init_args": {"modalities": {"text": {}}}}})
    assert not aspect.concerns({"data": own})


@pytest.mark.parametrize(
    ("use", "model", "expected"),
    [
        (True, {"network": {"knowledge": {"enabled": True}}}, True),
        (True, {"network": {"knowledge": {"enabled": False}}}, False),
        (False, {"network": {"knowledge": {"enabled": True}}}, False),
        (True, {"class_path": "slifmr_pl.models.vbpr.Vbpr", "init_args": {}}, False),
        (True, {"class_path": "slifmr_pl.models.kgin.Kgin", "init_args": {}}, True),
        (True, {"class_path": "my_package.MyModel", "init_args": {}}, True),
    ],
)
def test_triples_concern_networks_that_read_them(use: bool, model: object, expected: bool) -> None:
    assert uses_knowledge({"data": {"use_knowledge": use}, "model": model}) == expected


def test_groups_are_of_equal_size_and_ordered_by_activity() -> None:
    groups = activity_groups(np.array([5, 1, 1, 9, 3, 3, 2]), 3)
    assert [group.tolist() for group in groups] == [[1, 2, 6], [4, 5], [0, 3]]


@pytest.mark.parametrize("metric", ["recal@20", "coverage@20"])
def test_metrics_that_no_run_would_measure_for_users_are_refused_before_anything_runs(
    catalogue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], metric: str
) -> None:
    assert main(arguments(catalogue, tmp_path / "out", f"--metrics={metric}")) == 2
    assert f"measures no {metric} of single users" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
