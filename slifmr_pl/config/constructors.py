"""What a class is made from: the arguments of its constructor, with their types and defaults."""

import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple, get_type_hints


class Argument(NamedTuple):
    """One argument of a constructor.

    Attributes:
        type: Its annotation; `Any` where there is none, or one that cannot be looked up.
        default: `inspect.Parameter.empty` where it has to be given.
    """

    type: Any
    default: Any

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is inspect.Parameter.empty


def constructor_arguments(cls: type) -> dict[str, Argument]:
    """The arguments of a class by name, with those that `**kwargs` hand on to the class above."""
    arguments: dict[str, Argument] = {}
    for constructor in _constructors(cls):
        parameters = list(inspect.signature(constructor).parameters.values())[1:]  # without self
        hints = _hints(constructor)
        for one in parameters:
            if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
                found = Argument(hints.get(one.name, Any), one.default)
                arguments.setdefault(one.name, found)
        if not any(one.kind is one.VAR_KEYWORD for one in parameters):
            break
    return arguments


def _constructors(cls: type) -> Iterator[Any]:
    return (vars(one)["__init__"] for one in cls.__mro__ if "__init__" in vars(one))


def _hints(constructor: Any) -> dict[str, Any]:
    try:
        return get_type_hints(constructor)
    except (NameError, TypeError):  # a name that is imported for type checkers alone
        return {
            name: hint
            for name, hint in getattr(constructor, "__annotations__", {}).items()
            if not isinstance(hint, str)
        }
