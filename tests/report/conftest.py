"""A real run of the small demo catalogue, with a hostile title, tested."""

import csv
import shutil
from pathlib import Path

import pytest

from slifmr_pl.cli import main

HOSTILE = '<script>document.title = "broken"</script><img src=x onerror=alert(1)>'


@pytest.fixture(scope="session")
def shop(catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The catalogue, in which every other title is hostile."""
    root = tmp_path_factory.mktemp("shop") / "data"
    shutil.copytree(catalogue, root)
    with (root / "items.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows[::2]:
        row["title"] = HOSTILE
    with (root / "items.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return root


@pytest.fixture(scope="session")
def run_folder(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's folder."""
    root = tmp_path_factory.mktemp("reported")
    arguments = ["--config", "configs/demo.yaml", "--data.root", str(shop)]
    arguments += ["--trainer.default_root_dir", str(root), "--trainer.max_epochs", "3"]
    arguments += ["--trainer.enable_progress_bar", "false"]
    # Weighed more, it makes the first epoch the best, and that has no correlation graph.
    arguments += ["--model.network.regression.weight", "0.05"]
    assert main(["fit", *arguments]) == 0
    folder = root / "demo" / "version_0"
    (best,) = (folder / "checkpoints").glob("epoch*.ckpt")
    assert main(["test", "--config", str(folder / "config.yaml"), "--ckpt_path", str(best)]) == 0
    return folder
