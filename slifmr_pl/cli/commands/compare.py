"""`compare`: tested runs against each other."""

import argparse
from pathlib import Path

from slifmr_pl.cli.commands.arguments import add_runs, at_least, console, groups_of_one

HELP = "compare tested runs: means, confidence intervals, paired significance tests"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds runs, groups of runs and what to compare."""
    parser.description = (
        "Compares tested runs. The first run or group is what the others are compared "
        "with. Give groups to average runs of one configuration with different seeds."
    )
    parser.epilog = "What each number means: docs/comparing.md."
    add_runs(parser)
    parser.add_argument(
        "--stage", choices=("test", "val"), default="test", help="default: %(default)s"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all numbers there, too")
    parser.add_argument(
        "--resamples",
        type=at_least(100),
        default=10_000,
        metavar="N",
        help="of the bootstrap and of the randomisation test; default: %(default)s",
    )
    parser.add_argument(
        "--seed", type=at_least(0), default=2026, metavar="N", help="of both; default: %(default)s"
    )


def run(options: argparse.Namespace) -> int:
    """Prints the comparison, and writes it on request."""
    from dataclasses import asdict

    from slifmr_pl.runs.atomic_files import write_json
    from slifmr_pl.runs.reading import read_evaluation
    from slifmr_pl.studies.comparable import Group
    from slifmr_pl.studies.comparison import compare
    from slifmr_pl.studies.comparison_tables import print_comparison

    groups = [
        Group(name, tuple(read_evaluation(run, options.stage) for run in runs))
        for name, runs in (*groups_of_one(options.runs), *options.group)
    ]
    comparison = compare(groups, options.metrics, resamples=options.resamples, seed=options.seed)
    print_comparison(comparison, console())
    if options.json is not None:
        write_json(options.json, asdict(comparison))
        print(f"Written to {options.json}")
    return 0
