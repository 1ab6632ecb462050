"""Each idea as a user would switch it on: in YAML, and the same in Python."""

import json
import os
import wave
from collections.abc import Callable
from dataclasses import dataclass, replace
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
from slifmr_pl.config.conversion import plain
from tests.extending.parts.bought_together import BoughtTogether
from tests.extending.parts.clusters_data import ClustersDataModule
from tests.extending.parts.gated_correlation import GatedCorrelation
from tests.extending.parts.intra_list_diversity import IntraListDiversity
from tests.extending.parts.likes_reader import LikesReader
from tests.extending.parts.popularity_debias import PopularityDebias
from tests.extending.parts.popularity_sampler import PopularitySampler
from tests.extending.parts.simgcl import SimGcl
from tests.tiny_runs import Metrics, demo_data, every_epoch, full_model, trainer

EPOCHS = 2
PARTS = "tests.extending.parts"


@dataclass(frozen=True)
class Idea:
    """One idea.

    Attributes:
        model: Makes the model.
        data: Makes the data module, of the folder of the demo catalogue.
        settings: The same in YAML, below `model` and `data`; of the folder of the demo catalogue.
    """

    settings: Callable[[Path], dict[str, Any]]
    model: Callable[[], RecommenderModule] = full_model
    data: Callable[[Path], RecommendationDataModule] = demo_data


def named(name: str, **arguments: Any) -> dict[str, Any]:
    """A part in YAML, by the short name of its class."""
    return {"class_path": name, **({"init_args": arguments} if arguments else {})}


def cnn_source(catalogue: Path) -> ModalitySource:
    kind = f"{PARTS}.pooled_cnn.PooledCnn"
    return ModalitySource(kind, str(cnn(catalogue)), columns=("image",), options={"layer": 1})


def sound_source(catalogue: Path) -> ModalitySource:
    kind = f"{PARTS}.sounds.MeanLogSpectrum"
    return ModalitySource(kind, files=str(recorded(catalogue)), options={"bands": 6})


@cache
def liked(catalogue: Path) -> Path:
    """A folder in the format of `LikesReader`."""
    root = catalogue.parent / "likes"
    if not root.exists():
        root.mkdir()
        rows = [f"u{u}|i{i}" for u in range(40) for i in range(30) if (u * i + u + i) % 3]
        (root / "likes.txt").write_text("who|what\n" + "\n".join(rows) + "\n")
    return root


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
        lambda _: {"model": {"loss": {"terms": [named("PopularityDebias", weight=0.1)]}}},
        lambda: full_model(loss=replace(LOSS, terms=[PopularityDebias(0.1)])),
    ),
    "correlation entry": Idea(
        lambda _: {"model": {"self_loop": {"entries": [named("GatedCorrelation", gamma=0.4)]}}},
        lambda: full_model(self_loop=SelfLoopConfig(entries=[GatedCorrelation(0.4)])),
    ),
    "view": Idea(
        lambda _: {"model": {"network": {"views": [named("BoughtTogether", dropout=0.3)]}}},
        lambda: full_model(network=replace(NETWORK, views=[BoughtTogether(dropout=0.3)])),
    ),
    "negative sampler": Idea(
        lambda _: {"data": {"sampler": named("PopularitySampler", power=0.5)}},
        data=lambda root: demo_data(root, sampler=PopularitySampler(0.5)),
    ),
    "metric": Idea(
        lambda _: {"model": {"metrics": [named("IntraListDiversity", modality="text")]}},
        lambda: full_model(metrics=[IntraListDiversity("text")]),
    ),
    "encoder kind": Idea(
        lambda root: {"data": {"modalities": {"image": plain(cnn_source(root))}}},
        data=lambda root: demo_data(root, modalities={"image": cnn_source(root)}),
    ),
    "raw modality": Idea(
        lambda root: {"data": {"modalities": {"sound": plain(sound_source(root))}}},
        data=lambda root: demo_data(root, modalities={"sound": sound_source(root)}),
    ),
    "reader": Idea(
        lambda root: {
            "data": {
                "root": str(liked(root)),
                "format": named("LikesReader", sep="|", skip=1),
                "modalities": None,
            }
        },
        data=lambda root: demo_data(
            liked(root),
            format=LikesReader("|", skip=1),
            filters=FilterConfig(),
            modalities=None,
            batch_size=64,
        ),
    ),
    "data module": Idea(
        lambda _: {"data": named("ClustersDataModule", clusters=4, negatives=4, neighbours=3)},
        data=lambda _: ClustersDataModule(clusters=4, batch_size=64, negatives=4, neighbours=3),
    ),
    "all parts of SLIF-MR": Idea(
        lambda _: {},
        lambda: full_model(
            loss=replace(LOSS, terms=[PopularityDebias(0.1)]),
            self_loop=SelfLoopConfig(entries=[GatedCorrelation(0.4)]),
            network=replace(NETWORK, views=[BoughtTogether(dropout=0.3)]),
            metrics=[IntraListDiversity("sound")],
        ),
        lambda root: demo_data(
            root,
            sampler=PopularitySampler(0.5),
            modalities={"image": cnn_source(root), "sound": sound_source(root)},
        ),
    ),
    "model": Idea(
        lambda _: {"model": named("SimGcl", noise=0.2)},
        lambda: SimGcl(noise=0.2, ks=(5, 20)),
    ),
}


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
