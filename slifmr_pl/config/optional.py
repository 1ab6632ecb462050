"""Libraries that only some tasks need: imported when asked for, or named with their extra."""

from importlib import import_module
from typing import Any

from slifmr_pl.errors import ConfigError


def library(module: str, extra: str, task: str, otherwise: str | None = None) -> Any:
    """Imports an optional library.

    Args:
        module: What to import.
        extra: The extra of this package that brings it.
        task: What needs it, for the message.
        otherwise: What to do without it, if there is something.

    Raises:
        ConfigError: It cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{task} needs {module.partition('.')[0]}, which cannot be imported ({error})",
            expected=f"the extra `{extra}`",
            fix=f"pip install 'slifmr-pl[{extra}]'" + (f", or {otherwise}" if otherwise else ""),
        ) from error
