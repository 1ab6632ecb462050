"""Configuration dataclasses to plain dictionaries and back, strictly."""

import dataclasses
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeVar, get_type_hints

from slifmr_pl.errors import ConfigError

Config = TypeVar("Config")


def plain(config: Any) -> dict[str, Any]:
    """A configuration as nested dictionaries of plain types, for a checkpoint."""
    return dataclasses.asdict(config)


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
        **{
            key: restored(types[key], value, f"{name}.{key}")
            if dataclasses.is_dataclass(types[key])
            else value
            for key, value in values.items()
        }
    )
