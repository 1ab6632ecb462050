"""The regression view as a model keeps it: solved once from the data, then part of its state."""

from collections.abc import Mapping
from typing import Any

import torch

from slifmr_pl.errors import CheckpointError
from slifmr_pl.graphs.inputs import ModelInputs
from slifmr_pl.graphs.profiles import SharedFacts, facts_of, leading_directions
from slifmr_pl.graphs.regression import ItemRegression, RegressionFactors, item_regression
from slifmr_pl.nn.config import NetworkConfig

WEIGHTS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
"""What ω is chosen from."""

_FIRST_WEIGHT = 0.35


class RegressionView:
    """Solves the regression when it is first asked for, or takes it from a checkpoint.

    Args:
        config: Of the network: what is enabled there is regressed.

    Attributes:
        weight: The present ω.
    """

    def __init__(self, config: NetworkConfig) -> None:
        self.config = config
        fixed = config.regression.weight
        self.weight: float = _FIRST_WEIGHT if fixed is None else fixed
        self._solved: ItemRegression | None = None
        self._factors: RegressionFactors | None = None

    def factors(self, inputs: ModelInputs, device: torch.device) -> RegressionFactors | None:
        """Factors of the training interactions; None without the view.

        Args:
            inputs: Of the data that the model is trained on, the same at every call.
            device: Where the factors go.
        """
        solved = self._solve(inputs)
        if solved is None:
            return None
        if self._factors is None:
            graph = inputs.graph
            self._factors = solved.factors(graph.users, graph.items, graph.n_users)
        self._factors = self._factors.to(device)
        return self._factors._replace(weight=self.weight)

    @property
    def is_weighed(self) -> bool:
        """Whether ω is to be chosen on validation users."""
        return self.config.regression.enabled and self.config.regression.weight is None

    def state(self, inputs: ModelInputs) -> dict[str, Any] | None:
        """For a checkpoint, from which a model scores without features."""
        solved = self._solve(inputs)
        return None if solved is None else {**solved._asdict(), "weight": self.weight}

    def load(self, state: Mapping[str, Any] | None) -> None:
        """Takes what `state` gave.

        Raises:
            CheckpointError: If the view is enabled and there is none.
        """
        if not self.config.regression.enabled:
            return
        if state is None:
            raise CheckpointError(
                "the checkpoint has no regression, which its settings enable",
                expected="one that `fit` wrote",
                fix="use another checkpoint of the run; this one was altered",
            )
        self._solved = ItemRegression(state["sent"], state["unexplained"])
        self._factors, self.weight = None, state["weight"]

    def _solve(self, inputs: ModelInputs) -> ItemRegression | None:
        config, graph = self.config.regression, inputs.graph
        if config.enabled and self._solved is None:
            profiles = []
            if config.side_information > 0 and self.config.modality.enabled:
                profiles += [leading_directions(features) for features in inputs.features.values()]
            if (
                config.side_information > 0
                and self.config.knowledge.enabled
                and graph.triples is not None
            ):
                facts = facts_of(graph.triples, graph.n_items)
                shared = SharedFacts.among(facts, graph.n_items)
                profiles.append(shared.profiles(facts, graph.n_items))
            self._solved = item_regression(
                graph.users,
                graph.items,
                graph.n_users,
                graph.n_items,
                rank=config.rank,
                ridge=config.ridge,
                profiles=profiles,
                profile_weight=config.side_information,
            )
        return self._solved
