import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from slifmr_pl import __version__
from slifmr_pl.cli import main


@pytest.fixture(scope="module")
def config(catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's configuration, on the small catalogue, two epochs."""
    values = yaml.safe_load(Path("configs/demo.yaml").read_text())
    values["data"]["root"] = str(catalogue)
    values["model"] = {"network": {"embedding_dim": 48}, "loss": {"l2": 2.0e-2}}
    values["trainer"] |= {"max_epochs": 2, "enable_progress_bar": False}
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture(scope="module")
def run(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    root = tmp_path_factory.mktemp("runs")
    assert main(["fit", "--config", str(config), "--trainer.default_root_dir", str(root)]) == 0
    return root / "demo" / "version_0"


def best(run: Path) -> str:
    (checkpoint,) = (run / "checkpoints").glob("epoch*.ckpt")
    return str(checkpoint)


def test_fit_leaves_config_metrics_events_and_checkpoints_in_one_folder(run: Path) -> None:
    assert (run / "config.yaml").is_file()
    assert (run / "checkpoints" / "last.ckpt").is_file()
    assert any(run.glob("events.out.tfevents.*"))
    header = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"val/recall@20", "train/loss", "self_loop/edges", "self_loop/overlap"} <= set(header)
    record = json.loads((run / "run.json").read_text())
    assert (record["outcome"], record["seed"]) == ("finished", 2026)
    assert record["command"].startswith("slifmr fit --config ")
    assert str(run / record["best"]["checkpoint"]) == best(run)


def test_fit_ends_with_the_best_checkpoint_and_the_command_that_tests_it(
    config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ["fit", "--config", str(config), "--trainer.default_root_dir", str(tmp_path)]
    assert main([*arguments, "--trainer.max_epochs", "1"]) == 0
    folder = tmp_path / "demo" / "version_0"
    assert best(folder) in caplog.text
    assert f" test --config {folder / 'config.yaml'} --ckpt_path {best(folder)}" in caplog.text


def test_running_again_opens_a_new_folder(config: Path, run: Path) -> None:
    root = str(run.parents[1])
    arguments = ["fit", "--config", str(config), "--trainer.default_root_dir", root]
    assert main([*arguments, "--trainer.max_epochs", "1"]) == 0
    assert (run.parent / "version_1" / "config.yaml").is_file()
    assert (
        main([*arguments, "--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", root]) == 0
    )


def test_test_prints_a_table_and_its_protocol(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = (run / "config.yaml").read_text()
    assert main(["test", "--config", str(run / "config.yaml"), "--ckpt_path", best(run)]) == 0
    printed = capsys.readouterr().out
    for expected in ("recall", "ndcg", "@50", "train+valid items of a user are masked"):
        assert expected in printed
    assert (run / "config.yaml").read_text() == saved
    record = json.loads((run / "test.json").read_text())
    assert record["checkpoint"] == best(run)
    assert f"{record['metrics']['test/recall@20']:.4f}" in printed
    users = pq.read_table(run / "per_user.parquet")
    assert users.num_rows == record["metrics"]["test/n_users"]


def test_test_metrics_are_in_the_tensorboard_of_the_run(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "version_7"
    shutil.copytree(run, folder)
    assert main(["test", "--ckpt_path", best(folder)]) == 0
    logged = EventAccumulator(str(folder))
    logged.Reload()
    reported = json.loads((folder / "test.json").read_text())["metrics"]
    scalar = logged.Scalars("test/recall@20")[-1]
    assert scalar.value == pytest.approx(reported["test/recall@20"])
    assert "best/recall@20" in logged.Tags()["scalars"]
    assert (folder / "metrics.csv").read_text() == (run / "metrics.csv").read_text()


def test_checkpoint_alone_is_tested_with_the_settings_of_its_run(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, tmp_path / "run")
    moved = best(tmp_path / "run")
    assert main(["test", "--ckpt_path", moved]) == 0
    config = tmp_path / "run" / "config.yaml"
    assert f"Settings are those of the run, {config}" in caplog.text
    recall = best(run).rpartition("recall")[2].removesuffix(".ckpt")
    assert main(["validate", "--ckpt_path", moved, "--model.ks", "[20]"]) == 0
    printed = capsys.readouterr().out
    assert recall in printed
    assert "@50" not in printed.rpartition("@20")[2]  # flags win
    config.unlink()
    assert main(["test", "--ckpt_path", moved]) == 2
    assert "config.yaml of its run" in capsys.readouterr().err


def test_validate_reproduces_the_value_in_the_name_of_the_checkpoint(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--config", str(run / "config.yaml"), "--ckpt_path", best(run)]
    assert main(["validate", *arguments, "--per_user.validate", "true"]) == 0
    assert (run / "per_user-val.parquet").is_file()
    printed = capsys.readouterr().out
    recall = next(line for line in printed.splitlines() if "recall" in line)
    assert best(run).rpartition("recall")[2].removesuffix(".ckpt") in recall


def test_predict_writes_raw_ids_beside_the_run(run: Path, catalogue: Path) -> None:
    assert main(["predict", "--config", str(run / "config.yaml"), "--ckpt_path", best(run)]) == 0
    table = pq.read_table(run / "recommendations.parquet").to_pylist()
    assert len({row["user_id"] for row in table}) == 90
    assert {row["rank"] for row in table} == set(range(1, 21))
    items = (catalogue / "items.csv").read_text()
    assert all(row["item_id"] in items for row in table[:50])
    assert not list(run.glob("*.partial"))


def test_resume_by_command_line_continues_the_run(config: Path, run: Path, tmp_path: Path) -> None:
    last = str(run / "checkpoints" / "last.ckpt")
    arguments = ["fit", "--config", str(config), "--trainer.default_root_dir", str(tmp_path)]
    assert main([*arguments, "--ckpt_path", last, "--trainer.max_epochs", "3"]) == 0
    rows = (tmp_path / "demo" / "version_0" / "metrics.csv").read_text().splitlines()
    epoch = rows[0].split(",").index("epoch")
    assert {row.split(",")[epoch] for row in rows[1:]} == {"2"}


# What never changes is never better than in the first epoch.
FIRST_IS_BEST = ("--checkpoint.monitor", "val/n_users")


def test_last_checkpoint_is_of_the_last_epoch_also_when_an_earlier_one_is_best(
    config: Path, tmp_path: Path
) -> None:
    arguments = ["fit", "--config", str(config), "--trainer.default_root_dir", str(tmp_path)]
    arguments += [*FIRST_IS_BEST, "--trainer.max_epochs", "4"]
    assert main(arguments) == 0
    folder = tmp_path / "demo" / "version_0" / "checkpoints"
    epochs = {path.name: torch.load(path, weights_only=True)["epoch"] for path in folder.iterdir()}
    assert epochs.pop("last.ckpt") == 3
    assert list(epochs.values()) == [0]


def test_resumed_run_remembers_the_best_checkpoint_of_all(
    config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = ["--trainer.default_root_dir", str(tmp_path), *FIRST_IS_BEST]
    assert main(["fit", "--config", str(config), *root]) == 0
    first = tmp_path / "demo" / "version_0"
    last = ["--ckpt_path", str(first / "checkpoints" / "last.ckpt")]
    caplog.clear()
    more = [*root, *last, "--trainer.max_epochs", "6", "--early_stopping.patience", "100"]
    assert main(["fit", "--config", str(config), *more]) == 0
    assert f"--ckpt_path {best(first)}" in caplog.text


@pytest.mark.parametrize("setting", ["self_loop.momentum", "optimizer.learning_rate"])
def test_setting_that_contradicts_the_checkpoint_is_refused(
    config: Path, run: Path, capsys: pytest.CaptureFixture[str], setting: str
) -> None:
    for subcommand in ("fit", "test"):
        arguments = ["--config", str(config), "--ckpt_path", best(run), f"--model.{setting}", "0.2"]
        assert main([subcommand, *arguments]) == 2
        assert f"model.{setting} is 0.2" in capsys.readouterr().err


def test_model_settings_come_from_the_checkpoint_and_those_of_a_run_from_flags(
    config: Path, run: Path, tmp_path: Path
) -> None:
    values = yaml.safe_load(config.read_text())
    del values["model"]
    path = tmp_path / "data_only.yaml"
    path.write_text(yaml.safe_dump(values))
    out = tmp_path / "out"
    arguments = ["--config", str(path), "--ckpt_path", best(run), "--model.top_k", "5"]
    assert main(["predict", *arguments, "--recommendations.folder", str(out)]) == 0
    assert pq.read_table(out / "recommendations.parquet").num_rows == 90 * 5


def test_a_run_keeps_its_folder_with_another_logger(
    config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ["fit", "--config", str(config), "--trainer.default_root_dir", str(tmp_path)]
    other = ["--trainer.logger", "TensorBoardLogger", "--trainer.logger.save_dir"]
    assert main([*arguments, *other, str(tmp_path / "elsewhere")]) == 0
    folder = tmp_path / "demo" / "version_0"
    assert (folder / "config.yaml").is_file()
    assert (folder / "metrics.csv").is_file()
    assert f"--config {folder / 'config.yaml'} --ckpt_path {best(folder)}" in caplog.text
    assert any((tmp_path / "elsewhere").rglob("events.*"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--model.network.layer", "3"], "model.network.layer"),
        (["--data.modalities.text.colums", "[title]"], "colums"),
        (["--model.network.modality.weight", "heavy"], "model.network.modality.weight"),
        (["--no_such_key", "1"], "no_such_key"),
        (["--model.self_loop.neigbours", "5"], "did you mean model.self_loop.neighbours?"),
    ],
)
def test_unknown_key_or_type_is_refused_by_name(
    config: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert main(["fit", "--config", str(config), *arguments]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert "fit --help" in error
    assert len(error.splitlines()) < 12


def test_unknown_key_in_a_file_is_refused_by_name(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = tmp_path / "extra.yaml"
    extra.write_text("model:\n  self_loop:\n    neighbors: 10\n")
    assert main(["fit", "--config", str(config), "--config", str(extra)]) == 2
    error = capsys.readouterr().err
    assert "does not accept option 'model.self_loop.neighbors'" in error
    assert "did you mean model.self_loop.neighbours?" in error


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--data.root", "no/such/folder"], ["the data folder does not exist", "fix:"]),
        (["--data.modalities.text.columns", "[tilte]"], ["'tilte'", "title", "fix:"]),
        (["--data.modalities.text.encoder", "./nowhere"], ["'./nowhere'", "fix:"]),
        (["--data.filters.minimum_rating", "4"], ["rating", "fix:"]),
        (["--data.filters.k_core", "1000"], ["no interactions are left", "fix:"]),
        (["--model.self_loop.warmup", "0"], ["warmup is 0", "at least 1"]),
        (["--seed_everything", "true"], ["seed_everything is true", "fix:"]),
        (["--ckpt_path", "no.ckpt"], ["no such checkpoint", "fix:"]),
        (["--ckpt_path", "last"], ["no such checkpoint", "fix:"]),
        (["--data.split.ratios", "[1.0, 0.0, 0.0]"], ["the valid part of the split is empty"]),
        pytest.param(
            ["--trainer.accelerator", "gpu"],
            ["error: No supported gpu backend"],
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
        (["--trainer.precision", "64-true"], ["precision 64-true", "bf16-mixed", "fix:"]),
        (["--trainer.logger", "CometLogger"], ["CometLogger cannot be made", "pip install"]),
        (["--trainer.max_epoch", "3"], ["did you mean trainer.max_epochs?"]),
    ],
)
def test_wrong_input_ends_with_found_expected_and_fix(
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    expected: list[str],
) -> None:
    root = ["--trainer.default_root_dir", str(tmp_path)]
    assert main(["fit", "--config", str(config), *root, *arguments]) == 2
    printed = capsys.readouterr().err
    for part in expected:
        assert part in printed
    assert "Traceback" not in printed
    assert not list(tmp_path.glob("*/version_*"))  # no run began


@pytest.mark.parametrize(("content", "said"), [("", "it is empty"), ("a: [1\n", "line 2")])
def test_file_that_holds_no_settings_is_named(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(content)
    for arguments in (["--config", str(config), "--config", str(other)], [f"--config={other}"]):
        assert main(["fit", *arguments]) == 2
        printed = capsys.readouterr().err
        assert str(other) in printed
        assert said in printed


def test_refused_resume_is_no_run(config: Path, run: Path) -> None:
    """The next `--ckpt_path last` would go on from it."""
    root = run.parents[1]
    before = set(run.parent.iterdir())
    arguments = ["fit", "--config", str(config), "--trainer.default_root_dir", str(root)]
    arguments += ["--ckpt_path", best(run), "--trainer.max_epochs", "9"]
    assert main([*arguments, "--data.split.seed", "7"]) == 2
    assert set(run.parent.iterdir()) == before


def test_versions_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"slifmr {__version__}\n"


def test_test_without_a_checkpoint_is_refused(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["test", "--config", str(config)]) == 2
    assert "test without a checkpoint" in capsys.readouterr().err


def test_test_of_a_run_may_name_metrics_that_training_did_not(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "measured"
    shutil.copytree(run, folder)
    file = tmp_path / "metrics.yaml"
    own = [{"class_path": "tests.metrics.own_metrics.GiniOfExposure"}]
    file.write_text(yaml.safe_dump({"model": {"metrics": own}}))
    arguments = ["--config", str(folder / "config.yaml"), "--ckpt_path", best(folder)]
    more = ["--model.metrics+=tests.metrics.own_metrics.IntraListDiversity"]
    more += ["--model.metrics.modality", "image"]
    assert main(["test", *arguments, "--config", str(file), *more]) == 0
    printed = capsys.readouterr().out
    assert "gini" in printed
    assert "diversity" in printed
    reported = json.loads((folder / "test.json").read_text())["metrics"]
    assert 0 < reported["test/gini@20"] < 1
    comparison = ["compare", str(folder), str(folder), "--metrics", "diversity@20"]
    assert main(comparison) == 0
    assert f"{reported['test/diversity@20']:.4f}" in capsys.readouterr().out
    clash = ["--model.metrics", "[{class_path: slifmr_pl.metrics.accuracy.Recall}]"]
    assert main(["test", *arguments, *clash]) == 2
    assert "both called recall" in capsys.readouterr().err
