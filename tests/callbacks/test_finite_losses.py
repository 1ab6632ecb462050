from pathlib import Path

import pytest

from slifmr_pl.callbacks.finite_losses import FiniteLosses
from slifmr_pl.errors import DivergenceError
from slifmr_pl.nn.optimizer import OptimizerConfig
from tests.tiny_runs import demo_data, full_model, trainer


def test_loss_that_explodes_and_stays_finite_ends_training(catalogue: Path, tmp_path: Path) -> None:
    module = full_model(optimizer=OptimizerConfig(1e9))
    with pytest.raises(DivergenceError, match=r"loss \d.*e\+\d+, and \d.* in the first batch"):
        trainer(tmp_path, 2, FiniteLosses()).fit(
            module, datamodule=demo_data(catalogue, modalities={})
        )
    assert (tmp_path / "diverged" / "losses.json").is_file()


def test_loss_that_varies_as_losses_do_is_trained_on(catalogue: Path, tmp_path: Path) -> None:
    module = full_model(optimizer=OptimizerConfig(0.5))  # much, and no divergence
    trainer(tmp_path, 2, FiniteLosses()).fit(module, datamodule=demo_data(catalogue, modalities={}))
    assert not (tmp_path / "diverged").exists()
