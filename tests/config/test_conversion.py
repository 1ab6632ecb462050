import dataclasses
import json
from typing import Any

import pytest

from slifmr_pl.config.conversion import flat, plain, restored
from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.correlation import CosineBuilder, IntoKnowledge
from slifmr_pl.graphs.neighbours import NeighbourSearch
from slifmr_pl.losses.objective import LossConfig
from slifmr_pl.losses.terms import EmbeddingL2, RankingLoss
from slifmr_pl.nn.fusion import AttentiveFusion
from slifmr_pl.nn.item_views import KnowledgeView
from slifmr_pl.nn.network_config import (
    InteractionConfig,
    KnowledgeConfig,
    ModalityConfig,
    NetworkConfig,
    RegressionConfig,
)
from slifmr_pl.nn.optimizer import OptimizerConfig
from slifmr_pl.nn.self_loop import SelfLoopConfig


class OtherL2(EmbeddingL2):
    pass


# No field has its default, so that a value which is dropped on the way shows.
CONFIGS = [
    InteractionConfig(layers=3, edge_dropout=0.1),
    ModalityConfig(enabled=False, layers=2, weight=0.5, attention=False, weighted_edges=True),
    KnowledgeConfig(enabled=False, layers=2, weight=0.5, attention=False),
    NetworkConfig(
        embedding_dim=8,
        interaction=InteractionConfig(layers=0),
        modality=ModalityConfig(weight=0.25),
        knowledge=KnowledgeConfig(enabled=False),
        regression=RegressionConfig(enabled=False, weight=0.5, rank=3, ridge=10.0),
        fusion="late",
        propagation="reference",
        user_fusion=0.5,
    ),
    SelfLoopConfig(
        enabled=False,
        neighbours=3,
        gamma_interaction=0.1,
        gamma_modality=0.2,
        gamma_knowledge=0.4,
        momentum=0.5,
        warmup=2,
        period=3,
        weighted=True,
        search=NeighbourSearch("approximate", exact_rows=10, recall=0.5),
        least_support=4,
    ),
    NeighbourSearch("exact", exact_rows=20, recall=0.6),
    LossConfig(
        ranking="bpr",
        ranking_temperature=0.5,
        alignment=0.1,
        alignment_temperature=0.3,
        alignment_pairs="all",
        alignment_items=64,
        l2=0.02,
    ),
    OptimizerConfig(learning_rate=0.01, fused=False),
]


# Take the place of other fields, so they have a test of their own.
PARTS = ("builder", "entries")


def test_parts_of_a_configuration_are_made_anew_from_plain_values() -> None:
    loop = SelfLoopConfig(
        builder=CosineBuilder(4, NeighbourSearch("exact")), entries=[IntoKnowledge(0.7)]
    )
    network = NetworkConfig(views=[KnowledgeView(2)], fusion=AttentiveFusion(early=False))
    loss = LossConfig(ranking=RankingLoss("bpr"), terms=[OtherL2(0.5)])
    for config in (loop, network, loss):
        values = plain(config)
        json.dumps(values)
        again = restored(type(config), values, "model")
        assert plain(again) == values
    assert isinstance(restored(NetworkConfig, plain(network), "model").views[0], KnowledgeView)
    wrong = plain(network) | {"views": plain(loss)["terms"]}
    with pytest.raises(ConfigError, match=r"a subclass of slifmr_pl\.nn\.views\.View"):
        restored(NetworkConfig, wrong, "model")


def has_dataclass(value: Any) -> bool:
    if isinstance(value, dict):
        return any(has_dataclass(entry) for entry in value.values())
    return dataclasses.is_dataclass(value)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_plain_values_give_the_configuration_back(config: Any) -> None:
    values = plain(config)
    assert not has_dataclass(values)
    json.dumps(values)
    assert restored(type(config), values, "model") == config


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_no_example_field_has_its_default(config: Any) -> None:
    for field in dataclasses.fields(config):
        if field.default is not dataclasses.MISSING and field.name not in PARTS:
            assert getattr(config, field.name) != field.default


def test_missing_keys_take_their_defaults() -> None:
    assert restored(NetworkConfig, {}, "network") == NetworkConfig()
    config = restored(NetworkConfig, {"modality": {"layers": 2}}, "network")
    assert config == NetworkConfig(modality=ModalityConfig(layers=2))


def test_unknown_key_names_the_close_match_and_where_it_stands() -> None:
    with pytest.raises(ConfigError, match=r"unknown key loss\.aligment") as error:
        restored(LossConfig, {"aligment": 0.1}, "loss")
    assert error.value.fix == "did you mean alignment?"
    with pytest.raises(ConfigError, match=r"unknown key network\.modality\.layer") as error:
        restored(NetworkConfig, {"modality": {"layer": 2}}, "network")
    assert error.value.fix == "did you mean layers?"


def test_unknown_key_without_a_match_is_to_be_removed() -> None:
    with pytest.raises(ConfigError, match="one of learning_rate, fused") as error:
        restored(OptimizerConfig, {"qqq": 1}, "optimizer")
    assert error.value.fix == "remove the key"


def test_values_that_contradict_themselves_are_refused_on_the_way_back() -> None:
    values = plain(SelfLoopConfig()) | {"momentum": 2.0}
    with pytest.raises(ConfigError, match=r"self_loop\.momentum is 2\.0"):
        restored(SelfLoopConfig, values, "self_loop")


def test_nested_settings_get_dotted_keys() -> None:
    nested = {"a": {"b": {"c": 1}, "d": None}, "e": [{"f": 2}], "g": {}}
    assert flat(nested) == {"a.b.c": 1, "a.d": None, "e": [{"f": 2}]}
