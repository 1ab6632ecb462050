"""Command line of feature extraction, ``python -m feature_extraction``: its commands by module."""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from feature_extraction.cli.download_command import add_download
from feature_extraction.cli.extract_command import add_extract
from feature_extraction.cli.store_commands import add_store_commands
from feature_extraction.errors import UserFacingError
from feature_extraction.pipes import STATUS, ends_quietly


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        args: Arguments without the program name; None takes those of the process.

    Returns:
        Exit code: 0, or 2 if the input cannot be used as asked (argparse exits with 2 too).
    """
    with ends_quietly():
        options = _parser().parse_args(args)
        try:
            with _log_to_stderr():
                options.run(options)
        except UserFacingError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        return 0
    return STATUS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m feature_extraction",
        description="Turn images, texts and other raw inputs of items into feature stores.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add_extract(commands)
    add_download(commands)
    add_store_commands(commands)
    return parser


@contextmanager
def _log_to_stderr() -> Iterator[None]:
    logger = logging.getLogger("feature_extraction")
    level = logger.level
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
