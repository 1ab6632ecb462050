"""Configuration dataclasses and parts to plain dictionaries and back, strictly."""

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from slifmr_pl.config.constructors import constructor_arguments
from slifmr_pl.config.parts import Part, is_settings, plain_value
from slifmr_pl.config.plugins import resolve
from slifmr_pl.errors import ConfigError

Config = TypeVar("Config")
SomePart = TypeVar("SomePart", bound=Part)


def plain(config: Any) -> dict[str, Any]:
    """A configuration as nested dictionaries of plain types, for a checkpoint."""
    values: dict[str, Any] = plain_value(config, type(config).__name__)
    return values


def flat(
    values: Mapping[str, Any], prefix: str = "", *, whole_parts: bool = False
) -> dict[str, Any]:
    """Nested settings by dotted key.

    Args:
        values: Settings.
        prefix: Of all keys.
        whole_parts: Whether a part, its class with its arguments, stays in one piece.
    """
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and not (whole_parts and is_settings(value)):
            result |= flat(value, f"{prefix}{key}.", whole_parts=whole_parts)
        else:
            result[prefix + key] = value
    return result


def restored(kind: type[Config], values: Mapping[str, Any], name: str) -> Config:
    """The configuration that `plain` described.

    Args:
        kind: A configuration dataclass.
        values: Its fields; nested configurations as mappings.
        name: Where the configuration stands, for the error.

    Raises:
        ConfigError: If there is a key that the configuration does not have.
    """
    types = get_type_hints(kind)
    for key in values:
        if key not in types:
            close = get_close_matches(key, types, n=1)
            raise ConfigError(
                f"unknown key {name}.{key}",
                expected=f"one of {', '.join(types)}",
                fix=f"did you mean {close[0]}?" if close else "remove the key",
            )
    return kind(
        **{key: restored_value(types[key], value, f"{name}.{key}") for key, value in values.items()}
    )


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
    types = constructor_arguments(cls)
    arguments = {
        key: restored_value(types[key].type if key in types else Any, value, f"{where}.{key}")
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


def restored_value(kind: Any, value: Any, name: str) -> Any:
    """A value of plain types as what its type asks for: configurations, and parts by class.

    Args:
        kind: The type, as annotated: a configuration dataclass, or optional, or several of them.
        value: As `plain` and `Part.settings` give it.
        name: Where it stands, for the error.

    Raises:
        ConfigError: If a key is unknown, or a part cannot be made.
    """
    if is_settings(value):
        return part_from_settings(_contract(kind) or Part, value, name)
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if isinstance(value, str) and Path in members and str not in members:
        return Path(value)
    if isinstance(value, Mapping):
        for one in members:
            if isinstance(one, type) and dataclasses.is_dataclass(one):
                return restored(one, value, name)
        inner = _inner(members, Mapping, -1)
        return {key: restored_value(inner, one, f"{name}.{key}") for key, one in value.items()}
    if isinstance(value, list):
        inner = _inner(members, Sequence, 0)
        parts = [restored_value(inner, one, f"{name}.{place}") for place, one in enumerate(value)]
        return tuple(parts) if any(get_origin(one) is tuple for one in members) else parts
    return value


def _inner(members: tuple[Any, ...], of: type, place: int) -> Any:
    """The type of what a mapping or a sequence among some types holds; `Any` if none says."""
    for one in members:
        origin = get_origin(one)
        if isinstance(origin, type) and issubclass(origin, of):
            return get_args(one)[place]
    return Any


def _contract(kind: Any) -> type[Part] | None:
    """The contract that a type names, perhaps in a list or beside other types."""
    if isinstance(kind, type) and issubclass(kind, Part):
        return kind
    return next(filter(None, map(_contract, get_args(kind))), None)
