"""The report of a download: a row for every address, written as soon as it is known."""

import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

REPORT = "downloads.csv"
"""The report in the folder: an item table of its own, with the name of each item's file."""


class Outcome(NamedTuple):
    """What became of an item's address; ``file`` is empty where there is a ``reason``."""

    item_id: str
    url: str
    file: str
    bytes: int
    reason: str


class Journal(Protocol):
    """Takes outcomes."""

    def writerow(self, row: Iterable[Any], /) -> Any:
        """Write one."""


def reported_files(report: Path) -> dict[str, Outcome]:
    """Outcomes with a file that an earlier run reported; a row that was cut off is none."""
    if not report.is_file():
        return {}
    found = {}
    with report.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            item, url, name, size, reason = (row.get(field) or "" for field in Outcome._fields)
            if name and size.isdigit():
                found[item] = Outcome(item, url, name, int(size), reason)
    return found


@contextmanager
def appended(report: Path) -> Iterator[Journal]:
    """Adds rows to a report; each is on disk once it is written."""
    cut_off = report.is_file() and not report.read_bytes().endswith(b"\n")
    with report.open("a", encoding="utf-8", newline="", buffering=1) as file:
        journal = csv.writer(file)
        if not report.stat().st_size:
            journal.writerow(Outcome._fields)
        elif cut_off:
            file.write("\r\n")
        yield journal


def write_report(report: Path, outcomes: Iterable[Outcome]) -> None:
    """Replace a report by one of these outcomes alone."""
    part = report.with_name(f"{report.name}.part")
    with part.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([Outcome._fields, *outcomes])
    part.replace(report)
