"""What the command line imports before it does anything: packages, not seconds."""

import contextlib
import gc
import json
import subprocess
import sys

import pytest
from pytorch_lightning.cli import LightningCLI

from slifmr_pl.cli import main
from slifmr_pl.cli.entry_point import SUBCOMMANDS

# What the package adds to the third-party packages that Lightning's own command line imports.
# transformers, matplotlib and SciPy are not for us to leave out: torchmetrics imports them.
ADDED = {"PIL", "cloudpickle", "numpy", "pyarrow", "rich"}  # pyarrow imports cloudpickle
STEPS = ("slifmr_pl.cli.entry_point", "pytorch_lightning.cli", "slifmr_pl.cli.lightning")
SCRIPT = f"""
import contextlib, io, json, sys
imported, known = [], set(sys.modules)
for step in {STEPS}:
    module = __import__(step, fromlist=["main"])
    if hasattr(module, "main"):
        with contextlib.redirect_stdout(io.StringIO()):
            module.main(["--help"])
    imported.append(sorted(set(sys.modules) - known))
    known = set(sys.modules)
print(json.dumps(imported))
"""


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """Modules that each of STEPS imports beyond those before it, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True)
    imported = json.loads(done.stdout)
    return {step: set(modules) for step, modules in zip(STEPS, imported, strict=True)}


def third_party(modules: set[str]) -> set[str]:
    packages = {module.partition(".")[0] for module in modules}
    return packages - sys.stdlib_module_names - {"slifmr_pl", "feature_extraction"}


def test_the_overview_needs_no_package(imports: dict[str, set[str]]) -> None:
    assert third_party(imports["slifmr_pl.cli.entry_point"]) == set()


def test_the_subcommands_add_little_to_what_lightning_imports(
    imports: dict[str, set[str]],
) -> None:
    added = imports["slifmr_pl.cli.lightning"]
    assert "slifmr_pl.module" in added
    assert third_party(added) <= ADDED
    late = {
        "feature_extraction.encoders.loading",
        "pyarrow.dataset",
        "slifmr_pl.demo.catalogue_files",
    }
    assert not late & set.union(*imports.values())


def test_every_subcommand_of_lightning_is_one_of_ours() -> None:
    assert SUBCOMMANDS.keys() == LightningCLI.subcommands().keys()


def test_main_names_are_imported_when_they_are_asked_for() -> None:
    code = """if True:
        import sys, slifmr_pl
        assert "torch" not in sys.modules
        assert set(slifmr_pl.__all__) <= set(dir(slifmr_pl))
        for name in slifmr_pl.__all__:
            assert getattr(slifmr_pl, name).__name__ == name
        try:
            slifmr_pl.Nothing
        except AttributeError as error:
            assert "Nothing" in str(error)
        else:
            raise SystemExit("there is no such name")
    """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_imported_is_kept_from_the_collector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "slifmr_pl.cli.lightning", raising=False)
    counts = [gc.get_freeze_count()]
    try:
        for _ in range(2):
            assert main(["fit", "--no_such_key"]) == 2
            assert gc.isenabled()
            counts.append(gc.get_freeze_count())
    finally:
        gc.unfreeze()
    assert counts[1] > counts[0] + 10_000
    assert counts[2] <= counts[1]  # once a process: what a run makes can be collected


def test_garbage_collector_that_is_off_stays_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "slifmr_pl.cli.lightning", raising=False)
    gc.disable()
    try:
        assert main(["fit", "--no_such_key"]) == 2
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("arguments", "said"), [(["fit", "--no_such_key"], True), (["fit", "--help"], False)]
)
def test_import_that_takes_seconds_is_said_where_somebody_waits_for_more(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: bool,
) -> None:
    monkeypatch.delitem(sys.modules, "slifmr_pl.cli.lightning", raising=False)
    for first in (True, False):
        with contextlib.suppress(SystemExit):
            main(arguments)
        assert capsys.readouterr().err.startswith("Loading libraries …") == (said and first)
