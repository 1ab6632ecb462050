"""Parts: pieces of a model or of its data that a configuration names by their class.

A loss term, a view, a negative sampler, a metric, a whole model: each is a subclass of a contract,
and each contract is a `Part`. In YAML a part is `class_path` and `init_args`; in Python it is an
object. A part remembers the arguments that it was made with, so that a checkpoint can name it in
plain types and make it anew.
"""

import dataclasses
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from slifmr_pl.config.plugins import resolve
from slifmr_pl.errors import ConfigError

SomePart = TypeVar("SomePart", bound="Part")


class Part:
    """Something that a configuration names by its class; subclasses are written as usual.

    Arguments of its constructor have to be plain: numbers, texts, None, lists and dictionaries of
    them, dataclasses, paths, and other parts.
    """

    _arguments: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Remembers the arguments; the constructor gets the same."""
        part: Self = super().__new__(cls)
        try:
            bound = inspect.signature(cls).bind_partial(*args, **kwargs).arguments
        except TypeError:
            bound = {}  # the constructor is called with the same, and says what is wrong
        extra = bound.pop(_name_of_kwargs(cls), {})
        # A torch module would look for its tables, which are not there before its constructor ran.
        object.__setattr__(part, "_arguments", {**bound, **extra})
        return part

    @property
    def settings(self) -> dict[str, Any]:
        """`class_path` and `init_args` in plain types, as in YAML and in a checkpoint.

        Raises:
            ConfigError: If an argument is not plain.
        """
        name = class_path(type(self))
        return {
            "class_path": name,
            "init_args": {
                key: plain_value(value, f"{name}({key}=…)")
                for key, value in self._arguments.items()
            },
        }

    def fresh(self) -> Self:
        """A new part of the same class and arguments, without what this one has learned."""
        return type(self)(**{key: _fresh(value) for key, value in self._arguments.items()})


def class_path(cls: type) -> str:
    """The name by which a configuration finds a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def part_from_settings(kind: type[SomePart], settings: Mapping[str, Any], where: str) -> SomePart:
    """The part that `Part.settings` describes.

    No module is imported that the user has not named or installed as a plug-in, see
    `slifmr_pl.config.plugins`.

    Args:
        kind: The contract that the part has to keep.
        settings: `class_path`, and perhaps `init_args`.
        where: Where they stand, for errors.

    Raises:
        ConfigError: If they describe no part of this kind, or its arguments are wrong.
    """
    if not is_settings(settings):
        raise ConfigError(
            f"{where} is {settings!r}",
            expected="class_path, and perhaps init_args",
            fix="name the class as package.module.Class",
        )
    cls = resolve(settings["class_path"], kind, where)
    arguments = {
        key: part_from_settings(Part, value, f"{where}.init_args.{key}")
        if is_settings(value)
        else value
        for key, value in (settings.get("init_args") or {}).items()
    }
    try:
        return cls(**arguments)
    except TypeError as error:
        raise ConfigError(
            f"{where}: {settings['class_path']} does not take its arguments ({error})",
            expected=f"arguments of {inspect.signature(cls)}",
            fix="use the version of the class that the settings were written for",
        ) from error


def is_settings(value: Any) -> bool:
    """Whether a value is what `Part.settings` gives."""
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("class_path"), str)
        and value.keys() <= {"class_path", "init_args"}
    )


def _name_of_kwargs(cls: type) -> str:
    kinds = inspect.signature(cls).parameters.values()
    return next((p.name for p in kinds if p.kind is inspect.Parameter.VAR_KEYWORD), "")


def _fresh(value: Any) -> Any:
    if isinstance(value, Part):
        return value.fresh()
    if isinstance(value, list | tuple):
        return type(value)(map(_fresh, value))
    return value


def plain_value(value: Any, where: str) -> Any:
    """A value in plain types, as `Part.settings` has it.

    Args:
        value: An argument of a part.
        where: Where it stands, for the error.

    Raises:
        ConfigError: If it cannot be written in plain types.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Part):
        return value.settings
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: plain_value(getattr(value, field.name), where) for field in fields}
    if isinstance(value, Mapping):
        return {str(key): plain_value(entry, where) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(entry, where) for entry in value]
    if isinstance(value, Path):
        return str(value)
    raise ConfigError(
        f"{where} is a {type(value).__name__}",
        expected="plain arguments: numbers, texts, lists, dictionaries, dataclasses, other parts",
        fix="pass what the object is made from, and make it in the constructor",
    )
