"""Loggers of others: what the documentation says of them is taken, and their errors are words."""

import re
from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning.loggers import CSVLogger

from slifmr_pl.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "training.md"
LINES = re.findall(r"^slifmr fit --config mine.yaml (--trainer.logger .+)$", PAGE.read_text(), re.M)


def test_readme_names_both() -> None:
    assert [line.split()[1] for line in LINES] == ["MLFlowLogger", "WandbLogger"]


@pytest.mark.parametrize("line", LINES)
def test_flags_of_the_readme_are_taken(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:  # as --print_config ends
        main(["fit", "--data.root", "data", *line.split(), "--print_config"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert line.split()[1] in printed
    assert all(value in printed for value in line.split()[3:])


class MlflowException(Exception):
    """Of mlflow by the name of its module, which is all that is looked at."""


MlflowException.__module__ = "mlflow.exceptions"


class RefusedLogger(CSVLogger):
    """Fails where mlflow's does: when its experiment is asked for."""

    @property
    def experiment(self) -> Any:
        raise MlflowException("The file store is in maintenance mode.\n\nA long explanation")


class NeverMade(CSVLogger):
    """Fails where mlflow's does if its store is refused: when it is made."""

    def __init__(self, save_dir: str) -> None:
        raise MlflowException("The file store is in maintenance mode.\n\nA long explanation")


@pytest.mark.parametrize("kind", [RefusedLogger, NeverMade])
def test_logger_that_cannot_write_ends_the_run_with_its_reason(
    tmp_path: Path, catalogue: Path, capsys: pytest.CaptureFixture[str], kind: type
) -> None:
    flags = ["--data.root", str(catalogue), "--trainer.accelerator", "cpu"]
    flags += ["--trainer.default_root_dir", str(tmp_path), "--trainer.logger.save_dir", "x"]
    name = f"{kind.__module__}.{kind.__name__}"
    assert main(["fit", *flags[:-2], "--trainer.logger", name, *flags[-2:]]) == 2
    printed = capsys.readouterr().err
    assert "mlflow does not take the run: The file store is in maintenance mode." in printed
    assert "A long explanation" not in printed
    assert "tracking_uri sqlite:///mlflow.db" in printed
    assert not list(tmp_path.glob("slifmr/version_*"))
