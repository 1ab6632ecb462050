"""Configuration files without the command line around them, and their section `data`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from slifmr_pl.errors import ConfigError


def composed(files: Sequence[Path], settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What some configurations say together; the later one wins.

    Args:
        files: Configurations.
        settings: Single settings by dotted key, which win over all files.

    Raises:
        ConfigError: A file is missing or no configuration.
    """
    found: dict[str, Any] = {}
    for file in files:
        try:
            content = yaml.safe_load(file.read_text("utf-8"))
            if not isinstance(content, dict):
                raise ValueError(f"a {type(content).__name__}")
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise ConfigError(
                f"the configuration cannot be read ({_reason(error)})",
                expected="a YAML file as `fit --config` takes it",
                fix="check the path and the file",
                path=file,
            ) from error
        found = _merged(found, content)
    for key, value in (settings or {}).items():
        nested = value
        for name in reversed(key.split(".")):
            nested = {name: nested}
        found = _merged(found, nested)
    return found


def read_data_settings(
    files: Sequence[Path], settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The section `data` of what some configurations say together.

    Args:
        files: Configurations.
        settings: Single settings by dotted key, of any section.

    Raises:
        ConfigError: A file is missing or no configuration.
    """
    section = composed(files, settings).get("data") or {}
    if not isinstance(section, dict):
        raise ConfigError(
            f"a section data that is a {type(section).__name__}",
            expected="settings of the data",
            fix="write data: and its settings below it",
            path=files[-1] if files else None,
        )
    return section


def _reason(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return f"{type(error).__name__}: {error}"
    return f"{getattr(error, 'problem', None) or 'it is no YAML'}, line {mark.line + 1}"


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings, those of the second over those of the first."""
    merged = dict(first)
    for key, value in second.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(old, value) if both else value  # type: ignore[arg-type]
    return merged
