import subprocess
import sys
from pathlib import Path

import pytest

from slifmr_pl.cli import main
from slifmr_pl.cli.commands import GROUPS
from slifmr_pl.config import plugins

ROOT = Path(__file__).parents[2]


def test_overview_has_every_command_in_its_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for group, names in GROUPS.items():
        _, _, rest = printed.partition(f"\n{group}:\n")
        lines = rest.partition("\n\n")[0].splitlines()
        assert [line.split()[0] for line in lines] == list(names)


def test_every_module_of_a_command_is_listed() -> None:
    folder = ROOT / "slifmr_pl" / "cli" / "commands"
    modules = {file.stem for file in folder.glob("*.py")} - {"__init__", "arguments"}
    listed = {name.replace("-", "_") for names in GROUPS.values() for name in names}
    assert {module.rstrip("_") for module in modules} == listed - {
        *("fit", "validate", "test", "predict")
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "no command is given; slifmr --help lists all"),
        (["no-such-command"], "there is no command no-such-command"),
        (["repot"], "did you mean report?"),
        (["ft", "--data.root", "x"], "did you mean fit?"),
        (["--print_metric_definitions"], "slifmr metrics"),
        (["test", "--print_metric_definitions"], "slifmr metrics"),
    ],
)
def test_what_is_no_command_is_refused_in_one_line(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line


def test_wrong_arguments_are_refused_with_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["demo", "a", "b"])
    assert stop.value.code == 2
    assert "usage: slifmr demo" in capsys.readouterr().err


@pytest.mark.parametrize("program", [["-m", "slifmr_pl"], ["lightning_cli.py"]])
def test_every_way_to_call_it_is_the_same_program(program: list[str]) -> None:
    command = [sys.executable, *program, "metrics"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for expected in ("### ndcg@k", "Masking", "Ties"):
        assert expected in done.stdout


def test_definitions_of_a_plugin_are_printed_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plugin_of_metrics.py").write_text(
        "from slifmr_pl.metrics.metric import UserMetric\n"
        "class Length(UserMetric):\n"
        "    name, title = 'length', 'Length of the list'\n"
        "    formula, edges, higher_is_better = 'items within k', 'At most k.', False\n"
        "    def values(self, lists):\n"
        "        return lists.sums_within((lists.items >= 0).double())\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(plugins, "_named", [])
    plugins.load(["plugin_of_metrics"])
    assert main(["metrics"]) == 0
    printed = capsys.readouterr().out
    section = (
        "### length@k: Length of the list\n\n    items within k\n\nLower is better. At most k.\n"
    )
    assert section in printed
    assert printed.index("### hit@k") < printed.index(section) < printed.index("### coverage@k")


def test_definitions_and_presets_need_no_torch() -> None:
    code = (
        "import sys; from slifmr_pl.cli import main; main(['metrics']); main(['presets']); "
        "raise SystemExit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_demo_command_writes_once_and_refuses_a_foreign_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", str(tmp_path / "demo")]) == 0
    assert main(["demo", str(tmp_path / "demo")]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("Found the demo catalogue")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "mine.txt").write_text("mine")
    assert main(["demo", str(tmp_path / "foreign")]) == 2
