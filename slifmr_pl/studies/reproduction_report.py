"""Repeats a run and says what came out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from slifmr_pl.runs.atomic_files import write_json
from slifmr_pl.studies.reproduction import (
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
    numbers = agreements(run, again, tolerance)
    console.print(
        _table(
            "Recorded and measured again",
            ("number", "recorded", "again", "verdict"),
            [(n.metric, _decimals(n.recorded), _decimals(n.again), n.verdict) for n in numbers],
        )
    )
    counts = Counter(number.verdict for number in numbers)
    agrees = not counts["differs"]
    parts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    console.print(
        f"{'Reproduced' if agrees else 'Not reproduced'}: of {len(numbers)} numbers {parts} "
        f"(relative tolerance {tolerance:g}).",
        highlight=False,
    )
    path = again / FILE
    content = {
        "run": str(run.folder),
        "agrees": agrees,
        "tolerance": tolerance,
        "differences": [asdict(difference) for difference in changed],
        "numbers": [asdict(number) for number in numbers],
    }
    write_json(path, content)
    console.print(f"Written to {path}", highlight=False)
    return agrees


def _print_differences(run: RecordedRun, changed: Sequence[Difference], console: Console) -> None:
    if changed:
        rows = [(one.key, str(one.recorded), str(one.now)) for one in changed]
        console.print(_table("What differs from the record", ("", "recorded", "now"), rows))
    else:
        console.print("Versions, hardware and code are as recorded.")
    record = run.record
    if (record["git"] or {}).get("dirty"):
        console.print("The run was made with uncommitted changes, which are not recorded.")
    if record["resumed_from"] is not None:
        console.print("The run was resumed; it is repeated from its first epoch.")
    if not record["trainer"]["deterministic"] and record["environment"]["hardware"]["gpus"]:
        console.print("The run did not set trainer.deterministic; on a GPU, numbers may vary.")


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(*header, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    return table


def _decimals(number: float | None) -> str:
    return "missing" if number is None else f"{number:.6f}"
