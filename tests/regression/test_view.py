from pathlib import Path

import pytest
import torch
from torch import Tensor

from slifmr_pl.config import memory
from slifmr_pl.errors import CheckpointError, ConfigError
from slifmr_pl.graphs.model_inputs import ModelInputs
from slifmr_pl.nn.network_config import (
    KnowledgeConfig,
    ModalityConfig,
    NetworkConfig,
    RegressionConfig,
)
from slifmr_pl.regression.item_regression import item_regression
from slifmr_pl.regression.profiles import SharedFacts, facts_of, leading_directions
from slifmr_pl.regression.view import RegressionView
from tests.tiny_runs import demo_data

OFF = {"modality": ModalityConfig(enabled=False), "knowledge": KnowledgeConfig(enabled=False)}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def inputs(catalogue: Path) -> ModelInputs:
    data = demo_data(catalogue)
    data.prepare_data()
    data.setup("fit")
    return data.model_inputs


def solved(config: NetworkConfig, inputs: ModelInputs) -> Tensor:
    solution = RegressionView(config).solve(inputs)
    assert solution is not None
    return solution.shared_factors


@pytest.mark.parametrize("enabled", [[], ["modality"], ["knowledge"], ["modality", "knowledge"]])
def test_what_is_known_of_items_is_regressed_where_its_view_is_enabled(
    inputs: ModelInputs, enabled: list[str]
) -> None:
    graph = inputs.graph
    assert graph.triples is not None
    facts = facts_of(graph.triples, graph.n_items)
    of = {
        "modality": [leading_directions(features) for features in inputs.features.values()],
        "knowledge": [SharedFacts.among(facts, graph.n_items).profiles(facts, graph.n_items)],
    }
    config = NetworkConfig(
        regression=RegressionConfig(side_information=7.0, ridge=50.0, rank=30),
        **{name: off for name, off in OFF.items() if name not in enabled},
    )
    expected = item_regression(
        graph.users,
        graph.items,
        graph.n_users,
        graph.n_items,
        rank=30,
        ridge=50.0,
        profiles=[profile for name in enabled for profile in of[name]],
        profile_weight=7.0,
    )
    assert torch.equal(solved(config, inputs), expected.shared_factors)


def test_side_information_of_zero_regresses_interactions_alone(inputs: ModelInputs) -> None:
    regression = RegressionConfig(side_information=0)
    without = solved(NetworkConfig(regression=regression, **OFF), inputs)
    assert torch.equal(solved(NetworkConfig(regression=regression), inputs), without)
    assert not torch.equal(solved(NetworkConfig(), inputs), without)


def bare(inputs: ModelInputs) -> ModelInputs:
    """As from a checkpoint: without features."""
    return ModelInputs(
        inputs.graph, {}, inputs.fingerprint, inputs.vocabulary, features_are_absent=True
    )


def test_state_scores_alike_where_there_are_no_features(inputs: ModelInputs) -> None:
    first, second = RegressionView(NetworkConfig()), RegressionView(NetworkConfig())
    first.solve(inputs)
    first.weight = 0.75
    second.load(first.state)
    ours, theirs = first.factors(inputs, CPU), second.factors(bare(inputs), CPU)
    assert ours is not None
    assert theirs is not None
    assert all(map(torch.equal, ours[:3], theirs[:3]))
    assert ours.weight == theirs.weight == 0.75


@pytest.mark.parametrize("weight", [0, 0.5])
def test_fixed_weight_stays_whatever_is_loaded(inputs: ModelInputs, weight: float) -> None:
    fixed = RegressionView(NetworkConfig(regression=RegressionConfig(weight=weight)))
    assert not fixed.weight_is_chosen
    other = RegressionView(NetworkConfig())
    other.solve(inputs)
    other.weight = 0.75
    fixed.load(other.state)
    assert fixed.state is not None
    assert fixed.state["weight"] == weight
    assert isinstance(fixed.state["weight"], float)


def test_regression_of_features_cannot_be_solved_without_them(inputs: ModelInputs) -> None:
    unsolved = RegressionView(NetworkConfig())
    unsolved.load(RegressionView(NetworkConfig()).state)
    with pytest.raises(CheckpointError, match="has no regression yet"):
        unsolved.factors(bare(inputs), CPU)
    assert unsolved.factors(inputs, CPU) is not None
    assert solved(NetworkConfig(**OFF), bare(inputs)).shape[0] == inputs.graph.n_items


def test_disabled_regression_view_solves_nothing(inputs: ModelInputs) -> None:
    off = RegressionView(NetworkConfig(regression=RegressionConfig(enabled=False)))
    off.load(None)
    assert off.state is None
    assert off.factors(inputs, CPU) is None
    assert not off.weight_is_chosen


def test_regression_that_does_not_fit_into_memory_is_refused_before_it_is_solved(
    inputs: ModelInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = RegressionView(NetworkConfig(regression=RegressionConfig(rank=256)))
    monkeypatch.setattr(memory, "available_memory", lambda: 1 << 30)
    view.check_memory(10_000)
    with pytest.raises(
        ConfigError, match=r"1,000,000 items in 256 factors needs 6.2 GB"
    ) as refused:
        view.check_memory(1_000_000)
    assert "rank" in refused.value.fix
    RegressionView(NetworkConfig(regression=RegressionConfig(enabled=False))).check_memory(10**9)
    view.solve(inputs)
    view.check_memory(1_000_000)
