"""Configuration dataclasses to plain dictionaries and back, strictly."""

import dataclasses
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeVar, get_args, get_type_hints

from slifmr_pl.config.parts import Part, is_settings, part_from_settings, plain_value
from slifmr_pl.errors import ConfigError

Config = TypeVar("Config")


def plain(config: Any) -> dict[str, Any]:
    """A configuration as nested dictionaries of plain types, for a checkpoint."""
    values: dict[str, Any] = plain_value(config, type(config).__name__)
    return values


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted key."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{key}.")
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
    arguments = get_args(kind)
    if isinstance(value, Mapping):
        for one in (kind, *arguments):
            if isinstance(one, type) and dataclasses.is_dataclass(one):
                return restored(one, value, name)
        inner = arguments[-1] if arguments else Any
        return {key: restored_value(inner, one, f"{name}.{key}") for key, one in value.items()}
    if isinstance(value, list):
        inner = arguments[0] if arguments else Any
        return [restored_value(inner, one, f"{name}.{place}") for place, one in enumerate(value)]
    return value


def _contract(kind: Any) -> type[Part] | None:
    """The contract that a type names, perhaps in a list or beside other types."""
    if isinstance(kind, type) and issubclass(kind, Part):
        return kind
    return next(filter(None, map(_contract, get_args(kind))), None)
