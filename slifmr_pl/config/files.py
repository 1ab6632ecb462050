"""Configuration files without the command line around them, and their section `data`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from slifmr_pl.config.plugins import load_from_here, package_of
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
            whole = _merged(whole, yaml_file(file))
        except (OSError, ValueError) as error:
            raise unreadable(error, file) from error
        except ConfigError as error:
            error.path = file
            raise
    for key, value in (settings or {}).items():
        nested = value
        for name in reversed(key.split(".")):
            nested = {name: nested}
        whole = _merged(whole, nested)
    return whole


def yaml_file(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        OSError: It cannot be opened.
        ValueError: It holds something else; the message says what, and where.
    """
    content = _parsed(path.read_text("utf-8"))
    if not isinstance(content, dict):
        raise ValueError("it is empty" if content is None else f"it is a {type(content).__name__}")
    return content


def inline_configuration(text: str) -> dict[str, Any] | None:
    """A configuration that is written where its file could be named; None of a name.

    Raises:
        ConfigError: It is neither.
    """
    try:
        content = None if Path(text).is_file() else _parsed(text)
    except (OSError, ValueError) as error:
        raise unreadable(error) from error
    return content if isinstance(content, dict) else None


def load_named_plugins(content: Mapping[str, Any]) -> None:
    """Imports the plug-ins that a configuration names; they may lie in the current folder.

    Raises:
        ConfigError: If one cannot be imported.
    """
    load_from_here(named_plugins(content))


def named_plugins(content: Mapping[str, Any]) -> list[str]:
    """The packages that a configuration names: below `plugins`, and by the classes of its sections.

    Raises:
        ConfigError: A section is none.
    """
    classes = [class_and_settings(content.get(section), section)[0] for section in SECTIONS]
    packages = [package for name in classes if name for package in package_of(name)]
    return [*plugin_names(content.get("plugins") or []), *packages]


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


def _parsed(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        place = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise ValueError(f"{error.problem or 'it is no YAML'}{place}") from error
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def unreadable(
    error: Exception,
    file: Path | None = None,
    what: str = "the configuration",
    expected: str = "a YAML file as `fit --config` takes it",
) -> ConfigError:
    """What is said of a file that `yaml_file` could not read."""
    return ConfigError(
        f"{what} cannot be read ({error})",
        expected=expected,
        fix="check the path and the file",
        path=file,
    )


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
