"""`metrics`: definitions."""

import argparse

HELP = "print the exact definition of every metric, as Markdown"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(options: argparse.Namespace) -> int:
    """Prints them."""
    from slifmr_pl.metrics.definitions import as_markdown

    print(as_markdown(), end="")
    return 0
