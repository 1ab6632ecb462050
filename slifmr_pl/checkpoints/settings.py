"""Which model a checkpoint is of, and with which settings it was trained."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from slifmr_pl.checkpoints.format import STATE_KEY
from slifmr_pl.config.constructors import constructor_arguments
from slifmr_pl.config.conversion import flat, restored_value
from slifmr_pl.config.parts import class_path
from slifmr_pl.config.plugins import resolve
from slifmr_pl.errors import CheckpointError, ConfigError

RUN_TIME = ("ks", "top_k", "sparse_backend", "memory_budget_mb", "metrics", "optimizer.fused")
"""Settings of a model that concern a run, not what was trained."""

_OF_TRAINING = ("loss.", "optimizer.", "learning_rate")  # scores do not depend on them

Model = TypeVar("Model")


def require_model(kind: type, checkpoint: Mapping[str, Any]) -> None:
    """Refuses a checkpoint of another model class.

    Raises:
        CheckpointError: If it is of another class.
    """
    saved = checkpoint[STATE_KEY]["model"]
    if saved != class_path(kind):
        raise _other_model(saved, class_path(kind))


def model_class(
    checkpoint: Mapping[str, Any], kind: type[Model], path: str | Path | None = None
) -> type[Model]:
    """The class that a checkpoint names.

    Nothing is imported but this package, plug-ins, and what is imported already.

    Args:
        checkpoint: As read.
        kind: The class that it has to be, or to inherit from.
        path: Of the checkpoint, for errors.

    Raises:
        CheckpointError: If the class is not there, or is another one.
    """
    name = checkpoint[STATE_KEY]["model"]
    if name == class_path(kind):
        return kind
    try:
        named = resolve(name, object, "the checkpoint")
    except ConfigError as error:
        raise _as_checkpoint_error(error, checkpoint, path) from error
    if not issubclass(named, kind):
        raise _other_model(name, class_path(kind), path)
    return named


def check_settings(given: Mapping[str, Any], checkpoint: Mapping[str, Any], training: bool) -> None:
    """Refuses a checkpoint that was trained with other settings than those of a module.

    Args:
        given: The module's settings.
        checkpoint: Of a module of the same class.
        training: Whether training goes on; otherwise only what the scores depend on counts.

    Raises:
        CheckpointError: If a setting differs.
    """
    here, there = flat(given), flat(checkpoint["hyper_parameters"])
    for name in (*there, *(name for name in here if name not in there)):
        counts = name not in RUN_TIME and (training or not name.startswith(_OF_TRAINING))
        own, saved = (side.get(name, "absent") for side in (here, there))
        if counts and own != saved:
            raise CheckpointError(
                f"{name} is {own!r}, and {saved!r} in the checkpoint",
                expected="the settings that the checkpoint was trained with",
                fix="load_model(path) takes them from it",
            )


def model_arguments(
    kind: type,
    checkpoint: Mapping[str, Any],
    changes: Mapping[str, Any],
    path: str | Path | None = None,
) -> dict[str, Any]:
    """Arguments of the module that a checkpoint is of.

    Args:
        kind: The class of the module.
        checkpoint: As read.
        changes: New values of settings; only settings that concern a run alone can change.
        path: Of the checkpoint, for errors.

    Raises:
        CheckpointError: If the class does not take what was saved, or a part of it is not there.
        ConfigError: If a setting cannot be changed.
    """
    types = {name: one.type for name, one in constructor_arguments(kind).items()}
    free = [name for name in RUN_TIME if name in types]
    fixed = sorted(changes.keys() - set(free))
    if fixed:
        raise ConfigError(
            f"load_from_checkpoint with {', '.join(fixed)}",
            expected=f"changes of {', '.join(free)} alone: the rest is what was trained",
            fix="leave it out, or train anew",
        )
    saved = dict(checkpoint["hyper_parameters"])
    saved.pop("metrics", None)  # to use a model, nobody needs the package that measured it
    unknown = sorted(saved.keys() - types.keys())
    if unknown:
        raise CheckpointError(
            f"{kind.__name__} has no argument {', '.join(unknown)}, which the checkpoint has",
            expected=f"arguments of this class: {', '.join(types)}",
            fix="use the version of the class that the checkpoint was trained with",
            path=path,
        )
    try:
        restored = {name: restored_value(types[name], value, name) for name, value in saved.items()}
    except ConfigError as error:
        raise _as_checkpoint_error(error, checkpoint, path) from error
    return restored | dict(changes)


def _other_model(found: str, expected: str, path: str | Path | None = None) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint is of {found}",
        expected=f"one of {expected}",
        fix="load_model(path) takes the class that it is of, or give its run's config.yaml",
        path=path,
    )


def _as_checkpoint_error(
    error: ConfigError, checkpoint: Mapping[str, Any], path: str | Path | None
) -> CheckpointError:
    plugins = checkpoint[STATE_KEY].get("plugins") or {}
    written = ", ".join(f"{name} {version or ''}".strip() for name, version in plugins.items())
    return CheckpointError(
        error.found + (f"; it was written with the plug-ins {written}" if written else ""),
        expected=error.expected,
        fix=error.fix,
        path=path,
    )
