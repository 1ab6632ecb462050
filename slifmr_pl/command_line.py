"""The parser of `fit`, `validate`, `test` and `predict`."""

import re
from difflib import get_close_matches
from typing import NoReturn

from pytorch_lightning.cli import LightningArgumentParser

from slifmr_pl.errors import ConfigError

_UNKNOWN = re.compile(r"unrecognized arguments: --([\w.-]+)|does not accept option '([\w.-]+)'")


class SettingsParser(LightningArgumentParser):
    """Says what is wrong in a few lines, where argparse would list every setting there is."""

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
