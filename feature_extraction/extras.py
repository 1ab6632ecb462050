"""Libraries that only some kinds and commands need: imported when asked for, or named."""

from importlib import import_module
from typing import Any

from feature_extraction.errors import FeatureError


def extra_library(module: str, extra: str, task: str) -> Any:
    """Import an optional library.

    Args:
        module: What to import.
        extra: The extra of slifmr-pl that brings it.
        task: What needs it, for the message.

    Raises:
        FeatureError: It cannot be imported.
    """
    try:
        return import_module(module)
    except Exception as error:  # what was built for another version of torch fails in many ways
        lines = str(error).strip().splitlines()
        raise FeatureError(
            f"{task} needs {module}, which cannot be imported ({lines[0] if lines else error!r})",
            expected=f"the extra {extra}",
            fix=f"pip install 'slifmr-pl[{extra}]'"
            + (", or mend the installation" if not isinstance(error, ModuleNotFoundError) else ""),
        ) from error
