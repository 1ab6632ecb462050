"""Arguments, their types, and the console, that several commands share."""

import argparse
import os
import string
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def at_least(least: int) -> Callable[[str], int]:
    """A type of argument: whole numbers from `least` up."""

    def number(text: str) -> int:
        if not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} up")
        return int(text)

    return number


def share(text: str) -> float:
    """A type of argument: numbers from 0 to below 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to below 1")
    return number


def names(text: str) -> list[str]:
    """A type of argument: names separated by commas, at least one."""
    listed = [name.strip() for name in text.split(",") if name.strip()]
    if not listed:
        raise argparse.ArgumentTypeError(f"there is no name in {text!r}")
    return listed


def metric_names(text: str) -> list[str]:
    """A type of argument: metrics separated by commas, each as METRIC@K."""
    from slifmr_pl.config.bounds import is_metric_name

    given = names(text)
    for name in given:
        if not is_metric_name(name):
            raise argparse.ArgumentTypeError(f"{name!r} is not METRIC@K, such as recall@20")
    return given


def configuration(text: str) -> Path:
    """A type of argument: a configuration file, or the name of a preset."""
    from slifmr_pl.config import presets
    from slifmr_pl.errors import ConfigError

    try:
        return presets.configuration(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(f"{error.found}; {error.fix}") from error


def setting(text: str) -> tuple[str, Any]:
    """A type of argument: KEY=VALUE, the value as in YAML."""
    import yaml

    key, _, value = text.partition("=")
    try:
        if not key or not value:
            raise ValueError
        return key, yaml.safe_load(value)
    except (ValueError, yaml.YAMLError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE") from error


def validation_metric(text: str) -> str:
    """A type of argument: the name of a metric of the validation part."""
    if not text.startswith("val/") or "@" not in text:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no metric of the validation part, such as val/recall@20"
        )
    return text


def threads_of(jobs: int) -> int:
    """Threads of each of several jobs at a time: `$OMP_NUM_THREADS`, or its part of the cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() else max(1, (os.cpu_count() or 1) // jobs)


def group(text: str) -> tuple[str, list[Path]]:
    """A type of argument: NAME=RUN,RUN."""
    name, _, runs = text.partition("=")
    if not name or not runs.strip(","):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=RUN,RUN")
    return name, [Path(run) for run in runs.split(",") if run]


def groups_of_one(runs: Sequence[Path]) -> list[tuple[str, list[Path]]]:
    """Runs as groups of one, called A, B, C and so on."""
    letters = string.ascii_uppercase
    return [
        (letters[number] if number < len(letters) else f"run {number + 1}", [run])
        for number, run in enumerate(runs)
    ]


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Adds runs, groups of runs and the metrics to compare: `runs`, `group`, `metrics`."""
    parser.add_argument(
        "runs",
        type=Path,
        nargs="*",
        metavar="RUN",
        help="folder of a run; called A, B, C and so on",
    )
    parser.add_argument(
        "--group",
        type=group,
        action="append",
        default=[],
        metavar="NAME=RUN,RUN",
        help="runs of one configuration with different seeds; give it again for the next group",
    )
    parser.add_argument(
        "--metrics",
        type=names,
        metavar="METRIC@K,METRIC@K",
        help="what is compared, for example recall@20,ndcg@20; default: all that every run has",
    )


def add_configurations(parser: argparse.ArgumentParser) -> None:
    """Adds what all runs of a study have in common: `configs`, `set`, `jobs`."""
    parser.add_argument(
        "configs",
        type=configuration,
        nargs="+",
        metavar="CONFIG",
        help="as in fit: a file or the name of a preset; the later one wins",
    )
    add_settings_of_runs(parser)


def add_settings_of_runs(parser: argparse.ArgumentParser) -> None:
    """Adds what is set in all runs of a study, and how many run at a time: `set`, `jobs`."""
    parser.add_argument(
        "--set",
        type=setting,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of all runs, for example data.root=PATH; give it again for the next",
    )
    parser.add_argument("--jobs", type=at_least(1), default=1, metavar="N", help="runs at a time")


def plugins_parser() -> argparse.ArgumentParser:
    """Of packages of the user's, `plugins`, which every command takes in any place."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(
        "--plugins",
        type=names,
        action="extend",
        default=[],
        metavar="PACKAGE,PACKAGE",
        help="packages or modules with parts of your own, also of the current folder",
    )
    return parser


def told(line: str) -> None:
    """Tells how far a command is, beside what it prints as its result."""
    print(line, file=sys.stderr, flush=True)


def console() -> "Console":
    """Where tables go: as wide as the terminal, or wide enough for a file."""
    from rich.console import Console

    # Wrapped cells of a table help nobody who reads it in a file.
    return Console(width=None if sys.stdout.isatty() else 200)
