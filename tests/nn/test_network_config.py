from collections.abc import Callable

import pytest

from slifmr_pl.errors import ConfigError
from slifmr_pl.nn.network_config import (
    InteractionConfig,
    KnowledgeConfig,
    ModalityConfig,
    NetworkConfig,
    RegressionConfig,
)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NetworkConfig(embedding_dim=0), "network.embedding_dim is 0"),
        (lambda: NetworkConfig(interaction=InteractionConfig(-1)), "network.interaction.layers"),
        (lambda: NetworkConfig(modality=ModalityConfig(layers=0)), "network.modality.layers is 0"),
        (lambda: NetworkConfig(knowledge=KnowledgeConfig(layers=0)), "network.knowledge.layers"),
        (lambda: NetworkConfig(regression=RegressionConfig(weight=-1)), "regression.weight is -1"),
        (
            lambda: NetworkConfig(regression=RegressionConfig(weight=float("inf"))),
            "regression.weight is inf",
        ),
        (
            lambda: NetworkConfig(regression=RegressionConfig(side_information=-1)),
            "regression.side_information is -1",
        ),
        (
            lambda: NetworkConfig(regression=RegressionConfig(rank=0)),
            "regression.rank is 0",
        ),
        (lambda: NetworkConfig(regression=RegressionConfig(ridge=0)), "regression.ridge is 0"),
        (lambda: NetworkConfig(fusion="middle"), "network.fusion is 'middle'"),
        (lambda: NetworkConfig(user_fusion=-0.1), "network.user_fusion is -0.1"),
        (lambda: NetworkConfig(user_fusion=float("nan")), "network.user_fusion is nan"),
    ],
)
def test_values_that_no_network_can_have_are_refused(
    make: Callable[[], NetworkConfig], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_least_values_are_taken() -> None:
    config = NetworkConfig(
        embedding_dim=1,
        interaction=InteractionConfig(layers=0),
        modality=ModalityConfig(layers=1),
        knowledge=KnowledgeConfig(layers=1),
        user_fusion=0.0,
    )
    assert config.interaction.layers == 0
