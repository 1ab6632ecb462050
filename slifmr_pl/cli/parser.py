"""The parser of `fit`, `validate`, `test` and `predict`."""

import re
from argparse import SUPPRESS
from difflib import get_close_matches
from functools import cache
from os import PathLike
from typing import Any, NoReturn

import yaml
from jsonargparse import ArgumentParser, Namespace
from pytorch_lightning.cli import LightningArgumentParser
from pytorch_lightning.utilities import rank_zero_info

from slifmr_pl.cli.choice import Choice, find_class
from slifmr_pl.cli.common_settings import HelpInLayers
from slifmr_pl.config.files import SECTIONS
from slifmr_pl.config.sections import class_and_settings, section_of
from slifmr_pl.errors import ConfigError

_UNKNOWN = re.compile(r"unrecognized arguments: --([\w.-]+)|does not accept option '([\w.-]+)'")
_NOT_MADE = re.compile(r"Problem with given class_path '([^']+)':\n\s*(.+)")


class SettingsParser(LightningArgumentParser):
    """Says what is wrong in a few lines, where argparse would list every setting there is.

    No setting can be abbreviated: one that is misspelt could stand for another.
    """

    choice: Choice | None = None
    """Of model and data module; None of parsers inside of this one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        wanted = kwargs.pop("add_help", True)
        super().__init__(*args, **{"allow_abbrev": False, **kwargs}, add_help=False)
        if wanted:
            self.add_argument(
                "-h",
                "--help",
                action=HelpInLayers,
                default=SUPPRESS,
                help="Common settings; --help SECTION all of a section, --help all all there are.",
            )

    def parse_string(
        self, content: str, path: str | PathLike[str] = "", *args: Any, **kwargs: Any
    ) -> Namespace:
        """Parses the content of a file whose classes have been chosen before."""
        if self.choice is not None:
            content = self._without_classes(content, self.choice, str(path) or "--config")
        parsed: Namespace = super().parse_string(content, path, *args, **kwargs)
        return parsed

    def dump(self, namespace: Namespace, *args: Any, **kwargs: Any) -> str:
        """Settings as YAML, as `--config` takes them: with the classes that have to be named."""
        text: str = super().dump(namespace, *args, **kwargs)
        named = {} if self.choice is None else self.choice.named
        values = yaml.safe_load(text) if named else None
        if not isinstance(values, dict) or not named.keys() & values.keys():
            return text
        for section, name in named.items():
            values[section] = section_of(name, values.get(section) or {})
        named_text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        return named_text

    def instantiate_classes(self, *args: Any, **kwargs: Any) -> Namespace:
        """Lightning calls `instantiate` by the name that jsonargparse had for it before 4.49."""
        made: Namespace = self.instantiate(*args, **kwargs)
        return made

    def _without_classes(self, content: str, choice: Choice, where: str) -> str:
        """The content with settings alone in each section.

        Names of classes are taken out, and so are settings of classes that are not chosen.
        """
        values = yaml.safe_load(content)
        if not isinstance(values, dict):
            return content
        before = {key: values[key] for key in values if key in (*SECTIONS, "plugins", "baseline")}
        for key in ("plugins", "baseline"):
            values.pop(key, None)
        for section in values.keys() & set(SECTIONS):
            name, settings = class_and_settings(values[section], section)
            foreign = self._foreign(choice, section, name, settings)
            for key, cls in sorted(foreign.items()):
                rank_zero_info(f"{where}: {section}.{key} is of {cls.__name__}, and left out")
            values[section] = {key: settings[key] for key in settings if key not in foreign}
        after = {key: values[key] for key in values if key in before}
        return content if after == before else yaml.safe_dump(values, sort_keys=False)

    def _foreign(
        self, choice: Choice, section: str, name: str | None, settings: dict[str, Any]
    ) -> dict[str, type]:
        """Settings of a section that the chosen class does not take, each with the class that does.

        A section may name another class than the chosen one. Of its settings, those stay that a
        common parent of the two classes takes.
        """
        chosen = choice.classes[section]
        own = None if name is None else find_class(name, section)
        if own is None or own is chosen:
            dests = [action.dest.split(".") for action in self._actions]
            kept = frozenset(dest[1] for dest in dests if dest[0] == section and len(dest) > 1)
            others = choice.passed_over[section]
        else:
            kept = parameters(next(cls for cls in own.__mro__ if issubclass(chosen, cls)))
            others = [own]
        return {
            key: cls for key in settings.keys() - kept for cls in others if key in parameters(cls)
        }

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Ends parsing.

        Raises:
            ConfigError: Always; it names the setting that a misspelt one is closest to.
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
        fix = "check names and values"
        if "are required" in message:
            fix = "give them as flags, or --config FILE; of a trained model, config.yaml of its run"
        raise ConfigError(
            message.strip(),
            expected=f"settings that `{program} --help all` lists",
            fix=f"did you mean {near[0]}?" if near else fix,
        ) from ex


@cache
def parameters(cls: type) -> frozenset[str]:
    """Arguments of a class's constructor, with those that it hands on to its parents."""
    names = ArgumentParser(exit_on_error=False).add_class_arguments(cls, "it")
    return frozenset(name.split(".")[1] for name in names)


def refusal(error: ValueError) -> ConfigError | None:
    """Why a class that a setting names could not be made; None for any other error."""
    message = _NOT_MADE.search(str(error))
    if message is None:
        return None
    name, reason = message[1].rpartition(".")[2], message[2].strip()
    reason, _, hint = reason.partition("HINT: ")
    return ConfigError(
        f"{name} cannot be made: {reason.strip()}",
        expected="a class whose requirements are met and whose settings fit",
        fix=hint or "mend its init_args",
    )
