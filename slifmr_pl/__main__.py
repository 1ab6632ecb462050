"""`python -m slifmr_pl COMMAND`: what is no Trainer job."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        args: Command line without the program's name; default `sys.argv`.

    Returns:
        Exit status: 0, or 2 where input has to be mended.
    """
    options = _parser().parse_args(args)
    from slifmr_pl.errors import UserFacingError  # after --help, which needs nothing of it

    try:
        options.run(options)
    except UserFacingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m slifmr_pl",
        description="What is no Trainer job; for those see `python lightning_cli.py --help`.",
    )
    commands = parser.add_subparsers(title="commands", dest="command", required=True)
    _add_demo(commands)
    _add_metrics(commands)
    return parser


Commands = argparse._SubParsersAction  # the type that argparse names nowhere else


def _add_demo(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = "write the demo catalogue and its tiny encoders"
    demo = commands.add_parser("demo", help=text, description=text)
    demo.add_argument(
        "folder", type=Path, nargs="?", default=Path("demo_data"), help="default: %(default)s"
    )
    demo.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> None:
    from slifmr_pl.data.demo import write_demo_catalogue
    from slifmr_pl.data.demo_encoders import write_demo_encoders

    summary = write_demo_catalogue(options.folder)
    write_demo_encoders(options.folder / "encoders")
    print(
        f"{'Wrote' if summary.written else 'Found'} the demo catalogue in {options.folder}: "
        f"{summary.users} users, {summary.items} items, {summary.interactions} interactions, "
        f"{summary.triples} triples, and two tiny untrained encoders."
    )


def _add_metrics(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = "print the exact definition of every metric, as Markdown"
    metrics = commands.add_parser("metrics", help=text, description=text)
    metrics.set_defaults(run=_metrics)


def _metrics(options: argparse.Namespace) -> None:
    from slifmr_pl.metrics.definitions import as_markdown

    print(as_markdown(), end="")


if __name__ == "__main__":
    raise SystemExit(main())
