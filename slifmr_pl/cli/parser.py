"""The parser of `fit`, `validate`, `test` and `predict`."""

import re
import shlex
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from pytorch_lightning.cli import LightningArgumentParser

from slifmr_pl.errors import ConfigError

_UNKNOWN = re.compile(r"unrecognized arguments: --([\w.-]+)|does not accept option '([\w.-]+)'")
_NOT_MADE = re.compile(r"Problem with given class_path '([^']+)':\n\s*(.+)")


class SettingsParser(LightningArgumentParser):
    """Says what is wrong in a few lines, where argparse would list every setting there is.

    No setting can be abbreviated: one that is misspelt could stand for another.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Ends parsing.

        Raises:
            ConfigError: With the setting that an unknown one may stand for.
        """
        if not self.exit_on_error:
            super().error(message, ex)
        parser = getattr(ex, "subcommand_parser", None) or self
        program = parser.prog.replace(" [options]", "")
        if " " not in program:
            program += " SUBCOMMAND"
        unknown = _UNKNOWN.search(message)
        near: list[str] = []
        if unknown is not None:
            key = (unknown[1] or unknown[2]).replace("-", "_")
            settings = {action.dest for action in parser._actions}
            near = get_close_matches(key, settings, n=1)
        raise ConfigError(
            message.strip(),
            expected=f"settings that `{program} --help` lists",
            fix=f"did you mean {near[0]}?" if near else "check names and values",
        ) from ex


def configuration_files(args: Sequence[str]) -> list[Path]:
    """The files that a command line names with `--config` or `-c`."""
    named = [
        value
        for flag, value in pairwise((*args, ""))
        if flag in ("--config", "-c") and not value.startswith("-")
    ]
    named += [arg.partition("=")[2] for arg in args if arg.startswith("--config=")]
    return [Path(name) for name in named if Path(name).is_file()]


def refusal(error: ValueError) -> ConfigError | None:
    """What keeps a class that a setting names from being made; None of any other error."""
    found = _NOT_MADE.search(str(error))
    if found is None:
        return None
    name, reason = found[1].rpartition(".")[2], found[2].strip()
    said, _, hint = reason.partition("HINT: ")
    return ConfigError(
        f"{name} cannot be made: {said.strip()}",
        expected="a class whose requirements are met and whose settings fit",
        fix=hint or "mend its init_args",
    )


def program() -> str:
    """How a user calls the command line that is running."""
    called = Path(sys.argv[0])
    if called.name == "lightning_cli.py":
        return f"python {shlex.quote(str(called))}"
    return "slifmr" if called.name == "slifmr" else "python -m slifmr_pl.cli.entry_point"
