"""`metrics`: definitions."""

import argparse

HELP = "print the exact definition of every metric, those of plug-ins too, as Markdown"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(options: argparse.Namespace) -> int:
    """Prints them."""
    from slifmr_pl.metrics.definitions import as_markdown, available_metrics

    print(as_markdown(available_metrics()), end="")
    return 0
