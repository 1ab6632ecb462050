"""Each idea as a user would switch it on: in YAML, and the same in Python."""

import json
import os
import wave
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from transformers import ResNetConfig, ResNetModel, ViTImageProcessor

from slifmr_pl import (
    FilterConfig,
    LossConfig,
    ModalitySource,
    NetworkConfig,
    RecommendationDataModule,
    RecommenderModule,
    SelfLoopConfig,
)
from tests.extending.parts.bought_together import BoughtTogether
from tests.extending.parts.clusters_data import ClustersDataModule
from tests.extending.parts.gated_correlation import GatedCorrelation
from tests.extending.parts.intra_list_diversity import IntraListDiversity
from tests.extending.parts.likes_reader import LikesReader
from tests.extending.parts.popularity_debias import PopularityDebias
from tests.extending.parts.popularity_sampler import PopularitySampler
from tests.extending.parts.simgcl import SimGcl
from tests.tiny_runs import Metrics, demo_data, every_epoch, full_model, trainer

EPOCHS = 3
PARTS = "tests.extending.parts"


@dataclass(frozen=True)
class Idea:
    """One idea.

    Attributes:
        model: Makes the model.
        data: Makes the data module, of the folder of the demo catalogue.
        settings: The same in YAML, below `model` and `data`.
    """

    model: Callable[[], RecommenderModule] = full_model
    data: Callable[[Path], RecommendationDataModule] = demo_data
    settings: dict[str, Any] = field(default_factory=dict)


def named(name: str, **arguments: Any) -> dict[str, Any]:
    """A part in YAML, by the short name of its class."""
    return {"class_path": name, **({"init_args": arguments} if arguments else {})}


def pictures_by_cnn(catalogue: Path) -> RecommendationDataModule:
    kind = f"{PARTS}.pooled_cnn.PooledCnn"
    source = ModalitySource(kind, str(cnn(catalogue)), columns=("image",), options={"layer": 1})
    return demo_data(catalogue, modalities={"image": source})


def sounds(catalogue: Path) -> RecommendationDataModule:
    kind = f"{PARTS}.sounds.MeanLogSpectrum"
    source = ModalitySource(kind, files=str(recorded(catalogue)), options={"bands": 6})
    return demo_data(catalogue, modalities={"sound": source})


def likes(catalogue: Path) -> RecommendationDataModule:
    root = catalogue.parent / "likes"
    if not root.exists():
        root.mkdir()
        rows = [f"u{u}|i{i}" for u in range(40) for i in range(30) if (u * i + u + i) % 3]
        (root / "likes.txt").write_text("who|what\n" + "\n".join(rows) + "\n")
    reader = LikesReader("|", skip=1)
    return demo_data(root, format=reader, filters=FilterConfig(), modalities=None, batch_size=64)


@cache
def cnn(catalogue: Path) -> Path:
    """A tiny ResNet, saved as any model of transformers is."""
    folder = catalogue.parent / "cnn"
    if not folder.exists():
        torch.manual_seed(0)
        config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1])
        ResNetModel(config).save_pretrained(folder)
        size = {"height": 16, "width": 16}
        ViTImageProcessor(size=size).save_pretrained(folder)
    return folder


@cache
def recorded(catalogue: Path) -> Path:
    """A sound for most items, by their ids."""
    folder = catalogue / "sounds"
    if not folder.exists():
        folder.mkdir()
        random = np.random.default_rng(0)
        for picture in sorted((catalogue / "images").glob("*.png"))[5:]:
            with wave.open(str(folder / f"{picture.stem}.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(8000)
                tone = np.sin(np.arange(2000) * random.uniform(0.05, 2.0)) * 2**14
                file.writeframes(tone.astype("<i2").tobytes())
    return folder


NETWORK = NetworkConfig(embedding_dim=16)
LOSS = LossConfig(ranking="softmax", alignment=0.05, l2=1e-3)
IDEAS: dict[str, Idea] = {
    "loss term": Idea(
        lambda: full_model(loss=replace(LOSS, terms=[PopularityDebias(0.1)])),
        settings={"model": {"loss": {"terms": [named("PopularityDebias", weight=0.1)]}}},
    ),
    "correlation entry": Idea(
        lambda: full_model(self_loop=SelfLoopConfig(entries=[GatedCorrelation(0.4)])),
        settings={"model": {"self_loop": {"entries": [named("GatedCorrelation", gamma=0.4)]}}},
    ),
    "view": Idea(
        lambda: full_model(network=replace(NETWORK, views=[BoughtTogether(4, dropout=0.3)])),
        settings={
            "model": {"network": {"views": [named("BoughtTogether", neighbours=4, dropout=0.3)]}}
        },
    ),
    "negative sampler": Idea(
        data=lambda root: demo_data(root, sampler=PopularitySampler(0.5)),
        settings={"data": {"sampler": named("PopularitySampler", power=0.5)}},
    ),
    "metric": Idea(
        lambda: full_model(metrics=[IntraListDiversity("text")]),
        settings={"model": {"metrics": [named("IntraListDiversity", modality="text")]}},
    ),
    "encoder kind": Idea(data=pictures_by_cnn),
    "raw modality": Idea(data=sounds),
    "reader": Idea(data=likes),
    "data module": Idea(data=lambda root: ClustersDataModule(
        clusters=4, batch_size=64, negatives=4, neighbours=3
    )),
    "model": Idea(
        lambda: SimGcl(noise=0.2, ks=(5, 20)),
        settings={"model": named("SimGcl", noise=0.2)},
    ),
}  # fmt: skip


def new_model(idea: str) -> RecommenderModule:
    """Always the same."""
    pl.seed_everything(1, verbose=False)
    return IDEAS[idea].model()


def train(
    idea: str, catalogue: Path, out: Path, checkpoint: Path | None = None
) -> tuple[RecommenderModule, pl.Trainer]:
    """Trains in this process, or in this one of several; losses and metrics go to `out`."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    shared = {"strategy": "ddp", "devices": processes} if processes > 1 else {}
    module, metrics = new_model(idea), Metrics()
    fit = trainer(out, EPOCHS, metrics, every_epoch(out / "epochs"), **shared)
    path = None if checkpoint is None else str(checkpoint)
    fit.fit(module, datamodule=IDEAS[idea].data(catalogue), ckpt_path=path)
    if fit.is_global_zero:
        notes = {"losses": metrics.losses, "metrics": metrics.epochs}
        (out / "notes.json").write_text(json.dumps(notes))
    return module, fit


def train_alone(idea: str, catalogue: Path, out: Path) -> dict[str, list[float]]:
    """Trains, and gives the sum of each tensor, of plain types for another process."""
    module, _ = train(idea, catalogue, out)
    return {
        name: [float(value.double().sum()), float(value.double().square().sum())]
        for name, value in module.state_dict().items()
    }
