"""Reports as tables for people and as JSON for comparisons over time."""

import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.harness import Report, Row
from benchmarks.settings import Settings
from slifmr_pl.runs.environment import environment, git_state

REPOSITORY = Path(__file__).parents[1]


def show(report: Report, console: Console | None = None) -> None:
    """Prints the table and its remarks."""
    table = Table(title=report.title, title_justify="left", title_style="bold")
    table.add_column("")
    table.add_column("time (range)", justify="right")
    table.add_column(report.ratio, justify="right")
    table.add_column("peak extra memory", justify="right")
    table.add_column("note", overflow="fold")
    for row in report.rows:
        table.add_row(
            row.name,
            _time(row),
            "" if row.ratio is None else f"{row.ratio:.2f}",
            "" if row.memory is None else readable_bytes(row.memory),
            row.note,
            style={"ours": "bold", "baseline": "", "limit": "dim"}[row.kind],
        )
    console = console or Console(width=None if sys.stdout.isatty() else 140)
    console.print(table)
    for remark in report.remarks:
        console.print(f"  {remark}", markup=False, highlight=False)


def write(
    path: Path, name: str, reports: Iterable[Report], settings: Settings, command: Sequence[str]
) -> None:
    """Writes figures, environment and command as JSON."""
    content = {
        "benchmark": name,
        "command": shlex.join(command),
        "settings": {key: _plain(value) for key, value in vars(settings).items()},
        "environment": environment(),
        "git": git_state(REPOSITORY),
        "reports": [
            {
                "title": report.title,
                "rows": [asdict(row) | {"seconds": row.seconds} for row in report.rows],
                "figures": dict(report.figures),
                "remarks": list(report.remarks),
            }
            for report in reports
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def readable_seconds(seconds: float) -> str:
    """Three digits with a fitting unit, from nanoseconds to days."""
    for length, name in ((86_400, "days"), (3_600, "hours")):
        if seconds >= 2 * length:
            return f"{_three_digits(seconds / length)} {name}"
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1:
            return f"{_three_digits(seconds * factor)} {unit}"
    return f"{_three_digits(seconds * 1e9)} ns"


def readable_bytes(count: int) -> str:
    """MiB, or GiB from 10 of them."""
    return f"{count / 2**30:.1f} GiB" if count >= 10 << 30 else f"{count / 2**20:.0f} MiB"


def _three_digits(number: float) -> str:
    decimals = 2 if number < 10 else 1 if number < 100 else 0
    return f"{number:,.{decimals}f}"


def _time(row: Row) -> str:
    if row.seconds is None:
        return "–"
    middle = readable_seconds(row.seconds)
    if len(row.samples) < 2:
        return middle
    low, high = min(row.samples) / row.seconds - 1, max(row.samples) / row.seconds - 1
    return f"{middle} ({low:+.0%} {high:+.0%})"


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str | None) else str(value)
