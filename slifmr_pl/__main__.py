"""`python -m slifmr_pl COMMAND`: what is no Trainer job."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from slifmr_pl.data.demo import write_demo_catalogue
from slifmr_pl.data.demo_encoders import write_demo_encoders
from slifmr_pl.errors import UserFacingError


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        args: Command line without the program's name; default `sys.argv`.

    Returns:
        Exit status: 0, or 2 where input has to be mended.
    """
    parser = argparse.ArgumentParser(prog="python -m slifmr_pl")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="write the demo catalogue and its tiny encoders")
    demo.add_argument("folder", type=Path, nargs="?", default=Path("demo_data"))
    demo.set_defaults(run=lambda options: _demo(options.folder))
    options = parser.parse_args(args)
    try:
        options.run(options)
    except UserFacingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _demo(folder: Path) -> None:
    summary = write_demo_catalogue(folder)
    write_demo_encoders(folder / "encoders")
    print(
        f"{'Wrote' if summary.written else 'Found'} the demo catalogue in {folder}: "
        f"{summary.users} users, {summary.items} items, {summary.interactions} interactions, "
        f"{summary.triples} triples, and two tiny untrained encoders."
    )


if __name__ == "__main__":
    raise SystemExit(main())
