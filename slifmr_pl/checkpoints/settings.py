"""The settings that a checkpoint was trained with, and those of the module at hand."""

from collections.abc import Mapping
from typing import Any

from slifmr_pl.config.conversion import flat, restored
from slifmr_pl.errors import CheckpointError, ConfigError
from slifmr_pl.losses.objective import LossConfig
from slifmr_pl.nn.config import NetworkConfig
from slifmr_pl.nn.optimizer import OptimizerConfig
from slifmr_pl.nn.self_loop import SelfLoopConfig

RUN_TIME = ("ks", "top_k", "sparse_backend", "memory_budget_mb", "metrics", "optimizer.fused")
"""Settings of a model that concern a run, not what was trained."""

_SECTIONS = {
    "network": NetworkConfig,
    "self_loop": SelfLoopConfig,
    "loss": LossConfig,
    "optimizer": OptimizerConfig,
}
_SCORING = ("network.", "self_loop.")


def check_settings(given: Mapping[str, Any], checkpoint: Mapping[str, Any], training: bool) -> None:
    """Refuses a checkpoint that was trained with other settings than those of a module.

    Args:
        given: The module's settings.
        checkpoint: Of a `SlifMrModule`.
        training: Whether training goes on; otherwise only what the scores depend on counts.

    Raises:
        CheckpointError: If so, or the checkpoint is of another kind of model.
    """
    here, there = flat(given), flat(_saved(checkpoint))
    for name, saved in there.items():
        counts = name not in RUN_TIME if training else name.startswith(_SCORING)
        if counts and here.get(name) != saved:
            raise CheckpointError(
                f"{name} is {here.get(name)!r}, and {saved!r} in the checkpoint",
                expected="the settings that the checkpoint was trained with",
                fix="SlifMrModule.load_from_checkpoint(path) takes them from it",
            )


def module_settings(checkpoint: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the module that a checkpoint is of.

    Args:
        checkpoint: Of a `SlifMrModule`.
        changes: Settings that are to be otherwise, of those that only concern a run.

    Raises:
        CheckpointError: If the checkpoint is of another kind of model.
        ConfigError: If a setting cannot be changed.
    """
    free = [name for name in RUN_TIME if "." not in name]
    fixed = sorted(changes.keys() - set(free))
    if fixed:
        raise ConfigError(
            f"load_from_checkpoint with {', '.join(fixed)}",
            expected=f"changes of {', '.join(free)} alone: the rest is what was trained",
            fix="leave it out, or train anew",
        )
    values = {**_saved(checkpoint), "metrics": [], **changes}
    return values | {name: restored(kind, values[name], name) for name, kind in _SECTIONS.items()}


def _saved(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    saved = checkpoint.get("hyper_parameters", {})
    if not _SECTIONS.keys() <= saved.keys():
        raise CheckpointError(
            "the checkpoint is of a baseline or another model",
            expected="one of SlifMrModule",
            fix="evaluate it with its own configuration: `test --config …/config.yaml`",
        )
    settings: Mapping[str, Any] = saved
    return settings
