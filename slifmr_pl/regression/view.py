"""The regression view of a model: solved once from the data, then saved in its checkpoints."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from slifmr_pl.config.memory import require_memory
from slifmr_pl.data.array_cache import cached_call
from slifmr_pl.errors import CheckpointError
from slifmr_pl.graphs.model_inputs import ModelInputs
from slifmr_pl.nn.network_config import NetworkConfig
from slifmr_pl.regression.item_regression import (
    ItemRegression,
    RegressionFactors,
    item_regression,
    regression_memory,
)
from slifmr_pl.regression.profiles import SharedFacts, facts_of, leading_directions

WEIGHTS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
"""Candidates for ω."""

_FIRST_WEIGHT = 0.35


class RegressionView:
    """Solves the regression on first use, or loads it from a checkpoint.

    Args:
        config: Of the network; modalities and knowledge enter where they are enabled there.

    Attributes:
        weight: The present ω.
    """

    def __init__(self, config: NetworkConfig) -> None:
        self.config = config
        fixed = config.regression.weight
        self.weight = _FIRST_WEIGHT if fixed is None else float(fixed)
        self._solved: ItemRegression | None = None
        self._factors: RegressionFactors | None = None

    def factors(self, inputs: ModelInputs, device: torch.device) -> RegressionFactors | None:
        """Factors of the training interactions; None without the view.

        Args:
            inputs: The data that the model is trained on; the same at every call.
            device: Where the factors go.
        """
        solved = self.solve(inputs)
        if solved is None:
            return None
        if self._factors is None:
            graph = inputs.graph
            self._factors = solved.factors(graph.users, graph.items, graph.n_users)
        self._factors = self._factors.to(device)
        return self._factors._replace(weight=self.weight)

    @property
    def weight_is_chosen(self) -> bool:
        """Whether ω is chosen on validation users; the configuration fixes it otherwise."""
        return self.config.regression.enabled and self.config.regression.weight is None

    @property
    def state(self) -> dict[str, Any] | None:
        """What a checkpoint holds, so that it scores without features; None before it is solved."""
        solved = self._solved
        return None if solved is None else {**solved._asdict(), "weight": self.weight}

    def load(self, state: Mapping[str, Any] | None) -> None:
        """Restores `state`; ω only where the configuration does not fix it."""
        self._solved = self._factors = None
        if state is None or not self.config.regression.enabled:
            return
        self._solved = ItemRegression(state["shared_factors"].cpu(), state["residual_share"].cpu())
        if self.weight_is_chosen:
            self.weight = state["weight"]

    def check_memory(self, n_items: int) -> None:
        """Refuses a regression that is still to be solved and does not fit into memory.

        Args:
            n_items: I.

        Raises:
            ConfigError: If so.
        """
        config = self.config.regression
        if config.enabled and self._solved is None:
            require_memory(
                f"the regression of {n_items:,} items in {config.rank} factors",
                regression_memory(n_items, config.rank),
                "lower model.network.regression.rank, or set model.network.regression.enabled "
                "false",
            )

    def broadcast_from_first(
        self, inputs: ModelInputs, broadcast: Callable[[Any], Any], is_first: bool
    ) -> None:
        """Gives all processes the first one's regression; all call this together.

        Args:
            inputs: Of the data that the model is trained on.
            broadcast: Gives every process what the first one passes to it.
            is_first: Whether this is the first process.
        """
        solved = self.solve(inputs) if is_first else None
        self._solved, self._factors = broadcast(solved), None

    def solve(self, inputs: ModelInputs) -> ItemRegression | None:
        """The regression, solved on first use; None without the view.

        Raises:
            CheckpointError: If solving needs features, which a checkpoint does not hold.
        """
        config, graph = self.config.regression, inputs.graph
        if config.enabled and self._solved is None:
            profiles = []
            if config.side_information > 0 and self.config.modality.enabled:
                if inputs.features_are_absent and graph.modalities:
                    raise CheckpointError(
                        "the checkpoint has no regression yet",
                        expected="one saved at the end of an epoch or later",
                        fix="use another checkpoint of the run, or resume this one with its data",
                    )
                profiles += [leading_directions(features) for features in inputs.features.values()]
            if (
                config.side_information > 0
                and self.config.knowledge.enabled
                and graph.triples is not None
            ):
                facts = facts_of(graph.triples, graph.n_items)
                shared = SharedFacts.among(facts, graph.n_items)
                profiles.append(shared.profiles(facts, graph.n_items))
            self._solved = cached_call(
                item_regression,
                ItemRegression,
                {
                    "users": graph.users,
                    "items": graph.items,
                    "n_users": graph.n_users,
                    "n_items": graph.n_items,
                    "rank": config.rank,
                    "ridge": config.ridge,
                    "profiles": profiles,
                    "profile_weight": config.side_information,
                },
                folder=inputs.cache and inputs.cache / "regressions",
                name="regression",
            )
        return self._solved
