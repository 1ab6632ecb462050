"""The sections `model` and `data` of a configuration, which may name their class.

`model: my_package.MyModel`, `model: {class_path: my_package.MyModel, init_args: {…}}`, or the
settings alone, which are those of the class that is chosen elsewhere.
"""

from collections.abc import Mapping
from typing import Any

from slifmr_pl.errors import ConfigError


def class_and_settings(section: Any, name: str) -> tuple[str | None, dict[str, Any]]:
    """What a section says: the class, if it names one, and the settings.

    Args:
        section: As in YAML.
        name: Of the section, for the error.

    Raises:
        ConfigError: If it is no section.
    """
    if section is None:
        return None, {}
    if isinstance(section, str):
        return section, {}
    settings = section
    if isinstance(section, Mapping) and section.keys() & {"class_path", "init_args"}:
        beside = {key: section[key] for key in section if key not in ("class_path", "init_args")}
        settings = (section.get("init_args") or {}) if not beside else None
    if not isinstance(settings, Mapping):
        raise ConfigError(
            f"a section {name} that is {_described(section)}",
            expected="its settings, or class_path and init_args alone",
            fix=f"write {name}: and its settings below it",
        )
    return section.get("class_path"), dict(settings)


def section_of(class_path: str | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A section that says the class, where it has to be said, and the settings."""
    if class_path is None:
        return dict(settings)
    return {"class_path": class_path, "init_args": dict(settings)}


def _described(section: Any) -> str:
    if isinstance(section, Mapping):
        return f"a mapping of {', '.join(map(str, section))}"
    return f"a {type(section).__name__}"
