"""Every setting of a subcommand with its default and what its docstring says of it."""

import re
import types
from argparse import SUPPRESS
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from jsonargparse import ArgumentParser

_ROLE = re.compile(r":\w+:`~?(?:[\w.]+\.)?(\w+)`")  # :class:`~package.module.Name`
_LINK = re.compile(r"`([^`<]+) <([^`>]+)>`_+")
_NOTE = re.compile(r"\s*(\.\. (note|warning)::|Example::).*$")
_DEFAULT = re.compile(r"\s*Default: `[^`]*`\.?$")  # of Lightning's docstrings, and not ours
_IN_YAML = {"None": "null", "True": "true", "False": "false"}
_TITLES = {"trainer": "Lightning's Trainer"}  # where its own title says something else
_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    type(None): "null",
}


@dataclass(frozen=True)
class DescribedSetting:
    """A setting as people read of it.

    Attributes:
        key: Dotted, as on the command line.
        default: As the parser has it.
        hint: The type of its values.
        text: What it sets, in one paragraph of plain text.
    """

    key: str
    default: Any
    hint: Any
    text: str

    @property
    def required(self) -> bool:
        """Whether it has to be given: there is no default, and nothing is no value of it."""
        return self.default is None and type(None) not in (self.hint, *get_args(self.hint))

    @property
    def type(self) -> str:
        """What values it has, in words."""
        return type_in_words(self.hint)

    @property
    def default_text(self) -> str:
        """The default, as a configuration says it."""
        value = list(self.default) if isinstance(self.default, tuple) else self.default
        text: str = yaml.safe_dump(value, default_flow_style=True, width=1000)
        return text.splitlines()[0]  # YAML ends single values with a line of dots

    @property
    def summary(self) -> str:
        """The first statement of the text."""
        return re.split(r"(?<=[\w`)])[.;:](?:\s|$)", self.text, maxsplit=1)[0]


def described_settings(parser: ArgumentParser) -> dict[str, DescribedSetting]:
    """The settings that a parser takes, by key, in its order.

    Args:
        parser: Of one subcommand.
    """
    found = {}
    for action in parser._actions:
        single = [flag for flag in action.option_strings if flag == f"--{action.dest}"]
        default = action.default
        if not single or default == SUPPRESS or action.dest == "config":
            continue
        hint = getattr(action, "_typehint", None) or str
        found[action.dest] = DescribedSetting(
            action.dest, default, hint, plain_text(action.help or "")
        )
    return found


def section_titles(parser: ArgumentParser) -> dict[str, str]:
    """What the sections of settings are about, by their keys, such as `model.network`."""
    titles = {key: plain_text(group.title or "") for key, group in (parser.groups or {}).items()}
    return titles | _TITLES


def plain_text(docstring: str) -> str:
    """What a docstring says, in one paragraph, without markup and with YAML's words for values."""
    text = _LINK.sub(r"\1, \2", _ROLE.sub(r"\1", " ".join(docstring.split())))
    text = text.replace("``", "`")
    text = _DEFAULT.sub("", _NOTE.sub("", text))
    return re.sub(r"\b(None|True|False)\b", lambda word: _IN_YAML[word[0]], text).strip()


def type_in_words(hint: Any) -> str:
    """What values a type has, such as `number or null`."""
    return _either(_names(hint))


def has_choices(hint: Any) -> bool:
    """Whether some values are named one by one."""
    return get_origin(hint) is Literal or any(map(has_choices, get_args(hint)))


def _either(names: Iterable[str]) -> str:
    *most, last = dict.fromkeys(names)
    return f"{', '.join(most)} or {last}" if most else last


def _names(hint: Any) -> Iterator[str]:
    origin, inner = get_origin(hint), get_args(hint)
    if hint in _NAMES:
        yield _NAMES[hint]
    elif origin is Literal:
        yield from map(str, inner)
    elif origin in (Union, types.UnionType):
        for one in inner:
            yield from _names(one)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        yield f"{type_in_words(inner[1])} by name"
    elif isinstance(origin, type) and issubclass(origin, Iterable):
        yield f"list of {_either(name for one in inner for name in _names(one))}"
    else:
        yield getattr(hint, "__name__", str(hint))
