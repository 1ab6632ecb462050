"""What is said of settings that have no effect."""

from pathlib import Path
from typing import Any

import pytest

from slifmr_pl.graphs.model_inputs import ModelInputs
from slifmr_pl.losses.objective import LossConfig
from slifmr_pl.models.unused import unused_settings
from slifmr_pl.nn.network_config import (
    KnowledgeConfig,
    ModalityConfig,
    NetworkConfig,
    RegressionConfig,
)
from slifmr_pl.nn.self_loop import SelfLoopConfig
from tests.tiny_runs import demo_data, full_model, trainer


@pytest.fixture(scope="module")
def inputs(catalogue: Path) -> ModelInputs:
    return demo_data(catalogue).model_inputs


@pytest.fixture(scope="module")
def plain(catalogue: Path) -> ModelInputs:
    """Interactions alone."""
    return demo_data(catalogue, modalities={}, use_knowledge=False).model_inputs


def said(
    inputs: ModelInputs,
    network: NetworkConfig = NetworkConfig(),
    self_loop: SelfLoopConfig = SelfLoopConfig(),
    loss: LossConfig = LossConfig(),
) -> dict[str, list[str]]:
    return unused_settings(network, self_loop, loss, inputs)


def test_settings_that_have_an_effect_are_not_mentioned(inputs: ModelInputs) -> None:
    network = NetworkConfig(modality=ModalityConfig(weight=2), regression=RegressionConfig(rank=9))
    loop = SelfLoopConfig(neighbours=3, gamma_modality=0.1)
    assert said(inputs, network, loop, LossConfig(alignment_temperature=0.5)) == {}


def test_parts_that_are_off_without_more_are_no_remark(inputs: ModelInputs) -> None:
    network = NetworkConfig(
        modality=ModalityConfig(enabled=False),
        knowledge=KnowledgeConfig(enabled=False),
        regression=RegressionConfig(enabled=False),
    )
    loop = SelfLoopConfig(enabled=False)
    assert said(inputs, network, loop, LossConfig("bpr", alignment=0)) == {}


@pytest.mark.parametrize(
    ("given", "reason", "names"),
    [
        (
            {"self_loop": SelfLoopConfig(enabled=False, neighbours=3, gamma_modality=0.1)},
            "model.self_loop.enabled is false",
            ["model.self_loop.neighbours", "model.self_loop.gamma_modality"],
        ),
        (
            {
                "network": NetworkConfig(modality=ModalityConfig(enabled=False, weight=2)),
                "self_loop": SelfLoopConfig(gamma_modality=0.1),
            },
            "model.network.modality.enabled is false",
            ["model.network.modality.weight", "model.self_loop.gamma_modality"],
        ),
        (
            {"network": NetworkConfig(regression=RegressionConfig(enabled=False, rank=3))},
            "model.network.regression.enabled is false",
            ["model.network.regression.rank"],
        ),
        (
            {"loss": LossConfig(alignment=0, alignment_temperature=0.5)},
            "model.loss.alignment is 0",
            ["model.loss.alignment_temperature"],
        ),
        (
            {"loss": LossConfig("bpr", ranking_temperature=0.5)},
            "model.loss.ranking is not softmax",
            ["model.loss.ranking_temperature"],
        ),
    ],
)
def test_setting_without_effect_is_named_with_its_reason(
    inputs: ModelInputs, given: dict[str, Any], reason: str, names: list[str]
) -> None:
    assert said(inputs, **given) == {reason: names}


def test_data_without_modalities_and_facts_are_a_reason(plain: ModelInputs) -> None:
    network = NetworkConfig(modality=ModalityConfig(layers=2), knowledge=KnowledgeConfig(layers=2))
    assert said(plain, network) == {
        "the data have no modalities": ["model.network.modality.layers"],
        "the data have no facts": ["model.network.knowledge.layers"],
    }


def test_settings_without_effect_have_none_and_fit_says_so(catalogue: Path, tmp_path: Path) -> None:
    data = demo_data(catalogue, modalities={}, use_knowledge=False)
    losses = []
    for neighbours in (10, 3):
        module = full_model(self_loop=SelfLoopConfig(enabled=False, neighbours=neighbours))
        fit = trainer(tmp_path, 1, limit_train_batches=2, limit_val_batches=0)
        if neighbours == 3:
            with pytest.warns(UserWarning, match="No effect: model.self_loop.neighbours, since"):
                fit.fit(module, datamodule=data)
        else:
            fit.fit(module, datamodule=data)
        losses.append(float(fit.callback_metrics["train/loss"]))
    assert losses[0] == losses[1]
