"""Repeats a run and says what came out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from slifmr_pl.runs.atomic_files import write_json
from slifmr_pl.studies.reproduction import (
    Agreement,
    Difference,
    RecordedRun,
    agreements,
    differences,
    read_recorded_run,
    require_same_data,
    train_and_test_again,
)

FILE = "reproduction.json"


def reproduce(
    folder: Path, out: Path, data_root: Path | None, tolerance: float, console: Console
) -> bool:
    """Trains a run again, tests its best checkpoint, and reports number by number.

    Args:
        folder: The run's folder.
        out: Folder that gets the new run as NAME/version_N, with `reproduction.json` in it.
        data_root: Where the data folder is now; None where the configuration says.
        tolerance: Relative difference that still counts as agreement.
        console: Where the report goes.

    Returns:
        Whether all numbers agree.

    Raises:
        UserFacingError: The run cannot be repeated here.
    """
    run = read_recorded_run(folder)
    changed = differences(run.record)
    _print_differences(run, changed, console)
    require_same_data(run, data_root)
    fingerprint = run.record["data"]["fingerprint"]
    console.print(f"The data is the same (fingerprint {fingerprint[:12]}).", highlight=False)
    again = train_and_test_again(run, out, data_root)
    return report(run, again, changed, tolerance, console)


def report(
    run: RecordedRun,
    again: Path,
    changed: Sequence[Difference],
    tolerance: float,
    console: Console,
) -> bool:
    """Prints how the numbers of two runs agree, and writes it into the second one's folder.

    Returns:
        Whether all of them agree.
    """
    found = agreements(run, again, tolerance)
    console.print(_table(found))
    counts = Counter(agreement.verdict for agreement in found)
    agrees = not counts["differs"]
    parts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    console.print(
        f"{'Reproduced' if agrees else 'Not reproduced'}: of {len(found)} numbers {parts} "
        f"(relative tolerance {tolerance:g}).",
        highlight=False,
    )
    path = again / FILE
    content = {
        "run": str(run.folder),
        "agrees": agrees,
        "tolerance": tolerance,
        "differences": [asdict(difference) for difference in changed],
        "numbers": [asdict(agreement) for agreement in found],
    }
    write_json(path, content)
    console.print(f"Written to {path}", highlight=False)
    return agrees


def _print_differences(run: RecordedRun, changed: Sequence[Difference], console: Console) -> None:
    if changed:
        table = Table(title="What differs from the record", title_justify="left")
        for column in ("", "recorded", "now"):
            table.add_column(column)
        for difference in changed:
            table.add_row(difference.key, _shown(difference.recorded), _shown(difference.now))
        console.print(table)
    else:
        console.print("Versions, hardware and code are as recorded.")
    record = run.record
    if (record["git"] or {}).get("dirty"):
        console.print("The run was made with uncommitted changes, which are not recorded.")
    if record["resumed_from"] is not None:
        console.print("The run was resumed; it is repeated from its first epoch.")
    if not record["trainer"]["deterministic"] and record["environment"]["hardware"]["gpus"]:
        console.print("The run did not set trainer.deterministic; on a GPU, numbers may vary.")


def _table(found: Sequence[Agreement]) -> Table:
    table = Table(title="Recorded and measured again", title_justify="left")
    table.add_column("number")
    table.add_column("recorded", justify="right")
    table.add_column("again", justify="right")
    table.add_column("verdict")
    for agreement in found:
        numbers = (agreement.recorded, agreement.again)
        cells = ("missing" if number is None else f"{number:.6f}" for number in numbers)
        table.add_row(agreement.metric, *cells, agreement.verdict)
    return table


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)
