"""What interrupts a run, and what it leaves behind: whole processes with the command line."""

import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import CSVLogger
from safetensors.torch import load_file

from slifmr_pl.callbacks.checkpoints import LastCheckpoint
from slifmr_pl.cli import main
from slifmr_pl.errors import CheckpointError, DivergenceError
from slifmr_pl.module import SlifMrModule
from slifmr_pl.runs.atomic_files import write_whole
from slifmr_pl.runs.run_folders import last_of_newest_run, last_path, new_run_folder
from tests.checkpoints.faults import (
    EPOCHS,
    SPAWN,
    Killer,
    compare,
    finish,
    last_checkpoint,
    rows_of,
    seconds_of,
    small_config,
    start,
)
from tests.tiny_runs import demo_data, full_model, trainer

EVERY_STEP = ["--last_checkpoint.minutes", "0"]


@pytest.fixture(scope="module")
def arguments(catalogue: Path, cache: Path) -> list[str]:
    return small_config(catalogue)


@pytest.fixture(scope="module")
def unbroken(arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of a run that nothing interrupts."""
    root = tmp_path_factory.mktemp("unbroken")
    assert finish(start([*arguments, *EVERY_STEP], root)) == 0, (root / "log").read_text()
    return root


def log(root: Path) -> str:
    return (root / "log").read_text()


def test_killed_runs_end_like_the_unbroken_one(
    arguments: list[str], unbroken: Path, tmp_path: Path
) -> None:
    killer = Killer([*arguments, *EVERY_STEP], seconds_of(unbroken))
    for trial, moments in enumerate([(0.3, 0.6), (0.8, 0.2)]):
        killer.run(tmp_path / str(trial), moments)
        assert compare(tmp_path / str(trial), unbroken) == []
    assert killer.counts["kills"] > 0


class KilledOnceItSaved(LastCheckpoint):
    """Kills the process at the end of the second epoch, before anything follows the save."""

    def save(self, trainer: pl.Trainer) -> None:
        super().save(trainer)
        if trainer.current_epoch == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def fit_logged(catalogue: Path, folder: Path, *callbacks: Callback, **options: Any) -> None:
    torch.set_num_threads(1)  # as in this process: sums of several threads have another order
    logger = CSVLogger(folder, name=None, version="")
    run = trainer(folder, 3, *callbacks, logger=logger, log_every_n_steps=1)
    run.fit(full_model(), datamodule=demo_data(catalogue), **options)


def test_no_checkpoint_is_ahead_of_the_metrics(
    catalogue: Path, cache: Path, tmp_path: Path
) -> None:
    """A row that a kill could come before would be missing, since no resumed run writes it."""
    folders = [tmp_path / name for name in ("unbroken", "killed", "resumed")]
    fit_logged(catalogue, folders[0], LastCheckpoint())
    killed = SPAWN.Process(target=fit_logged, args=(catalogue, folders[1], KilledOnceItSaved()))
    killed.start()
    assert finish(killed) == -signal.SIGKILL
    fit_logged(catalogue, folders[2], ckpt_path=str(last_path(folders[1])))
    unbroken, *halves = (rows_of(folder / "metrics.csv") for folder in folders)
    assert [len(half) for half in halves] == [4, 2]  # one of validation, one of training
    assert halves[0] + halves[1] == unbroken


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_and_ends_without_a_traceback(
    arguments: list[str], unbroken: Path, tmp_path: Path, signum: signal.Signals
) -> None:
    process = start([*arguments, "--trainer.max_epochs", "1000"], tmp_path)
    while last_checkpoint(tmp_path) is None:
        process.join(0.01)
        assert process.exitcode is None, log(tmp_path)
    assert process.pid is not None
    os.kill(process.pid, signum)
    assert finish(process) == 128 + signum, log(tmp_path)
    saved = last_checkpoint(tmp_path)
    assert saved is not None
    assert f"go on with --ckpt_path {saved}" in log(tmp_path)
    assert "Traceback" not in log(tmp_path)
    checkpoint = torch.load(saved, weights_only=True)
    more = ["--ckpt_path", "last", "--trainer.max_epochs", str(checkpoint["epoch"] + 1)]
    assert finish(start([*arguments, *more], tmp_path)) == 0, log(tmp_path)


def test_signal_before_training_ends_without_a_traceback(
    arguments: list[str], tmp_path: Path
) -> None:
    process = start(arguments, tmp_path)
    while not (tmp_path / "log").exists() or "Seed set" not in log(tmp_path):
        process.join(0.005)
        assert process.exitcode is None, log(tmp_path)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    assert finish(process) == 130, log(tmp_path)
    assert "Traceback" not in log(tmp_path)


def test_divergence_ends_at_once_with_what_led_to_it_and_the_checkpoint_before(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ["--trainer.default_root_dir", str(tmp_path)]
    settings = ["--model.optimizer.learning_rate", "1e30", *EVERY_STEP]
    assert main([*arguments, *root, *settings]) == 2
    printed = capsys.readouterr().err
    assert "training diverged in epoch 0, batch 1 (step 1)" in printed
    assert "fix:" in printed
    folder = tmp_path / "demo" / "version_0"
    batch = load_file(folder / "diverged" / "batch.safetensors")
    assert batch["negatives"].shape == (len(batch["users"]), 32)
    state = load_file(folder / "diverged" / "module.safetensors")
    record = (folder / "diverged" / "losses.json").read_text()
    assert '"batches_since": 0' in record
    assert '"nan"' in record or '"inf"' in record
    # The weights after the first step, which are finite: the losses they give are not.
    saved = SlifMrModule.load_from_checkpoint(last_path(folder))
    for name, tensor in saved.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_diverged_weights_are_not_saved_over_good_ones(unbroken: Path, tmp_path: Path) -> None:
    source = last_checkpoint(unbroken)
    assert source is not None
    module = SlifMrModule.load_from_checkpoint(source)
    fit = trainer(tmp_path, 1)
    fit.strategy.connect(module)
    fit.save_checkpoint(tmp_path / "good.ckpt")
    good = (tmp_path / "good.ckpt").read_bytes()
    with torch.no_grad():
        next(module.parameters()).view(-1)[0] = torch.nan
    with pytest.raises(DivergenceError, match="1 of"):
        fit.save_checkpoint(tmp_path / "good.ckpt")
    assert (tmp_path / "good.ckpt").read_bytes() == good


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of this process may grow beyond 64 KiB, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_leaves_the_checkpoint_before_and_a_message(
    arguments: list[str],
    unbroken: Path,
    tmp_path: Path,
    small_files: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*arguments, "--trainer.default_root_dir", str(tmp_path)]) == 2
    printed = capsys.readouterr().err
    assert "cannot be written (File too large)" in printed
    assert "fix:" in printed
    assert not list(tmp_path.rglob("*.partial"))
    assert not list(tmp_path.rglob("*.ckpt"))


def test_folder_that_takes_no_files_is_named(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--trainer.default_root_dir", "/proc/slifmr"]) == 2
    printed = capsys.readouterr().err
    assert "/proc/slifmr" in printed
    assert "fix:" in printed


def test_runs_that_start_at_the_same_time_get_folders_of_their_own(
    arguments: list[str], tmp_path: Path
) -> None:
    both = [start([*arguments, "--trainer.max_epochs", "1"], tmp_path) for _ in range(2)]
    assert [finish(process) for process in both] == [0, 0], log(tmp_path)
    for version in range(2):
        folder = tmp_path / "demo" / f"version_{version}"
        assert torch.load(last_path(folder), weights_only=True)["epoch"] == 0
        rows = (folder / "metrics.csv").read_text().splitlines()
        assert len(rows) == 3


def test_last_is_that_of_the_newest_run_that_began(tmp_path: Path, unbroken: Path) -> None:
    source = last_checkpoint(unbroken)
    assert source is not None
    folders = [new_run_folder(tmp_path, claim=True) for _ in range(3)]
    for folder in folders[:2]:
        write_whole(last_path(folder), source.read_bytes())
        (folder / "run.json").touch()
    (folders[2] / "config.yaml").touch()  # it was refused
    assert last_of_newest_run(tmp_path) == last_path(folders[1])
    (folders[2] / "run.json").touch()
    with pytest.raises(CheckpointError, match="version_2, ended before its first save") as refusal:
        last_of_newest_run(tmp_path)
    assert f"--ckpt_path {last_path(folders[1])}" in str(refusal.value)


def test_run_that_never_trained_leaves_no_folder(arguments: list[str], tmp_path: Path) -> None:
    wrong = ["--data.modalities.text.columns", "[tilte]"]
    assert main([*arguments, *wrong, "--trainer.default_root_dir", str(tmp_path)]) == 2
    assert not list(tmp_path.glob("demo/*"))


def test_fewer_epochs_than_the_checkpoint_has_are_refused(
    arguments: list[str], unbroken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ["--ckpt_path", str(last_checkpoint(unbroken)), "--trainer.max_epochs"]
    root = ["--trainer.default_root_dir", str(tmp_path)]
    assert main([*arguments, *root, *path, str(EPOCHS - 1)]) == 2
    assert f"has begun {EPOCHS} epochs" in capsys.readouterr().err
    assert main([*arguments, *root, *path, str(EPOCHS)]) == 0


def test_killed_extraction_goes_on_with_the_modalities_that_were_finished(
    arguments: list[str], tmp_path: Path
) -> None:
    stores = tmp_path / "cache" / "features"
    fresh = [*arguments, "--data.cache_dir", str(tmp_path / "cache")]
    fresh += ["--data.extraction.batch_size", "1", "--trainer.max_epochs", "1"]
    process = start(fresh, tmp_path)

    def finished(modality: str) -> bool:
        return any(path.suffix != ".partial" for path in stores.glob(f"{modality}-*"))

    while not finished("image"):
        process.join(0.002)
        assert process.exitcode is None, log(tmp_path)
    process.kill()
    process.join()
    assert not finished("text")
    assert finish(start(fresh, tmp_path)) == 0, log(tmp_path)
    assert f"reused {stores}/image-" in log(tmp_path)
    assert f"extracted {stores}/text-" in log(tmp_path)
