"""Each idea of a user's is trained, resumed exactly, run on two processes, used and reported."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from slifmr_pl import Recommender, load_model
from slifmr_pl import __all__ as public
from slifmr_pl.cli import main
from tests.extending.ideas import IDEAS, train, train_alone
from tests.processes import in_processes

ALL_PARTS = "all parts of SLIF-MR"
every_idea = pytest.mark.parametrize("idea", [idea for idea in IDEAS if idea != ALL_PARTS])
FILES = sorted((Path(__file__).parent / "parts").glob("[!_]*.py"))


@pytest.fixture(scope="module")
def straight(
    catalogue: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, dict[str, torch.Tensor]]]:
    """Folder and final state of an uninterrupted run of each idea; trained when asked for."""

    class Runs(dict[str, tuple[Path, dict[str, torch.Tensor]]]):
        def __missing__(self, idea: str) -> tuple[Path, dict[str, torch.Tensor]]:
            folder = tmp_path_factory.mktemp(idea.replace(" ", "_"))
            module, _ = train(idea, catalogue, folder)
            state = {name: value.clone() for name, value in module.state_dict().items()}
            self[idea] = folder, state
            return self[idea]

    return Runs()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_idea_is_one_short_file_of_public_names(file: Path) -> None:
    source = file.read_text("utf-8")
    assert len(source.splitlines()) <= 60
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            assert not any(a.name.split(".")[0] in ("slifmr_pl", "tests") for a in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            top = node.module.split(".")[0]
            assert top != "tests"
            if top == "slifmr_pl":
                assert node.module == "slifmr_pl"
                assert {alias.name for alias in node.names} <= set(public)
            if top == "feature_extraction":
                assert node.module == "feature_extraction"


@every_idea
def test_resumed_equals_uninterrupted_to_the_last_bit(
    straight: dict[str, tuple[Path, dict[str, torch.Tensor]]],
    catalogue: Path,
    tmp_path: Path,
    idea: str,
) -> None:
    folder, expected = straight[idea]
    module, _ = train(idea, catalogue, tmp_path, folder / "epochs" / "epoch=0.ckpt")
    actual = module.state_dict()
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(actual[name], value), name
    notes = [json.loads((place / "notes.json").read_text()) for place in (folder, tmp_path)]
    for kind in ("losses", "metrics"):
        assert notes[1][kind]["1"] == notes[0][kind]["1"]


@every_idea
def test_a_checkpoint_is_loaded_without_data_and_recommends_what_the_model_does(
    straight: dict[str, tuple[Path, dict[str, torch.Tensor]]], idea: str
) -> None:
    folder, expected = straight[idea]
    path = folder / "epochs" / "epoch=1.ckpt"
    module = load_model(path)
    for name, value in module.state_dict().items():
        assert torch.equal(value, expected[name]), name
    recommender = Recommender.from_checkpoint(path)
    user = recommender.catalogue.users.ids[0].as_py()
    (places,) = recommender.recommend([user], k=5)
    assert len(places) == 5
    scores = recommender.score(user, [place.item_id for place in places])
    assert scores == pytest.approx([place.score for place in places], rel=1e-4)


@pytest.mark.parametrize("idea", [ALL_PARTS, "data module", "model"])
def test_two_processes_hold_the_same_and_train_as_one_does(
    straight: dict[str, tuple[Path, dict[str, torch.Tensor]]],
    catalogue: Path,
    tmp_path: Path,
    idea: str,
) -> None:
    folder, _ = straight[idea]
    first, second = in_processes(2, train_alone, idea, catalogue, tmp_path)
    assert first == second
    notes = [json.loads((place / "notes.json").read_text()) for place in (folder, tmp_path)]
    # Sums of slices round otherwise than sums of the whole, and training amplifies that.
    for name, value in notes[0]["losses"]["0"].items():
        assert notes[1]["losses"]["0"][name] == pytest.approx(value, rel=1e-2), name
    assert notes[0]["metrics"]["0"].keys() == notes[1]["metrics"]["0"].keys()


def merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    both = {k for k in first.keys() & second.keys() if isinstance(second[k], dict)}
    return first | second | {key: merged(first[key], second[key]) for key in both}


def config(catalogue: Path, *ideas: str) -> dict[str, Any]:
    text = {"kind": "bert", "encoder": str(catalogue / "encoders" / "bert"), "columns": ["title"]}
    settings: dict[str, Any] = {
        "name": "idea",
        "plugins": ["tests.extending.plugin"],
        "seed_everything": 1,
        "model": {},
        "data": {
            "root": str(catalogue),
            "modalities": {"text": text},
            "batch_size": 128,
            "negatives": 4,
        },
        "trainer": {
            "accelerator": "cpu",
            "devices": 1,
            "max_epochs": 2,
            "enable_progress_bar": False,
        },
    }
    for idea in ideas:
        own = IDEAS[idea].settings(catalogue)
        for section, values in own.items():
            whole = "class_path" in values  # of another class
            settings[section] = values if whole else merged(settings[section], values)
    return settings


TOGETHER = {
    "parts of SLIF-MR": ("loss term", "correlation entry", "view", "negative sampler", "metric"),
    "raw inputs": ("encoder kind", "raw modality"),
    "data": ("reader",),
    "data module": ("data module",),
    "model": ("model",),
}


@pytest.mark.parametrize("ideas", TOGETHER.values(), ids=TOGETHER)
def test_from_yaml_everything_is_trained_tested_predicted_reported_and_exported(
    catalogue: Path,
    tmp_path: Path,
    ideas: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(yaml.safe_dump(config(catalogue, *ideas)))
    assert main(["fit", "--config", "mine.yaml"]) == 0
    run = tmp_path / "runs" / "idea" / "version_0"
    record = json.loads((run / "run.json").read_text())
    assert "tests.extending.plugin" in record["plugins"]
    (checkpoint,) = (run / "checkpoints").glob("epoch*.ckpt")
    # Settings of the run's own configuration, and none but those that the checkpoint holds.
    assert main(["test", "--config", str(run / "config.yaml"), "--ckpt_path", str(checkpoint)]) == 0
    tested = json.loads((run / "test.json").read_text())["metrics"]
    if "metric" in ideas:
        assert 0 < tested["test/diversity@20"] < 2
    assert (
        main(["predict", "--config", str(run / "config.yaml"), "--ckpt_path", str(checkpoint)]) == 0
    )
    assert (run / "recommendations.parquet").is_file()
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text("utf-8")
    assert "cannot be shown" not in page
    assert main(["export", str(checkpoint), "exported"]) == 0
    assert (tmp_path / "exported" / "embeddings.safetensors").is_file()
    capsys.readouterr()
    user, item = (
        getattr(Recommender.from_checkpoint(checkpoint).catalogue, side).ids[3].as_py()
        for side in ("users", "items")
    )
    explained = main(["explain", str(checkpoint), "--user", user, "--item", item])
    said = capsys.readouterr()
    if "model" in ideas:
        assert explained == 2
        assert "SimGcl does not explain its scores" in said.err
        return
    assert explained == 0
    assert "view" not in ideas or "BoughtTogether" in said.out
