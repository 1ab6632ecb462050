"""The wheel: built, put into an empty environment, run from an empty folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SOURCES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "configs")


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the wheel, and the other packages of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    ignore = shutil.ignore_patterns("__pycache__")
    for name in (*SOURCES, "slifmr_pl", "feature_extraction"):
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=ignore)
        else:
            shutil.copy(path, source)
    build = "from setuptools.build_meta import build_wheel; build_wheel('..')"
    run([sys.executable, "-c", build], source)
    (wheel,) = folder.glob("*.whl")
    shutil.rmtree(source)
    environment = folder / "environment"
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", f"--python={python}", "install", "--no-deps", "--no-index"]
    run([*pip, "--quiet", "--disable-pip-version-check", str(wheel)], folder)
    # A folder in a .pth file is searched last, and its own .pth files are left alone: what is
    # installed here in editable mode stays out of sight.
    (own,) = (environment / "lib").glob("python*/site-packages")
    (own / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    return tmp_path


def run(command: list[str], folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_installed_package_is_the_one_of_the_wheel(programs: Path, empty: Path) -> None:
    place = run([str(programs / "python"), "-c", "import slifmr_pl; print(slifmr_pl)"], empty)
    assert str(programs.parent) in place


def test_all_presets_travel_and_are_described(programs: Path, empty: Path) -> None:
    printed = run([str(programs / "slifmr"), "presets"], empty)
    listed = dict(line.split(maxsplit=1) for line in printed.split("\n\n")[0].splitlines())
    there = {
        file.relative_to(ROOT / "configs").with_suffix("").as_posix(): file
        for file in (ROOT / "configs").rglob("*.yaml")
    }
    assert listed.keys() == there.keys()
    for name, file in there.items():
        first = file.read_text("utf-8").splitlines()[0]
        assert first.startswith("# ")
        assert listed[name] == first.removeprefix("# ")


def test_preset_is_taken_by_name(programs: Path, empty: Path) -> None:
    command = [str(programs / "slifmr"), "fit", "--config", "model/ease", "--data.root", "data"]
    settings = yaml.safe_load(run([*command, "--print_config"], empty))
    assert settings["model"]["class_path"] == "slifmr_pl.models.ease.Ease"
    assert settings["data"]["use_knowledge"] is False
