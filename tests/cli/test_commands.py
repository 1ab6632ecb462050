import re
import subprocess
import sys
from pathlib import Path

import pytest

from slifmr_pl.__main__ import main
from slifmr_pl.cli import entry_point as cli
from slifmr_pl.cli.commands import COMMANDS, command_name
from slifmr_pl.config import plugins

ROOT = Path(__file__).parents[2]


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    for command in COMMANDS:
        assert re.search(rf"^    {command_name(command)} +\w", printed, re.MULTILINE)


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["demo", "a", "b"]])
def test_wrong_command_line_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: python -m slifmr_pl" in capsys.readouterr().err


def test_both_command_lines_print_the_definitions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics"]) == 0
    printed = capsys.readouterr().out
    for expected in ("### ndcg@k", "Masking", "Ties"):
        assert expected in printed
    for subcommand in ([], ["test"]):
        assert cli.main([*subcommand, "--print_metric_definitions"]) == 0
        assert capsys.readouterr().out == printed


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


def test_definitions_need_no_torch() -> None:
    code = (
        "import sys; from slifmr_pl import __main__, cli; __main__.main(['metrics']); "
        "cli.main(['--print_metric_definitions']); raise SystemExit('torch' in sys.modules)"
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
