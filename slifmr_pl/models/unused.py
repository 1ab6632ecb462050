"""Settings of SLIF-MR that were given and have no effect, because of another one."""

from dataclasses import MISSING, fields
from typing import Any

from slifmr_pl.graphs.model_inputs import ModelInputs
from slifmr_pl.losses.objective import LossConfig
from slifmr_pl.nn.network_config import NetworkConfig
from slifmr_pl.nn.self_loop import SelfLoopConfig


def unused_settings(
    network: NetworkConfig, self_loop: SelfLoopConfig, loss: LossConfig, inputs: ModelInputs
) -> dict[str, list[str]]:
    """Names of settings without effect that are not at their defaults, by what makes them so.

    Args:
        network: Settings of the network.
        self_loop: Of the self-loop.
        loss: Of the objective.
        inputs: The data.
    """
    found: dict[str, list[str]] = {}

    def note(reason: str, section: str, names: list[str]) -> None:
        if names:
            found.setdefault(reason, []).extend(f"model.{section}.{name}" for name in names)

    absent = {
        "modality": "" if inputs.features else "the data have no modalities",
        "knowledge": "" if inputs.graph.triples is not None else "the data have no facts",
        "regression": "",
    }
    for name, reason in absent.items():
        config = getattr(network, name)
        why = reason if config.enabled else f"model.network.{name}.enabled is false"
        if why:
            note(why, f"network.{name}", _changed(config, all_but="enabled"))
            if name in ("modality", "knowledge") and self_loop.enabled:
                note(why, "self_loop", _changed(self_loop, f"gamma_{name}"))
    if network.interaction.layers == 0:
        names = _changed(network.interaction, "edge_dropout")
        note("model.network.interaction.layers is 0", "network.interaction", names)
    if not self_loop.enabled:
        note(
            "model.self_loop.enabled is false", "self_loop", _changed(self_loop, all_but="enabled")
        )
    if loss.alignment == 0:
        names = _changed(loss, "alignment_temperature", "alignment_pairs")
        note("model.loss.alignment is 0", "loss", names)
    if loss.ranking != "softmax":
        note("model.loss.ranking is not softmax", "loss", _changed(loss, "ranking_temperature"))
    return found


def _changed(config: Any, *names: str, all_but: str = "") -> list[str]:
    """Fields of a dataclass that are not at their defaults: those named, or all but one."""
    found = []
    for one in fields(config):
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if (one.name in names or not names) and one.name != all_but:
            found += [] if getattr(config, one.name) == default else [one.name]
    return found
