"""The command line; `main` runs one command of it."""

from slifmr_pl.cli.entry_point import main

__all__ = ["main"]
