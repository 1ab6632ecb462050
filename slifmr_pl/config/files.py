"""Configuration files without the command line around them, and their section `data`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from slifmr_pl.config.sections import class_and_settings, section_of
from slifmr_pl.errors import ConfigError

SECTIONS = ("model", "data")
"""The sections that may name a class."""


def merged_configuration(
    files: Sequence[Path], settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Several configurations as one; the later one wins.

    A section that names a class is `class_path` and `init_args`, whichever way it was written.

    Args:
        files: Configurations.
        settings: Single settings by dotted key, which win over all files.

    Raises:
        ConfigError: A file is missing or no configuration.
    """
    whole: dict[str, Any] = {}
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
        whole = _merged(whole, content)
    for key, value in (settings or {}).items():
        nested = value
        for name in reversed(key.split(".")):
            nested = {name: nested}
        whole = _merged(whole, nested)
    return whole


def named_plugins(content: Mapping[str, Any]) -> list[str]:
    """The packages that a configuration names below `plugins`."""
    return plugin_names(content.get("plugins") or [])


def plugin_names(value: Any) -> list[str]:
    """Packages out of a list, or a text with commas between them.

    Raises:
        ConfigError: If it is neither.
    """
    if isinstance(value, str):
        value = value.strip("[] ").split(",")
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ConfigError(
            f"plugins are {value!r}",
            expected="names of packages",
            fix="for example plugins: [my_package]",
        )
    return [name.strip(" '\"") for name in value if name.strip(" '\"")]


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
    section = merged_configuration(files, settings).get("data")
    try:
        class_path, values = class_and_settings(section, "data")
    except ConfigError as error:
        error.path = files[-1] if files else None
        raise
    return section_of(class_path, values)


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
        if key in SECTIONS:
            merged[key] = _merged_sections(old, value, key)
        else:
            merged[key] = _merged_values(old, value)
    return merged


def _merged_sections(old: Any, new: Any, name: str) -> dict[str, Any]:
    """A section over an earlier one, whichever way either is written."""
    (before, settings), (after, changes) = (
        class_and_settings(section, name) for section in (old, new)
    )
    return section_of(after or before, _merged_values(settings, changes))


def _merged_values(old: Any, new: Any) -> Any:
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return new
    return dict(old) | {key: _merged_values(old.get(key), value) for key, value in new.items()}
