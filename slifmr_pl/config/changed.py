"""Which settings are not at their defaults, and so were given."""

from dataclasses import MISSING, fields
from typing import Any


def changed_fields(config: Any, *names: str, all_but: tuple[str, ...] = ()) -> list[str]:
    """Fields of a dataclass that are not at their defaults.

    Args:
        config: An instance.
        *names: The fields to look at; none of them means all.
        all_but: Fields that are left out.
    """
    found = []
    for one in fields(config):
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if (one.name in names or not names) and one.name not in all_but:
            found += [] if getattr(config, one.name) == default else [one.name]
    return found
