"""`python -m slifmr_pl COMMAND`: what is no Trainer job."""

import argparse
import string
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        args: Command line without the program's name; default `sys.argv`.

    Returns:
        Exit status: 0, or 2 where input has to be mended; `reproduce` ends with 1 where numbers
        differ.
    """
    options = _parser().parse_args(args)
    from slifmr_pl.errors import UserFacingError  # after --help, which needs nothing of it

    try:
        status: int = options.run(options)
    except UserFacingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m slifmr_pl",
        description="What is no Trainer job; for those see `python lightning_cli.py --help`.",
    )
    commands = parser.add_subparsers(title="commands", dest="command", required=True)
    _add_demo(commands)
    _add_metrics(commands)
    _add_compare(commands)
    _add_reproduce(commands)
    return parser


Commands = argparse._SubParsersAction  # the type that argparse names nowhere else


def _add_demo(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = "write the demo catalogue and its tiny encoders"
    demo = commands.add_parser("demo", help=text, description=text)
    demo.add_argument(
        "folder", type=Path, nargs="?", default=Path("demo_data"), help="default: %(default)s"
    )
    demo.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    from slifmr_pl.data.demo import write_demo_catalogue
    from slifmr_pl.data.demo_encoders import write_demo_encoders

    summary = write_demo_catalogue(options.folder)
    write_demo_encoders(options.folder / "encoders")
    print(
        f"{'Wrote' if summary.written else 'Found'} the demo catalogue in {options.folder}: "
        f"{summary.users} users, {summary.items} items, {summary.interactions} interactions, "
        f"{summary.triples} triples, and two tiny untrained encoders."
    )
    return 0


def _add_metrics(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = "print the exact definition of every metric, as Markdown"
    metrics = commands.add_parser("metrics", help=text, description=text)
    metrics.set_defaults(run=_metrics)


def _metrics(options: argparse.Namespace) -> int:
    from slifmr_pl.metrics.definitions import as_markdown

    print(as_markdown(), end="")
    return 0


def _add_compare(commands: "Commands[argparse.ArgumentParser]") -> None:
    compare = commands.add_parser(
        "compare",
        help="compare tested runs: means, confidence intervals, paired significance tests",
        description="Compares tested runs. The first run or group is what the others are compared "
        "with. Give groups to average runs of one configuration with different seeds.",
        epilog="What each number means: docs/comparing.md.",
    )
    compare.add_argument(
        "runs",
        type=Path,
        nargs="*",
        metavar="RUN",
        help="folder of a run; called A, B, C and so on",
    )
    compare.add_argument(
        "--group",
        type=_group,
        action="append",
        default=[],
        metavar="NAME=RUN,RUN",
        help="runs of one configuration with different seeds; give it again for the next group",
    )
    compare.add_argument(
        "--metrics",
        type=_metric_names,
        metavar="METRIC@K,METRIC@K",
        help="for example recall@20,ndcg@20; default: all that every run has",
    )
    compare.add_argument(
        "--stage", choices=("test", "val"), default="test", help="default: %(default)s"
    )
    compare.add_argument("--json", type=Path, metavar="PATH", help="write all numbers there, too")
    compare.add_argument(
        "--resamples",
        type=_at_least(100),
        default=10_000,
        metavar="N",
        help="of the bootstrap and of the randomisation test; default: %(default)s",
    )
    compare.add_argument(
        "--seed", type=_at_least(0), default=2026, metavar="N", help="of both; default: %(default)s"
    )
    compare.set_defaults(run=_compare)


def _group(text: str) -> tuple[str, list[Path]]:
    name, _, runs = text.partition("=")
    if not name or not runs.strip(","):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=RUN,RUN")
    return name, [Path(run) for run in runs.split(",") if run]


def _metric_names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} up")
        return int(text)

    return number


def _compare(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from slifmr_pl.records.comparable import Group
    from slifmr_pl.records.comparison import compare
    from slifmr_pl.records.comparison_tables import print_comparison
    from slifmr_pl.records.files import write_json
    from slifmr_pl.records.folder import read_evaluation

    letters = string.ascii_uppercase
    single = [
        (letters[i] if i < len(letters) else f"run {i + 1}", [run])
        for i, run in enumerate(options.runs)
    ]
    groups = [
        Group(name, tuple(read_evaluation(run, options.stage) for run in runs))
        for name, runs in (*single, *options.group)
    ]
    comparison = compare(groups, options.metrics, resamples=options.resamples, seed=options.seed)
    print_comparison(comparison, _console())
    if options.json is not None:
        write_json(options.json, asdict(comparison))
        print(f"Written to {options.json}")
    return 0


def _add_reproduce(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = "train a run again from its saved configuration, test it, and compare every number"
    reproduce = commands.add_parser(
        "reproduce",
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog="Ends with 0 where all numbers agree, 1 where some differ, 2 where the run could "
        "not be repeated.",
    )
    reproduce.add_argument("folder", type=Path, metavar="RUN", help="folder of a tested run")
    reproduce.add_argument(
        "--data.root",
        dest="data_root",
        type=Path,
        metavar="PATH",
        help="where the data folder is now; default: as configured",
    )
    reproduce.add_argument(
        "--out", type=Path, metavar="PATH", help="where the new run goes; default: RUN/reproduction"
    )
    reproduce.add_argument(
        "--tolerance",
        type=_share,
        default=1e-3,
        metavar="T",
        help="relative difference that still counts as agreement; default: %(default)s",
    )
    reproduce.set_defaults(run=_reproduce)


def _share(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to below 1")
    return number


def _reproduce(options: argparse.Namespace) -> int:
    from slifmr_pl.errors import UserFacingError
    from slifmr_pl.records.reproduction_report import reproduce

    out = options.out or options.folder / "reproduction"
    try:
        agrees = reproduce(options.folder, out, options.data_root, options.tolerance, _console())
    except UserFacingError:
        raise
    except Exception:
        traceback.print_exc()
        return 2  # Python's own status for this, 1, would say that numbers differ
    return 0 if agrees else 1


def _console() -> "Console":
    from rich.console import Console

    # Wrapped cells of a table help nobody who reads it in a file.
    return Console(width=None if sys.stdout.isatty() else 200)


if __name__ == "__main__":
    raise SystemExit(main())
