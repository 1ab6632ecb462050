"""`sweep`: settings searched on the validation part."""

import argparse
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slifmr_pl.cli.commands.arguments import (
    add_configurations,
    at_least,
    console,
    threads_of,
    validation_metric,
)

if TYPE_CHECKING:
    from rich.table import Table

HELP = "search settings on the validation part; with --final, test the best once"
_SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds configurations, the search space and how long to search."""
    parser.description = (
        "Searches settings: each trial trains in a process of its own and is judged by its best "
        "validation metric. Started again, the sweep goes on. The test part is read by --final."
    )
    parser.epilog = "The format of the search space, and an example: docs/tune.md."
    add_configurations(parser)
    parser.add_argument("--space", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--trials", type=at_least(1), default=20, metavar="N", help="in all; default: %(default)s"
    )
    parser.add_argument(
        "--metric", type=validation_metric, default="val/recall@20", help="default: %(default)s"
    )
    parser.add_argument(
        "--out", type=Path, metavar="PATH", help="default: runs/sweeps/NAME, of the last CONFIG"
    )
    parser.add_argument(
        "--storage", type=Path, metavar="FILE", help="journal; default: journal.log in --out"
    )
    parser.add_argument("--seed", type=at_least(0), default=2026, metavar="N", help="of the search")
    parser.add_argument(
        "--final",
        action="store_true",
        help="then train the best settings with --seeds and read the test part",
    )
    parser.add_argument(
        "--seeds", type=at_least(0), nargs="+", default=[1, 2, 3, 4, 5], metavar="SEED"
    )


def run(options: argparse.Namespace) -> int:
    """Searches, prints the trials, and tests the best on request."""
    from slifmr_pl.studies.space import read_space
    from slifmr_pl.studies.sweep import Sweep, final, search

    out = options.out or Path("runs", "sweeps", options.configs[-1].stem)
    sweep = Sweep(
        configs=tuple(options.configs),
        settings=dict(options.set),
        space=read_space(options.space),
        metric=options.metric,
        out=out,
        storage=options.storage or out / "journal.log",
        threads=threads_of(options.jobs),
        seed=options.seed,
    )
    screen = console()
    say = partial(screen.print, highlight=False, markup=False, soft_wrap=True)
    records = search(sweep, options.trials, options.jobs, say)
    screen.print(_trials(records, sweep.metric))
    screen.print(f"All trials: {out / 'trials.json'}", highlight=False)
    if records[0]["value"] is None:
        screen.print("No trial finished.")
        return 1
    best = shlex.quote(str(out / "best.yaml"))
    screen.print(f"Best settings: slifmr fit --config {best}", highlight=False)
    if options.final:
        result = final(sweep, records[0], options.seeds, say)
        screen.print(_final(result))
        screen.print(
            f"Compare with others: --group NAME={','.join(result['runs'])}", highlight=False
        )
    return 0


def _trials(records: list[dict[str, Any]], metric: str) -> "Table":
    from rich.table import Table

    table = Table(title=f"{len(records)} trials, the best first", title_justify="left")
    for column in ("trial", "state", metric, "epochs", "seconds"):
        table.add_column(column, justify="right" if column != "state" else "left")
    keys = list(records[0]["params"])
    for name in _short_names(keys):
        table.add_column(name, justify="right")
    for record in records[:_SHOWN]:
        value = record["value"] if record["value"] is not None else record["best_seen"]
        table.add_row(
            str(record["trial"]),
            record["state"],
            "" if value is None else f"{value:.4f}",
            str(record["epochs"]),
            str(record["seconds"]),
            *(_short(record["params"].get(key)) for key in keys),
        )
    return table


def _short_names(keys: list[str]) -> list[str]:
    """The ends of dotted keys, with as many of their parts as tell them apart."""
    parts = 1
    while True:
        ends = [".".join(key.split(".")[-parts:]) for key in keys]
        if len(set(ends)) == len(keys):
            return ends
        parts += 1


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _final(result: dict[str, Any]) -> "Table":
    from rich.table import Table

    seeds = result["seeds"]
    number = "1 seed" if len(seeds) == 1 else f"{len(seeds)} seeds"
    table = Table(title=f"Test, {number}, trial {result['trial']}", title_justify="left")
    table.add_column("metric")
    table.add_column("mean ± std", justify="right")
    for name, value in result["metrics"].items():
        digits = 1 if name.startswith("popularity@") else 4
        spread = "" if value["std"] is None else f" ± {value['std']:.{digits}f}"
        table.add_row(name, f"{value['mean']:.{digits}f}{spread}")
    return table
