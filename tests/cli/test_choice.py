"""Models, data modules and plug-ins of the user's on the command line."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from slifmr_pl.cli import main
from slifmr_pl.cli.choice import choose
from slifmr_pl.config import plugins
from slifmr_pl.config.plugins import load_from_here
from slifmr_pl.datamodule import SlifMrDataModule
from slifmr_pl.errors import ConfigError
from slifmr_pl.models.ease import Ease
from slifmr_pl.module import SlifMrModule
from slifmr_pl.studies.runs import Job, start_fit

PACKAGE = '''
from pathlib import Path

from slifmr_pl.datamodule import SlifMrDataModule
from slifmr_pl.models.ease import Ease

Path(__file__).with_name("imported").touch()


class NearlyEase(Ease):
    """EASE with a default of its own.

    Args:
        l2: Strength.
    """

    def __init__(self, l2: float = 200.0, **evaluation) -> None:
        super().__init__(l2, **evaluation)


class Halved(SlifMrDataModule):
    """Fewer negatives.

    Args:
        root: Data folder.
        part: Of what there would be.
    """

    def __init__(self, root: str, part: float = 0.5, **options) -> None:
        super().__init__(root, **options)
        self.part = part

'''
TERM = '''
from slifmr_pl.losses.terms import LossTerm


class Spread(LossTerm):
    """Scores of negatives that are far from zero.

    Args:
        weight: Of the term.
    """

    def __init__(self, weight: float = 0.1) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, batch):
        return batch.mean(batch.negative_scores.square().mean(dim=1))
'''
METRIC = '''
from slifmr_pl.metrics.accuracy import HitRate


class HitsAtTop(HitRate):
    """The built-in one under another name."""

    name = "top"
'''
READER = '''
from slifmr_pl.data.formats.lines import fields_of
from slifmr_pl.data.reader import Reader, Source


class Likes(Reader):
    """Lines of a user and an item.

    Args:
        sep: Between them.
    """

    reads_files = True

    def __init__(self, sep: str = ",") -> None:
        self.sep = sep

    def tables(self, path):
        return Source({"interactions": fields_of(path, ("user_id", "item_id"), self.sep)})
'''
DEFAULTS: dict[str, type] = {"model": SlifMrModule, "data": SlifMrDataModule}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module in the current folder, which is not imported yet."""
    name = f"plugin_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(PACKAGE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.setattr(plugins, "_named", [])
    yield name
    for module in [module for module in sys.modules if module.startswith(name)]:
        del sys.modules[module]


def forget(package: str, folder: Path) -> None:
    """What a new process would know of the plug-in: nothing."""
    del sys.modules[package]
    plugins._named.clear()
    (folder / "imported").unlink()


