"""What settings may be: they are checked where they are given, before anything is read."""

import math
from numbers import Integral, Real
from typing import Any

from slifmr_pl.errors import ConfigError

MAX_SEED = 2**32 - 1
"""Largest seed that numpy and Lightning take."""


def is_number(
    value: Any,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    whole: bool = False,
) -> bool:
    """Whether a value is a finite number within bounds."""
    if not isinstance(value, Real) or (whole and not isinstance(value, Integral)):
        return False
    number = float(value)
    return math.isfinite(number) and least <= number <= most and above < number < below


def is_metric_name(value: Any) -> bool:
    """Whether a value is METRIC@K, such as recall@20, with K from 1 up."""
    metric, _, cutoff = str(value).partition("@")
    return bool(metric) and cutoff.isdecimal() and int(cutoff) >= 1


def require(section: str, *checks: tuple[str, Any, bool, str]) -> None:
    """Refuses the first setting of a section that does not hold.

    Args:
        section: Its dotted key, such as `data.split`.
        *checks: Name of a setting, its value, whether it holds, and what was expected.

    Raises:
        ConfigError: If one does not.
    """
    for name, value, holds, expected in checks:
        if not holds:
            raise ConfigError(
                f"{section}.{name} is {value!r}", expected=expected, fix=f"set {section}.{name}"
            )


def require_counts(section: str, least: int, **values: Any) -> None:
    """Refuses settings that are no whole number of at least so much.

    Raises:
        ConfigError: If one is not.
    """
    for name, value in values.items():
        holds = is_number(value, least=least, whole=True)
        require(section, (name, value, holds, f"a whole number of at least {least}"))


def require_from(section: str, least: float, most: float = math.inf, **values: Any) -> None:
    """Refuses settings that are no number of at least so much, and at most so much.

    Raises:
        ConfigError: If one is not.
    """
    bounds = f"a number of at least {least}" + ("" if math.isinf(most) else f" and at most {most}")
    for name, value in values.items():
        require(section, (name, value, is_number(value, least=least, most=most), bounds))


def require_share(section: str, **values: Any) -> None:
    """Refuses settings that are no number of at least 0 and below 1.

    Raises:
        ConfigError: If one is not.
    """
    for name, value in values.items():
        holds = is_number(value, least=0, below=1)
        require(section, (name, value, holds, "a number of at least 0 and below 1"))


def require_seed(section: str, value: Any) -> None:
    """Refuses a seed that no generator takes.

    Raises:
        ConfigError: If so.
    """
    holds = is_number(value, least=0, most=MAX_SEED, whole=True)
    require(section, ("seed", value, holds, f"a whole number from 0 to {MAX_SEED}"))
