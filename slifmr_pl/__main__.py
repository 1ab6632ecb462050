"""`python -m slifmr_pl COMMAND`: what is no Trainer job."""

import argparse
import importlib
import signal
import sys
from collections.abc import Sequence

from slifmr_pl import __version__
from slifmr_pl.cli.commands import COMMANDS, command_name


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        args: Command line without the program's name; default `sys.argv`.

    Returns:
        Exit status: 0; 2 where input has to be mended; 130 or 143 where SIGINT or SIGTERM stopped
        it; `reproduce` ends with 1 where numbers differ.
    """
    options = _parser().parse_args(args)
    from slifmr_pl.errors import UserFacingError  # after --help, which needs nothing of it

    try:
        status: int = options.run(options)
    except UserFacingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        print("Stopped; what was written before is whole.", file=sys.stderr)
        return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m slifmr_pl",
        description="What is no Trainer job; for those see `python lightning_cli.py --help`.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"slifmr_pl {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"slifmr_pl.cli.commands.{name}")
        text = module.HELP
        command = commands.add_parser(
            command_name(name),
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            allow_abbrev=False,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
