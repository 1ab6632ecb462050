"""Checkpoints that cannot be used are refused in words, and nothing in them is executed."""

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.demos.boring_classes import BoringDataModule, BoringModel

from slifmr_pl.checkpoints.io import AtomicCheckpointIO
from slifmr_pl.cli import main
from slifmr_pl.errors import CheckpointError
from slifmr_pl.module import SlifMrModule
from tests.checkpoints.faults import small_config
from tests.tiny_runs import demo_data, full_model, trainer

Checkpoint = dict[str, Any]


@pytest.fixture(scope="module")
def arguments(catalogue: Path, cache: Path) -> list[str]:
    return [*small_config(catalogue)[1:], "--trainer.max_epochs", "1"]


@pytest.fixture(scope="module")
def whole(arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good checkpoint, of the command line."""
    root = tmp_path_factory.mktemp("whole")
    assert main(["fit", *arguments, "--trainer.default_root_dir", str(root)]) == 0
    return root / "demo" / "version_0" / "checkpoints" / "last.ckpt"


class Harmful:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def foreign_module(path: Path) -> None:
    fit = pl.Trainer(
        max_steps=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    fit.fit(BoringModel(), datamodule=BoringDataModule())
    fit.save_checkpoint(path)


def foreign_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("word/document.xml", "<document/>")


FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "cannot be read"),
    "random": (lambda path: path.write_bytes(torch.randint(256, (9999,)).byte().numpy()), "cannot"),
    "zip": (foreign_zip, "cannot be read"),
    "pickled": (
        lambda path: torch.save({"slifmr": Harmful(path.parent / "executed")}, path),
        "cannot be read",
    ),
    "list": (lambda path: torch.save([1, 2], path), "no entry 'slifmr'"),
    "module": (foreign_module, "no entry 'slifmr'"),
}


@pytest.mark.parametrize("kind", FILES)
def test_foreign_file_is_refused(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    path = tmp_path / "foreign.ckpt"
    write, expected = FILES[kind]
    write(path)
    with pytest.raises(CheckpointError, match=expected):
        SlifMrModule.load_from_checkpoint(path)
    for subcommand in ("fit", "test"):
        assert main([subcommand, *arguments, "--ckpt_path", str(path)]) == 2
        printed = capsys.readouterr().err
        assert expected in printed
        assert "fix:" in printed
    assert not (tmp_path / "executed").exists()


def set_in(*keys: Any, value: Any) -> Callable[[Checkpoint], None]:
    def change(checkpoint: Checkpoint) -> None:
        place: Any = checkpoint
        for key in keys[:-1]:
            place = place[key]
        old = place[keys[-1]]
        place[keys[-1]] = value(old) if callable(value) else value

    return change


def without(*keys: Any) -> Callable[[Checkpoint], None]:
    def change(checkpoint: Checkpoint) -> None:
        place: Any = checkpoint
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]

    return change


def first_set(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.clone()
        tensor.view(-1)[0] = value
        return tensor

    return change


GRAPH = ("slifmr", "graph")
ALTERED: dict[str, tuple[Callable[[Checkpoint], None], str]] = {
    "format": (set_in("slifmr", "format_version", value=2), "format version 2"),
    "settings": (without("hyper_parameters"), "no entry 'hyper_parameters'"),
    "settings type": (set_in("hyper_parameters", value=[1]), "no entry 'hyper_parameters'"),
    "loop": (
        set_in("state_dict", "self_loop.next_neighbours", value=first_set(10**6)),
        "of a table of 60",
    ),
    "graph items": (set_in(*GRAPH, "items", value=first_set(60)), "of a table of 60"),
    "graph users": (set_in(*GRAPH, "users", value=first_set(-1)), "of a table of 90"),
    "graph dtype": (set_in(*GRAPH, "users", value=lambda t: t.double()), "users is torch.float64"),
    "pairs": (set_in(*GRAPH, "users", value=lambda t: t[:-1]), "items is torch.int32"),
    "neighbours": (
        set_in(*GRAPH, "modalities", "text", "indices", value=first_set(77)),
        "of a table of 60",
    ),
    "mask": (
        set_in(*GRAPH, "modalities", "text", "present", value=lambda t: t.float()),
        "items that have text is torch.float32",
    ),
    "triples": (set_in(*GRAPH, "triples", "tails", value=first_set(10**6)), "tails have rows"),
    "relations": (set_in(*GRAPH, "triples", "n_relations", value="9"), "no sizes"),
    "means": (
        set_in("slifmr", "means", value=[{"names": ["loss"], "sums": [1.0]}]),
        "means are not the sums of an epoch",
    ),
    "means type": (set_in("slifmr", "means", value=[1.0]), "of another type"),
    "seed": (set_in("slifmr", "seed", value=-1), "seed is no whole number"),
    "model": (without("slifmr", "model"), "does not name its model"),
    "feature sizes": (set_in("slifmr", "features", "text", value=0), "features are no sizes"),
    "vocabulary": (without("slifmr", "vocabulary"), "'vocabulary'"),
    "regression rows": (
        set_in("slifmr", "regression", "shared_factors", value=lambda t: t[:-1]),
        "the regression is torch.float32",
    ),
    "regression share": (
        set_in("slifmr", "regression", "residual_share", value=lambda t: t * torch.inf),
        "shares is not finite",
    ),
    "regression share above 1": (
        set_in("slifmr", "regression", "residual_share", value=lambda t: t + 1),
        "the regression is not one of 60 items",
    ),
    "regression weight": (
        set_in("slifmr", "regression", "weight", value=-0.5),
        "the regression's weight is -0.5",
    ),
    "random state": (set_in("slifmr", "random_state", value=torch.zeros(3)), "random_state"),
}
TENSORS: dict[str, tuple[Callable[[torch.Tensor], Any], str]] = {
    "shape": (lambda t: t[:-1], "instead of"),
    "transposed": (lambda t: t.T.contiguous(), "instead of"),
    "dtype": (lambda t: t.double(), "float64"),
    "not finite": (first_set(float("nan")), "not finite"),
    "no tensor": (lambda t: [1.0], "no tensor"),
}


def refused(
    whole: Path,
    folder: Path,
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Checkpoint], None],
    expected: str,
) -> None:
    checkpoint = torch.load(whole, weights_only=True)
    change(checkpoint)
    path = folder / "altered.ckpt"
    torch.save(checkpoint, path)
    with pytest.raises(CheckpointError, match=expected):
        SlifMrModule.load_from_checkpoint(path)
    root = ["--trainer.default_root_dir", str(folder / "runs")]
    assert main(["fit", *arguments, *root, "--ckpt_path", str(path)]) == 2
    printed = capsys.readouterr().err
    assert expected in printed
    assert "fix:" in printed


@pytest.mark.parametrize("kind", ALTERED)
def test_altered_checkpoint_is_refused(
    whole: Path, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    refused(whole, tmp_path, arguments, capsys, *ALTERED[kind])


@pytest.mark.parametrize("kind", TENSORS)
def test_weight_that_is_not_of_the_module_is_refused(
    whole: Path, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    names = torch.load(whole, weights_only=True)["state_dict"]
    name = max(
        (name for name, tensor in names.items() if tensor.dim() == 2 and "network" in name),
        key=lambda name: names[name].numel(),
    )
    change, expected = TENSORS[kind]
    refused(whole, tmp_path, arguments, capsys, set_in("state_dict", name, value=change), expected)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (without("optimizer_states"), "optimizer_states"),
        (without("loops"), "loops"),
        (set_in("loops", value={}), "position of the training loop"),
        (
            set_in("optimizer_states", 0, "state", 0, "exp_avg", value=lambda t: t[:-1]),
            "exp_avg of parameter 0",
        ),
    ],
)
def test_checkpoint_without_a_training_state_scores_and_is_not_resumed(
    whole: Path,
    arguments: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Checkpoint], None],
    expected: str,
) -> None:
    checkpoint = torch.load(whole, weights_only=True)
    change(checkpoint)
    path = tmp_path / "weights.ckpt"
    torch.save(checkpoint, path)
    SlifMrModule.load_from_checkpoint(path)
    root = ["--trainer.default_root_dir", str(tmp_path / "runs")]
    assert main(["fit", *arguments, *root, "--ckpt_path", str(path)]) == 2
    assert expected in capsys.readouterr().err


def renamed(catalogue: Path, root: Path) -> Path:
    """The catalogue with another raw id for its first user, in the same place: all sizes stay."""
    shutil.copytree(catalogue, root)
    path = root / "interactions.csv"
    header, *rows = path.read_text().splitlines()
    first = min(row.split(",")[0] for row in rows)
    renamed_rows = [row.replace(f"{first},", f"{first}x,", 1) for row in rows]
    path.write_text("\n".join([header, *renamed_rows]) + "\n")
    return root


def test_same_sizes_with_other_ids_are_refused(
    whole: Path,
    arguments: list[str],
    catalogue: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = renamed(catalogue, tmp_path / "renamed")
    here, there = demo_data(catalogue).data, demo_data(root).data
    assert len(here.users) == len(there.users)
    assert here.train.users.tolist() == there.train.users.tolist()
    assert here.train.items.tolist() == there.train.items.tolist()
    assert here.vocabulary_fingerprint != there.vocabulary_fingerprint
    assert here.fingerprint != there.fingerprint  # which covers the ids too
    for subcommand in ("fit", "test"):
        other = [*arguments, "--data.root", str(root), "--ckpt_path", str(whole)]
        out = ["--trainer.default_root_dir", str(tmp_path / "runs")]
        assert main([subcommand, *other, *out]) == 2
        printed = capsys.readouterr().err
        assert "the data has other ids: vocabulary fingerprint" in printed
        assert "fix:" in printed


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (["--data.filters.k_core", "10"], "users, in the checkpoint 90"),
        (["--data.split.seed", "5"], "fingerprint"),
        (["--data.neighbours", "3"], "fingerprint"),
    ],
)
def test_other_sizes_and_other_data_are_refused(
    whole: Path,
    arguments: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: list[str],
    expected: str,
) -> None:
    for subcommand in ("fit", "test"):
        out = ["--trainer.default_root_dir", str(tmp_path / "runs")]
        assert main([subcommand, *arguments, *change, *out, "--ckpt_path", str(whole)]) == 2
        assert expected in capsys.readouterr().err


def test_trainer_with_this_storage_refuses_by_itself(catalogue: Path, tmp_path: Path) -> None:
    path = tmp_path / "harmful.ckpt"
    torch.save({"slifmr": Harmful(tmp_path / "executed")}, path)
    fit = trainer(tmp_path, 1, plugins=[AtomicCheckpointIO()])
    with pytest.raises(CheckpointError, match="cannot be read"):
        fit.fit(
            full_model(), datamodule=demo_data(catalogue), ckpt_path=str(path), weights_only=False
        )
    assert not (tmp_path / "executed").exists()
