"""The one command line: `slifmr`, `python lightning_cli.py`, `python -m slifmr_pl`, `main(args)`.

What takes seconds to import is imported only when a command runs, so that `--help` is quick.
"""

import argparse
import gc
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from feature_extraction.pipes import STATUS, ends_quietly
from slifmr_pl import __version__
from slifmr_pl.cli.commands import GROUPS, module_name
from slifmr_pl.cli.commands.arguments import plugins_parser
from slifmr_pl.errors import StorageError, UserFacingError

if TYPE_CHECKING:
    from slifmr_pl.models.base import RecommenderModule
    from slifmr_pl.recommendation_datamodule import RecommendationDataModule

SUBCOMMANDS = {
    "fit": "train; checkpoints, metrics and configuration go to a new folder below runs/",
    "validate": "rank items for the validation part with a checkpoint",
    "test": "rank items for the test part with a checkpoint",
    "predict": "write the recommendations of a checkpoint for all users",
}
"""The subcommands that are Lightning's."""

_LIGHTNING = "slifmr_pl.cli.lightning"  # takes seconds to import
_QUICK = ("-h", "--help", "--print_config")  # flags of commands that compute nothing


def main(
    args: list[str] | None = None,
    *,
    model: "type[RecommenderModule] | None" = None,
    data: "type[RecommendationDataModule] | None" = None,
) -> int:
    """Runs one command.

    Args:
        args: Command line without the program's name; default `sys.argv`.
        model: What `fit` and its like train if neither a flag nor a file says; default
            `SlifMrModule`.
        data: What they take their data from; default `SlifMrDataModule`.

    Returns:
        Exit status: 0; 2 where input, configuration or the disk has to be mended, or a process is
        lost; 130 or 143 where SIGINT or SIGTERM stopped it; 1 where `reproduce` found numbers that
        differ; 141 where nobody reads any more what it prints.
    """
    with ends_quietly():
        return _run(sys.argv[1:] if args is None else args, model, data)
    return STATUS


def _run(
    given: list[str],
    model: "type[RecommenderModule] | None",
    data: "type[RecommendationDataModule] | None",
) -> int:
    name = given[0] if given else ""
    if name in ("-h", "--help"):
        print(_overview())
        return 0
    if given == ["--version"]:
        print(f"slifmr {__version__}")
        return 0
    if "--print_metric_definitions" in given:
        return _refused("--print_metric_definitions is now a command of its own: slifmr metrics")
    if name in _our_commands():
        return _run_ours(name, given[1:])
    if name not in SUBCOMMANDS:
        near = get_close_matches(name, [*SUBCOMMANDS, *_our_commands()], n=1)
        return _refused(
            (f"there is no command {name}" if name else "no command is given")
            + (f"; did you mean {near[0]}?" if near else "; slifmr --help lists all")
        )
    try:
        if not (_LIGHTNING in sys.modules or any(word.startswith(_QUICK) for word in given)):
            print("Loading libraries …", file=sys.stderr, flush=True)
        with _collector_paused():
            from slifmr_pl.cli.lightning import run
    except KeyboardInterrupt:
        print("Stopped before anything began.", file=sys.stderr)
        return 130
    return run(given, model, data)


def _our_commands() -> list[str]:
    return [name for group in GROUPS.values() for name in group if name not in SUBCOMMANDS]


def _command(name: str) -> ModuleType:
    return import_module(f"slifmr_pl.cli.commands.{module_name(name)}")


def _overview() -> str:
    groups = []
    for group, names in GROUPS.items():
        groups.append(f"\n{group}:")
        groups += [f"  {name:13}{SUBCOMMANDS.get(name) or _command(name).HELP}" for name in names]
    lines = "\n".join(groups)
    return f"""usage: slifmr COMMAND [...]

Train, evaluate and use SLIF-MR recommenders and models of your own.
{lines}

COMMAND --help says what it takes. Of fit, validate, test and predict, --print_config prints all
settings as a file. --version prints the version."""


def _run_ours(name: str, args: list[str]) -> int:
    """Runs a command that is no subcommand of Lightning's."""
    command, everywhere = _command(name), plugins_parser()
    parser = argparse.ArgumentParser(
        prog=f"slifmr {name}",
        description=f"{command.HELP[0].upper()}{command.HELP[1:]}.",
        allow_abbrev=False,
        parents=[everywhere],
    )
    command.add_arguments(parser)
    everywhere.prog, everywhere.usage = parser.prog, parser.format_usage().partition(": ")[2]
    named, rest = everywhere.parse_known_args(args)
    options = parser.parse_args(rest)
    try:
        from slifmr_pl.config import plugins

        plugins.load_from_here(named.plugins)
        plugins.load_installed()
        status: int = command.run(options)
    except UserFacingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if not StorageError.is_meant(error):
            raise
        print(f"error: {StorageError.of(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        print("Stopped; what was written before is whole.", file=sys.stderr)
        return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)
    return status


def _refused(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keeps the garbage collector from what is imported: all of it lives as long as the process.

    Looking through that million objects again and again, and once more at the end, would take
    a third of the time from the command to its first action.
    """
    if _LIGHTNING in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
