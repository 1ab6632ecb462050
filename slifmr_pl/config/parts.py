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
from typing import Any, Self

from slifmr_pl.config.constructors import constructor_arguments
from slifmr_pl.errors import ConfigError


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

        Arguments that were not given are there with their defaults, so that a changed default does
        not change what was trained.

        Raises:
            ConfigError: If an argument is not plain.
        """
        name = class_path(type(self))
        arguments = _plain_defaults(type(self))
        for key, value in self._arguments.items():
            arguments[key] = plain_value(value, f"{name}({key}=…)")
        return {"class_path": name, "init_args": arguments}

    def fresh(self) -> Self:
        """A new part of the same class and arguments, without what this one has learned.

        Raises:
            ConfigError: If an attribute of the contract, such as its name or weight, was set after
                construction: no configuration and no checkpoint could say so.
        """
        new = type(self)(**{key: _fresh(value) for key, value in self._arguments.items()})
        for name in _declared(type(self)) & vars(self).keys():
            value = vars(self)[name]
            if isinstance(value, str | int | float) and getattr(new, name, None) != value:
                raise ConfigError(
                    f"{name} of a {type(self).__name__} was set to {value!r} from outside",
                    expected="a part that its arguments describe, so that it can be made again",
                    fix=f"set self.{name} in the constructor, from an argument",
                )
        return new


def class_path(cls: type) -> str:
    """The name by which a configuration finds a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def is_settings(value: Any) -> bool:
    """Whether a value is what `Part.settings` gives."""
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("class_path"), str)
        and value.keys() <= {"class_path", "init_args"}
    )


def _plain_defaults(cls: type) -> dict[str, Any]:
    """Defaults that can be written down; any other one is known to the class alone."""
    defaults = {}
    for name, argument in constructor_arguments(cls).items():
        if not argument.is_required:
            try:
                defaults[name] = plain_value(argument.default, name)
            except ConfigError:
                continue
    return defaults


def _declared(cls: type) -> set[str]:
    """Attributes that a contract or a class below it declares with a type."""
    return {
        name
        for one in cls.__mro__
        if issubclass(one, Part)
        for name in inspect.get_annotations(one)
    }


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
