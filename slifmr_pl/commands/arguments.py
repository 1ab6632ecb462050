"""Types of arguments, and the console, that several commands share."""

import argparse
import string
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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
    """A type of argument: names between commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def group(text: str) -> tuple[str, list[Path]]:
    """A type of argument: NAME=RUN,RUN."""
    name, _, runs = text.partition("=")
    if not name or not runs.strip(","):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=RUN,RUN")
    return name, [Path(run) for run in runs.split(",") if run]


def lettered(runs: Sequence[Path]) -> list[tuple[str, list[Path]]]:
    """Runs as groups of one, called A, B, C and so on."""
    letters = string.ascii_uppercase
    return [
        (letters[number] if number < len(letters) else f"run {number + 1}", [run])
        for number, run in enumerate(runs)
    ]


def console() -> "Console":
    """Where tables go: as wide as the terminal, or wide enough for a file."""
    from rich.console import Console

    # Wrapped cells of a table help nobody who reads it in a file.
    return Console(width=None if sys.stdout.isatty() else 200)
