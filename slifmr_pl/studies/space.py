"""The search space of a sweep: a YAML file of settings and their ranges."""

from pathlib import Path
from types import ModuleType
from typing import Any

from slifmr_pl.config.files import unreadable, yaml_file
from slifmr_pl.config.optional import library
from slifmr_pl.errors import ConfigError

# Runs that differ in these are not comparable, or differ by chance alone.
_NOT_TO_TUNE = (
    "seed_everything",
    "name",
    "data.split",
    "data.filters",
    "data.test_",
    "data.perturbations",
    "data.seed",
    "checkpoint",
    "early_stopping.monitor",
)
_RANGE = {"low", "high", "log", "step"}
_EXPECTED = "{low: 1.0e-4, high: 1.0e-2, log: true} or {choices: [1, 2, 3]}"


def optuna() -> ModuleType:
    """The library behind the sweep.

    Raises:
        ConfigError: It is not installed.
    """
    module: ModuleType = library("optuna", "sweep", "a sweep")
    return module


def read_space(path: Path) -> dict[str, Any]:
    """Reads a search space.

    The file maps dotted keys of the configuration to `{low, high}`, with `log: true` or `step` if
    wanted, or to `{choices}`. Two whole numbers as bounds make whole numbers.

    Returns:
        Optuna's distributions, by key.

    Raises:
        ConfigError: The file cannot be read, or an entry is no range and no choice.
    """
    try:
        content = yaml_file(path)
    except (OSError, ValueError) as error:
        expected = "a YAML file of settings and their ranges"
        raise unreadable(error, path, "the search space", expected) from error
    return search_space(content, path)


def search_space(content: Any, path: Path) -> dict[str, Any]:
    """Optuna's distributions, by key, of what a file says.

    Args:
        content: As `read_space` has it.
        path: The file, for errors.

    Raises:
        ConfigError: An entry is no range and no choice.
    """
    if not isinstance(content, dict) or not content:
        raise ConfigError(
            "the search space names no setting",
            expected=f"lines such as `model.optimizer.learning_rate: {_EXPECTED}`",
            fix="add the settings to choose",
            path=path,
        )
    for key in content:
        if str(key).startswith(_NOT_TO_TUNE):
            raise ConfigError(
                f"{key} is not to be tuned: runs would no longer be measured alike",
                expected="settings of the model and of its training",
                fix="take the key out of the search space",
                path=path,
            )
    return {str(key): _distribution(str(key), entry, path) for key, entry in content.items()}


def _distribution(key: str, entry: Any, path: Path) -> Any:
    distributions = optuna().distributions
    try:
        if not isinstance(entry, dict):
            raise ValueError("it is neither a range nor a choice")
        if set(entry) == {"choices"}:
            return distributions.CategoricalDistribution(_scalars(entry["choices"]))
        if not {"low", "high"} <= set(entry) <= _RANGE:
            raise ValueError(f"it has the entries {', '.join(map(str, entry))}")
        _require_numbers({name: entry[name] for name in entry if name != "log"})
        bounds = entry["low"], entry["high"]
        if all(isinstance(bound, int) for bound in bounds):
            return distributions.IntDistribution(**entry)
        return distributions.FloatDistribution(**entry)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{key}: {error}", expected=_EXPECTED, fix="mend the entry", path=path
        ) from error


def _scalars(choices: Any) -> list[Any]:
    if not isinstance(choices, list) or not choices:
        raise ValueError("choices are not a list")
    for choice in choices:
        if not isinstance(choice, str | int | float | bool | None):
            raise ValueError(f"the choice {choice!r} is no text, number, true, false or null")
    return choices


def _require_numbers(values: dict[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, str):
            # YAML 1.1 reads 1e-4 as text.
            raise ValueError(f"{name} is the text {value!r}; a number such as 1.0e-4 has a point")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} is {value!r}, not a number")
