"""Baselines through the command line: the same folders, protocol and comparison as the network."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from slifmr_pl.cli import main
from slifmr_pl.runs.reading import read_evaluation
from tests.studies.processes import in_this_process as in_this_process
from tests.tiny_runs import demo_data

ROOT = Path(__file__).parents[2]
PRESETS = sorted((ROOT / "configs" / "model").glob("*.yaml"))
NAMES = [path.stem for path in PRESETS if path.read_text().startswith("# Baseline")]
OWN_CLASSES = [path.stem for path in PRESETS if "slifmr_pl.models." in path.read_text()]


def configs(name: str, catalogue: Path) -> list[str]:
    files = [ROOT / "configs" / "demo.yaml", ROOT / "configs" / "model" / f"{name}.yaml"]
    return [*(f"--config={file}" for file in files), f"--data.root={catalogue}"]


@pytest.fixture(scope="module")
def runs(catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tested run of each baseline, and one of the network."""
    root = tmp_path_factory.mktemp("runs")
    folders = {}
    for name in NAMES:
        arguments = [f"--name={name}", f"--trainer.default_root_dir={root}"]
        arguments += ["--trainer.max_epochs=1", "--trainer.enable_progress_bar=false"]
        arguments += ["--trainer.logger=false", "--model.ks=[5, 20]"]
        assert main(["fit", *configs(name, catalogue), *arguments]) == 0
        folder = root / name / "version_0"
        (best,) = (folder / "checkpoints").glob("epoch*.ckpt")
        assert main(["test", f"--config={folder / 'config.yaml'}", f"--ckpt_path={best}"]) == 0
        folders[name] = folder
    return folders


def test_compare_reads_baselines_beside_the_network(runs: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "comparison.json"
    folders = [str(runs[name]) for name in NAMES]
    assert main(["compare", *folders, "--resamples", "100", "--json", str(path)]) == 0
    assert {run.split("@")[1] for run in read_evaluation(runs["ease"], "test").columns} == {
        "5",
        "20",
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_baseline_predicts_and_is_reported(
    runs: dict[str, Path], tmp_path: Path, name: str
) -> None:
    folder = runs[name]
    (best,) = (folder / "checkpoints").glob("epoch*.ckpt")
    config, out = f"--config={folder / 'config.yaml'}", tmp_path / "lists"
    assert main(["predict", config, f"--ckpt_path={best}", f"--recommendations.folder={out}"]) == 0
    assert pq.read_table(out).num_rows > 0
    assert main(["report", str(folder), f"--out={tmp_path / 'page.html'}"]) == 0
    assert "Users by activity" in (tmp_path / "page.html").read_text()


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("name", OWN_CLASSES)
def test_every_model_of_its_own_is_searched_and_degraded(
    catalogue: Path, tmp_path: Path, name: str
) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("data.batch_size: {choices: [512]}\n")
    files = [str(ROOT / "configs" / "demo.yaml"), str(ROOT / "configs" / "model" / f"{name}.yaml")]
    settings = [f"data.root={catalogue}", "trainer.max_epochs=1"]
    common = [*files, *(f"--set={one}" for one in settings), f"--out={tmp_path / 'out'}"]
    assert main(["sweep", *common, f"--space={space}", "--trials=1"]) == 0
    (trial,) = json.loads((tmp_path / "out" / "trials.json").read_text())
    assert trial["state"] == "complete"
    degraded = ["--aspects=activity", "--seeds", "1", "--no-plot"]
    assert main(["robustness", *common[:-1], f"--out={tmp_path / 'robustness'}", *degraded]) == 0
    rows = json.loads((tmp_path / "robustness" / "robustness.json").read_text())
    assert [row["aspect"] for row in rows] == ["activity"] * 4


def test_closed_forms_take_one_step_and_are_recorded(runs: dict[str, Path]) -> None:
    for name in ("most_popular", "item_knn", "ease"):
        record = json.loads((runs[name] / "run.json").read_text())
        assert (record["outcome"], record["epochs"]) == ("finished", 1)
        assert record["best"]["monitor"] == "val/recall@20"


def test_most_popular_recommends_what_most_have_and_the_user_has_not(
    runs: dict[str, Path], catalogue: Path
) -> None:
    data = demo_data(catalogue, modalities={}, use_knowledge=False).data
    counts = np.bincount(data.train.items, minlength=len(data.items))
    best = np.argsort(-counts, kind="stable")
    evaluation = read_evaluation(runs["most_popular"], "test")
    hits = []
    for user in data.users.encode(evaluation.users):
        known = [*data.train.items[data.train.users == user]]
        known += [*data.valid.items[data.valid.users == user]]
        relevant = data.test.items[data.test.users == user]
        top = best[~np.isin(best, known)][:20]
        hits.append(np.isin(relevant, top).mean())
    assert evaluation.values[:, evaluation.columns.index("recall@20")] == pytest.approx(hits)


def test_checkpoint_of_other_settings_or_of_another_model_is_refused(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (best,) = (runs["ease"] / "checkpoints").glob("epoch*.ckpt")
    own, other = (f"--config={runs[name] / 'config.yaml'}" for name in ("ease", "lightgcn"))
    assert main(["test", own, "--model.l2=7.0", f"--ckpt_path={best}"]) == 2
    assert "model.l2 is 7.0, and 250.0 in the checkpoint" in capsys.readouterr().err
    assert main(["test", other, f"--ckpt_path={best}"]) == 2
    assert "in the checkpoint" in capsys.readouterr().err
