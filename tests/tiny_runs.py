"""Runs of the whole model on the small demo catalogue."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint

from feature_extraction import ExtractionConfig
from slifmr_pl.data.dataset import FilterConfig
from slifmr_pl.data.features import ModalitySource
from slifmr_pl.datamodule import SlifMrDataModule
from slifmr_pl.losses.objective import LossConfig
from slifmr_pl.module import SlifMrModule
from slifmr_pl.nn.network_config import NetworkConfig
from slifmr_pl.nn.optimizer import OptimizerConfig


def demo_data(catalogue: Path, **options: Any) -> SlifMrDataModule:
    """Pictures, texts and knowledge of the catalogue; 8 batches an epoch."""
    encoders = catalogue / "encoders"
    options = {
        "filters": FilterConfig(keep_cold_items=True),
        "modalities": {
            "image": ModalitySource("clip-image", str(encoders / "clip"), columns=("image",)),
            "text": ModalitySource("bert", str(encoders / "bert"), columns=("title",)),
        },
        "batch_size": 128,
        "negatives": 4,
        "neighbours": 5,
        "extraction": ExtractionConfig(progress=False),
        **options,
    }
    return SlifMrDataModule(str(catalogue), **options)


def full_model(**options: Any) -> SlifMrModule:
    """Every part switched on."""
    pl.seed_everything(1, verbose=False)
    options = {
        "network": NetworkConfig(embedding_dim=16),
        "loss": LossConfig(ranking="softmax", alignment=0.05, l2=1e-3),
        "optimizer": OptimizerConfig(learning_rate=0.02),
        "ks": (5, 20),
        **options,
    }
    return SlifMrModule(**options)


def trainer(folder: Path, epochs: int, *callbacks: Callback, **options: Any) -> pl.Trainer:
    """A quiet trainer on one CPU process."""
    options = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        **options,
    }
    return pl.Trainer(
        default_root_dir=folder, max_epochs=epochs, callbacks=list(callbacks), **options
    )


def every_epoch(folder: Path, **options: Any) -> ModelCheckpoint:
    """Keeps the checkpoint of each epoch as `epoch=N.ckpt`."""
    return ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1, **options)


def state(module: SlifMrModule) -> dict[str, torch.Tensor]:
    """All weights and buffers, copied."""
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


class Metrics(Callback):
    """Notes the validation metrics and the mean losses of each epoch."""

    def __init__(self) -> None:
        self.epochs: dict[int, dict[str, float]] = {}
        self.losses: dict[int, dict[str, float]] = {}

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._note_losses(trainer, trainer.current_epoch - 1)  # logged after an epoch's last hook

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._note_losses(trainer, trainer.current_epoch - 1)

    def _note_losses(self, trainer: pl.Trainer, epoch: int) -> None:
        losses = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("train/")
        }
        if losses:
            self.losses[epoch] = losses

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epochs[trainer.current_epoch] = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("val/")
        }
