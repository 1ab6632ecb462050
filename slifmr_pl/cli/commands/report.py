"""`report`: one run, or several, as a page."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from slifmr_pl.cli.commands.arguments import add_runs, groups_of_one, told

if TYPE_CHECKING:
    from slifmr_pl.report.run import Run

HELP = "write a page about a run, or one that compares several"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds runs, groups of runs, and where things are."""
    parser.description = (
        "Writes one self-contained HTML file: about one run, what was learned and whom it serves; "
        "about several, how they compare with the first."
    )
    parser.epilog = "What it shows: docs/report.md."
    add_runs(parser)
    parser.add_argument(
        "--data.root",
        dest="data_root",
        type=Path,
        metavar="PATH",
        help="where the data folder of a single run is now; default: as configured",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="default: report.html in the run's folder; comparison.html for several",
    )


def run(options: argparse.Namespace) -> int:
    """Writes the page."""
    from slifmr_pl.errors import RunError
    from slifmr_pl.report.comparison_page import Compared, comparison_page
    from slifmr_pl.report.html.figures import require_matplotlib
    from slifmr_pl.report.html.html import count_notes
    from slifmr_pl.report.html.page import write_page
    from slifmr_pl.report.run import read_run
    from slifmr_pl.report.run_page import as_page
    from slifmr_pl.runs.time_left import Countdown

    groups = [*groups_of_one(options.runs), *options.group]
    if not groups:
        raise RunError(
            "no run is named",
            expected="one folder of a run, or several to compare",
            fix="for example: slifmr report runs/slifmr/version_0",
        )
    require_matplotlib()
    if len(groups) == 1 and len(groups[0][1]) == 1:
        one = read_run(groups[0][1][0])
        path = options.out or one.folder / "report.html"
        page = as_page(one, options.data_root, told)
    else:
        countdown = Countdown(sum(len(runs) for _, runs in groups))

        def read_and_tell(run: Path) -> "Run":
            there = read_run(run)
            told(f"{countdown.done()}  {run}")
            return there

        read = [(name, [read_and_tell(run) for run in runs]) for name, runs in groups]
        compared = [
            Compared(f"{name} {runs[0].name}" if number < len(options.runs) else name, runs)
            for number, (name, runs) in enumerate(read)
        ]
        path = options.out or Path("comparison.html")
        page = comparison_page(compared, options.metrics)
    write_page(path, page)
    missing = count_notes(page)
    remark = f"; {missing} of its parts could not be shown, and it says why" if missing else ""
    print(f"Written to {path}{remark}")
    return 0
