import io
import re
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from rich.console import Console

from slifmr_pl.callbacks.parameter_summary import ParameterSummary
from slifmr_pl.callbacks.training_progress import TrainingProgress
from slifmr_pl.cli import main
from slifmr_pl.datamodule import SlifMrDataModule
from slifmr_pl.models.most_popular import MostPopular
from tests.tiny_runs import demo_data, every_epoch, full_model, trainer

MONITOR = "val/recall@20"


@pytest.fixture(scope="module")
def data(catalogue: Path) -> SlifMrDataModule:
    return demo_data(catalogue)


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What the callback wrote, without what other parts log."""
    own = ("epoch ", "loss ", "Ended ", "Computing ", "Done ")
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith(own)]


def fitted(folder: Path, data: SlifMrDataModule, *callbacks: Any, **options: Any) -> pl.Trainer:
    run = trainer(
        folder,
        options.pop("max_epochs", 3),
        TrainingProgress(),
        *callbacks,
        enable_progress_bar=True,
        **options,
    )
    run.fit(full_model(), datamodule=data)
    return run


def test_elsewhere_than_in_a_terminal_an_epoch_is_a_line(
    data: SlifMrDataModule, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopping = EarlyStopping(MONITOR, mode="max", patience=7)
    run = fitted(tmp_path, data, stopping)
    *epochs, end = said(capsys)
    assert [line.partition("  ")[0] for line in epochs] == ["epoch 0/2", "epoch 1/2", "epoch 2/2"]
    values = run.callback_metrics
    assert f"loss {values['train/loss']:.4f}  {MONITOR} {values[MONITOR]:.4f}  best" in epochs[-1]
    shown = [float(re.search(r"@20 ([\d.]+)", line)[1]) for line in epochs]  # type: ignore[index]
    best = max(range(3), key=lambda epoch: (shown[epoch], -epoch))
    assert f"best {shown[best]:.4f} in epoch {best}  patience {7 - (2 - best)}  " in epochs[-1]
    assert epochs[-1].endswith("left 0:00")
    assert re.fullmatch(r"Ended after 3 epochs in 0:\d\d: trainer.max_epochs 3 is reached", end)


def test_early_stopping_is_named_as_the_end(
    data: SlifMrDataModule, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fitted(tmp_path, data, EarlyStopping(MONITOR, mode="max", patience=1, min_delta=1.0))
    end = said(capsys)[-1]
    assert end.startswith("Ended after 2 epochs in ")
    assert end.endswith(f"{MONITOR} was not better in 1 validations (early_stopping.patience)")


def test_end_of_the_time_is_named(
    data: SlifMrDataModule, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fitted(tmp_path, data, max_time={"milliseconds": 1})
    assert said(capsys)[-1].endswith("trainer.max_time is over")


def test_run_that_goes_on_remembers_the_best_epoch(
    data: SlifMrDataModule, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saver = every_epoch(tmp_path, monitor=MONITOR, mode="max")
    fitted(tmp_path, data, saver, max_epochs=2)
    before = said(capsys)[1]
    run = trainer(
        tmp_path,
        3,
        TrainingProgress(),
        ModelCheckpoint(tmp_path / "again", monitor=MONITOR, mode="max"),
        enable_progress_bar=True,
    )
    run.fit(full_model(), datamodule=data, ckpt_path=tmp_path / "epoch=1.ckpt")
    line, end = said(capsys)
    assert line.startswith("epoch 2/2")
    best = re.search(r"best ([\d.]+) in epoch (\d)", before)
    assert best is not None
    value = float(re.search(r"@20 ([\d.]+)", line)[1])  # type: ignore[index]
    expected = best[0] if float(best[1]) >= value else f"best {value:.4f} in epoch 2"
    assert expected in line
    assert end.startswith("Ended after 1 epochs")


def test_bar_in_a_terminal_fits_eighty_columns_and_has_the_same_facts(
    data: SlifMrDataModule,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(
        "slifmr_pl.callbacks.training_progress.Console",
        lambda **_: Console(file=screen, force_terminal=True, width=80, no_color=True),
    )
    fitted(tmp_path, data, EarlyStopping(MONITOR, mode="max", patience=100), max_epochs=2)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    lines = [line for line in re.split(r"[\r\n]+", text) if line.strip()]
    assert max(map(len, lines)) == 80
    assert any(line.startswith("epoch 1/1, validating") for line in lines)
    assert any(re.match(r"epoch 1/1 .* s  left 0:0\d$", line.rstrip()) for line in lines)
    last = [line for line in lines if line.startswith("loss ")][-1].rstrip()
    assert MONITOR in last
    facts, end = said(capsys)
    assert facts == last
    assert end.startswith("Ended after 2 epochs")


def test_closed_form_has_no_epochs(
    data: SlifMrDataModule, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trainer(tmp_path, 3, TrainingProgress(), enable_progress_bar=True)
    run.fit(MostPopular(), datamodule=data)
    assert [line.split()[0] for line in said(capsys)] == ["Computing", "Done"]


def test_parameters_are_counted_in_a_line(
    data: SlifMrDataModule, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = full_model()
    model.connect(data.model_inputs)
    with caplog.at_level("INFO"):
        trainer(tmp_path, 1, ParameterSummary()).fit(model, datamodule=data)
    (line,) = (m for m in caplog.messages if "trained parameters" in m)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert line.startswith(f"{count / 1000:.1f} K trained parameters: network ")
    assert "objective" in line


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ([], ["epoch 0/0"]),
        (["--trainer.enable_progress_bar", "false"], []),
        (["--trainer.callbacks+=TQDMProgressBar"], []),
    ],
)
def test_command_line_shows_it_unless_another_is_asked_for(
    catalogue: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    shown: list[str],
) -> None:
    arguments = ["--data.root", str(catalogue), "--trainer.default_root_dir", str(tmp_path)]
    arguments += ["--trainer.accelerator", "cpu", "--trainer.max_epochs", "1"]
    assert main(["fit", *arguments, *options]) == 0
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert [line.partition("  ")[0] for line in lines if line.startswith("epoch ")] == shown
    for unwanted in ("TPU", "FLOPs", "v_num"):
        assert unwanted not in captured.err
    assert "FLOPs" not in captured.out
