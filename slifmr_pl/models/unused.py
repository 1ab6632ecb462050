"""Settings of SLIF-MR that were given and have no effect, because of another one."""

from dataclasses import fields
from typing import Any

from slifmr_pl.config.changed import changed_fields
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
    found = _Findings()
    loop, modality, knowledge = self_loop, network.modality, network.knowledge
    for name, view, given, kind in (
        ("modality", modality, bool(inputs.features), "modalities"),
        ("knowledge", knowledge, inputs.graph.triples is not None, "facts"),
    ):
        why = "" if given else f"the data have no {kind}"
        why = why if view.enabled else f"model.network.{name}.enabled is false"
        found.unless(not why, why, f"network.{name}", view, _all_but_enabled(view))
        found.unless(not (why and loop.enabled), why, "self_loop", loop, [f"gamma_{name}"])
    regression, why = network.regression, "model.network.regression.enabled is false"
    names = _all_but_enabled(regression)
    found.unless(regression.enabled, why, "network.regression", regression, names)
    why, names = "model.self_loop.enabled is false", _all_but_enabled(loop)
    found.unless(loop.enabled, why, "self_loop", loop, names)
    why = f"model.network.fusion is {type(network.fusion).__name__}"
    found.unless(isinstance(network.fusion, str), why, "network.modality", modality, ["attention"])
    why, interaction = "model.network.interaction.layers is 0", network.interaction
    found.unless(interaction.layers > 0, why, "network.interaction", interaction, ["edge_dropout"])
    why, names = (
        "model.loss.alignment is 0",
        ["alignment_temperature", "alignment_pairs", "alignment_items"],
    )
    found.unless(loss.alignment > 0, why, "loss", loss, names)
    why = "model.loss.ranking is not softmax"
    found.unless(loss.ranking == "softmax", why, "loss", loss, ["ranking_temperature"])
    return found.by_reason


class _Findings:
    """Settings without effect."""

    def __init__(self) -> None:
        self.by_reason: dict[str, list[str]] = {}

    def unless(
        self, effective: bool, reason: str, section: str, config: Any, names: list[str]
    ) -> None:
        """Notes those of a section that are not at their defaults, unless they have an effect."""
        changed = [] if effective else changed_fields(config, *names)
        if changed:
            keys = [f"model.{section}.{name}" for name in changed]
            self.by_reason.setdefault(reason, []).extend(keys)


def _all_but_enabled(config: Any) -> list[str]:
    return [one.name for one in fields(config) if one.name != "enabled"]