@pytest.fixture
def config(catalogue: Path, tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    settings: dict[str, Any] = {
        "name": "own",
        "data": {"root": str(catalogue), "use_knowledge": False},
        "trainer": {
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "logger": False,
        },
    }
    path.write_text(yaml.safe_dump(settings))
    return path


def saved(folder: Path) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
    return settings


def test_own_model_and_data_module_are_trained_recorded_and_tested(
    package: str, config: Path, tmp_path: Path
) -> None:
    arguments = ["fit", "--config", str(config), "--model", f"{package}.NearlyEase"]
    arguments += ["--model.l2", "3", f"--data={package}.Halved", "--data.part=0.25"]
    assert main(arguments) == 0
    run = tmp_path / "runs" / "own" / "version_0"
    settings = saved(run)
    assert settings["plugins"] == [package]
    assert settings["model"]["class_path"] == f"{package}.NearlyEase"
    assert settings["model"]["init_args"]["l2"] == 3.0
    assert settings["data"]["class_path"] == f"{package}.Halved"
    assert settings["data"]["init_args"]["part"] == 0.25
    assert settings["data"]["init_args"]["use_knowledge"] is False  # of a file without a class
    (best,) = (run / "checkpoints").glob("epoch*.ckpt")

    forget(package, tmp_path)
    assert main(["test", f"--config={run / 'config.yaml'}", f"--ckpt_path={best}"]) == 0
    assert (run / "test.json").is_file()

    forget(package, tmp_path)  # the configuration alone says where the data module is
    out = tmp_path / "exported"
    assert main(["export-data", "recbole", str(run / "config.yaml"), str(out)]) == 0
    assert plugins.loaded() == {package: None}


def test_checkpoint_imports_nothing_that_the_user_has_not_named(
    package: str,
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["fit", f"--config={config}", f"--model={package}.NearlyEase"]) == 0
    folder = tmp_path / "runs" / "own" / "version_0" / "checkpoints"
    (best,) = folder.glob("epoch*.ckpt")
    arguments = ["test", f"--config={config}", f"--ckpt_path={best}"]
    forget(package, tmp_path)
    assert main(arguments) == 2
    assert f"--plugins {package}" in capsys.readouterr().err
    assert not (tmp_path / "imported").exists()
    # Nor for the sake of a part among the settings of a model that may be imported.
    checkpoint = torch.load(best, weights_only=True)
    part = {"class_path": f"{package}.NearlyEase", "init_args": {}}
    checkpoint["slifmr"]["model"] = "slifmr_pl.models.ease.Ease"
    checkpoint["hyper_parameters"] = {"l2": 200.0, "part": [part]}
    torch.save(checkpoint, folder / "altered.ckpt")
    assert main([*arguments[:-1], f"--ckpt_path={folder / 'altered.ckpt'}"]) == 2
    assert f"--plugins {package}" in capsys.readouterr().err
    assert not (tmp_path / "imported").exists()
    # Named, it is found, and the model's class and settings are those of the checkpoint.
    assert main([*arguments, "--plugins", package]) == 0


def test_metric_of_the_training_is_not_asked_for_by_the_test(
    package: str, config: Path, tmp_path: Path
) -> None:
    (tmp_path / f"{package}.py").write_text(METRIC)
    metric = f"[{{class_path: {package}.HitsAtTop}}]"
    arguments = ["--config", str(config), "--model=Ease"]
    own = ["--plugins", package, "--model.metrics", metric]
    assert main(["fit", *arguments, *own]) == 0
    run = tmp_path / "runs" / "own" / "version_0"
    (best,) = (run / "checkpoints").glob("epoch*.ckpt")
    del sys.modules[package]
    plugins._named.clear()
    (tmp_path / f"{package}.py").unlink()
    assert main(["test", *arguments, "--ckpt_path", str(best)]) == 0


def test_part_of_a_plugin_is_named_by_its_class_alone_and_comes_back_with_the_checkpoint(
    package: str, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / f"{package}.py").write_text(PACKAGE + TERM)
    small = ["--model.network.embedding_dim=8", "--trainer.max_epochs=1"]
    term = ["--model.loss.terms+=Spread", "--model.loss.terms.weight=0.5"]
    assert main(["fit", f"--config={config}", "--plugins", package, *small, *term]) == 0
    run = tmp_path / "runs" / "own" / "version_0"
    part = {"class_path": f"{package}.Spread", "init_args": {"weight": 0.5}}
    assert saved(run)["model"]["loss"]["terms"] == [part]
    (best,) = (run / "checkpoints").glob("epoch*.ckpt")
    arguments = ["test", f"--config={config}", f"--ckpt_path={best}"]

    forget(package, tmp_path)
    assert main(arguments) == 2
    assert f"--plugins {package}" in capsys.readouterr().err
    assert not (tmp_path / "imported").exists()
    assert main([*arguments, "--plugins", package]) == 0


def test_own_script_brings_its_classes(package: str, config: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        f"from {package} import Halved, NearlyEase\n"
        "from slifmr_pl.cli import main\n"
        "raise SystemExit(main(model=NearlyEase, data=Halved))\n"
    )
    command = [sys.executable, "script.py", "fit", "--config", str(config), "--print_config"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    settings = yaml.safe_load(done.stdout)
    assert settings["model"]["class_path"] == f"{package}.NearlyEase"
    assert settings["data"]["init_args"]["part"] == 0.5


@pytest.mark.parametrize(
    "text",
    [
        "model: {package}.NearlyEase",
        "model: {{class_path: {package}.NearlyEase}}",
        "plugins: [{package}]\nmodel: NearlyEase",
        "plugins: {package}\nmodel: {{class_path: NearlyEase, init_args: {{l2: 1}}}}",
    ],
)
def test_file_names_its_class_in_several_ways(package: str, tmp_path: Path, text: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text.format(package=package))
    choice = choose(["fit", "--config", str(path)], DEFAULTS)
    assert choice.named == {"model": f"{package}.NearlyEase"}
    assert choice.args == ["fit", "--config", str(path), f'--plugins=["{package}"]']


@pytest.mark.parametrize(
    "text",
    [
        "{{model: {package}.NearlyEase, data: Halved}}",
        "plugins: [{package}]\nmodel: NearlyEase\ndata: {{class_path: Halved}}",
    ],
)
def test_configuration_in_the_command_line_chooses_as_one_in_a_file_does(
    package: str, text: str
) -> None:
    content = text.format(package=package)
    choice = choose(["fit", "--config", content], DEFAULTS)
    assert choice.named == {"model": f"{package}.NearlyEase", "data": f"{package}.Halved"}
    assert choice.args == ["fit", "--config", content, f'--plugins=["{package}"]']


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{model: [1}", "cannot be read"),
        ("{baseline: Ease}", "the key baseline is of an older version"),
        ("no_such_preset", "there is no file no_such_preset"),
    ],
)
def test_what_is_no_configuration_in_the_command_line_is_refused(text: str, found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        choose(["fit", "--config", text], DEFAULTS)


@pytest.mark.parametrize(
    "text",
    [
        "data: {{class_path: {package}.Halved, init_args: {{root: {root}}}}}",
        "plugins: {package}\ndata: {{class_path: Halved, init_args: {{root: {root}}}}}",
    ],
)
def test_every_command_takes_the_data_module_that_fit_takes(
    package: str, catalogue: Path, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text.format(package=package, root=catalogue))
    assert choose(["fit", "--config", str(path)], DEFAULTS).classes["data"].__name__ == "Halved"
    for command in (
        ["export-data", "mmrec", str(path), str(tmp_path / "exported")],
        ["inspect", "--config", str(path), "--out", str(tmp_path / "inspected")],
    ):
        forget(package, tmp_path)
        assert main(command) == 0
    assert (tmp_path / "inspected" / f"{catalogue.name}.json").is_file()


def test_plugin_behind_the_format_of_an_import_is_taken(
    package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / f"{package}.py").write_text(READER)
    (tmp_path / "likes.txt").write_text("u1|i1\nu2|i1\n")
    out = tmp_path / "out"
    assert main(["import", "Likes", "likes.txt", str(out), "--plugins", package, "--sep=|"]) == 0
    assert (out / "import.json").is_file()
    with pytest.raises(SystemExit, match="0"):
        main(["import", "--help"])
    assert "--plugins PACKAGE" in capsys.readouterr().out


def test_name_alone_has_to_be_that_of_one_class(package: str, tmp_path: Path) -> None:
    (tmp_path / f"{package}_too.py").write_text(PACKAGE)
    arguments = ["fit", "--plugins", f"{package},{package}_too", "--model", "NearlyEase"]
    with pytest.raises(ConfigError, match=rf"{package}.NearlyEase and {package}_too.NearlyEase"):
        choose(arguments, DEFAULTS)


def test_flags_are_read_however_they_are_written(package: str) -> None:
    args = ["fit", "--plugins", package, "--model=NearlyEase", "--model.init_args.l2", "2"]
    choice = choose([*args, "--data.init_args.root=x", "--model.top_k=-1", "--help"], DEFAULTS)
    assert choice.classes["model"].__name__ == "NearlyEase"
    flags = ["--model.l2=2", "--data.root=x", "--model.top_k=-1", "--help"]
    assert choice.args == ["fit", *flags, f'--plugins=["{package}"]']


def test_the_last_file_decides_and_a_flag_decides_over_files(tmp_path: Path) -> None:
    files = ["--config", "model/vbpr", "--config", "model/ease"]
    assert choose(["fit", *files], DEFAULTS).classes["model"] is Ease
    flagged = choose(["fit", "--model", "SlifMrModule", *files], DEFAULTS)
    assert flagged.classes["model"] is SlifMrModule
    assert choose(["fit"], {**DEFAULTS, "model": Ease}).classes["model"] is Ease


def test_plugins_are_handed_on_to_the_runs_of_a_study(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []
    popen = subprocess.Popen

    def started(command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        commands.append(command)
        return popen([sys.executable, "-c", ""], **options)

    monkeypatch.setattr("slifmr_pl.studies.runs.subprocess.Popen", started)
    load_from_here([package])
    start_fit(Job(tmp_path / "job", (), {}), 1).wait()
    assert commands[0][1:4] == ["-m", "slifmr_pl", "fit"]
    assert f"--plugins={package}" in commands[0]


@pytest.fixture
def other(tmp_path: Path) -> Path:
    path = tmp_path / "other.yaml"
    path.write_text("model: {network: {embedding_dim: 32}, top_k: 7}\n")
    return path


def print_config(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["fit", "--data.root=data", *arguments, "--print_config"])
    assert ended.value.code == 0
    settings: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return settings


def test_settings_of_the_class_that_is_passed_over_are_left_out_and_said(
    other: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ["--config", str(other), "--config", "model/vbpr", "--config", "model/ease"]
    settings = print_config(capsys, *arguments)
    assert settings["model"]["init_args"]["top_k"] == 7  # which every model has
    assert settings["model"]["init_args"]["l2"] == 250.0
    assert "other.yaml: model.network is of SlifMrModule, and left out" in caplog.text
    assert "vbpr.yaml: model.l2 is of Vbpr, and left out" in caplog.text
    # The settings that are printed are a configuration.
    (printed := other.with_name("printed.yaml")).write_text(yaml.safe_dump(settings))
    assert print_config(capsys, "--config", str(printed)) == settings


def test_base_is_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert print_config(capsys, "--config", "base") == print_config(capsys)


def test_help_is_about_the_chosen_model(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["fit", "--model", "ItemKnn", "--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage: slifmr fit")
    assert "--model.shrinkage" in printed
    assert "--model.network" not in printed


def test_help_is_about_a_part_of_a_plugin(
    package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / f"{package}.py").write_text(TERM)
    with pytest.raises(SystemExit) as ended:
        main(["fit", "--plugins", package, "--model.loss.terms.help", f"{package}.Spread"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "Scores of negatives that are far from zero" in printed
    assert "Of the term. (type: float, default: 0.1)" in printed


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        ("model: {networ: {layers: 1}}", ["--model", "Ease"], "'model.networ.layers'"),
        ("model: {class_path: Ease, init_args: {l3: 1}}", [], "did you mean model.l2?"),
        ("name: x", ["--model", "Ease", "--model.l3", "1"], "did you mean model.l2?"),
        ("name: x", ["--model", "Eese"], "did you mean Ease?"),
        ("name: x", ["--model", "no_such_package.Model"], "pip install no_such_package"),
        ("name: x", ["--plugins", "no_such_package"], "pip install no_such_package"),
        ("name: x", ["--model", "slifmr_pl.datamodule.SlifMrDataModule"], "a subclass of"),
        ("name: x", ["--config", "model/eese"], "did you mean model/ease?"),
        ("name: x", ["--baseline.l2", "1"], "write --model.l2"),
        ("name: x", ["--baseline=Ease"], "--model Ease"),
        (
            "baseline: {class_path: slifmr_pl.models.ease.Ease, init_args: {l2: 3.0}}",
            [],
            "write model: {class_path: slifmr_pl.models.Ease, init_args: {l2: 3.0}}",
        ),
    ],
)
def test_what_cannot_be_chosen_is_refused_with_what_to_write(
    text: str,
    arguments: list[str],
    expected: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    assert main(["fit", "--config", str(path), "--data.root=data", *arguments]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert len(error.splitlines()) < 8


def test_configuration_of_an_older_run_without_a_baseline_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "old.yaml"
    path.write_text("baseline: null\nmodel: {top_k: 7}\n")
    assert print_config(capsys, "--config", str(path))["model"]["top_k"] == 7


def test_checkpoint_of_another_model_is_refused_by_name(
    checkpoint: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=r"names slifmr_pl\.models\.No"):
        choose(["fit", "--model", "slifmr_pl.models.No"], DEFAULTS)
    arguments = ["test", f"--config={config}", "--model=Ease", f"--ckpt_path={checkpoint}"]
    assert main(arguments) == 2
    assert "in the checkpoint" in capsys.readouterr().err
