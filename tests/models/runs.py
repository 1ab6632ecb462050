"""Short runs of every model on the small demo catalogue."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import CSVLogger

from slifmr_pl.callbacks.per_user import PerUserWriter
from slifmr_pl.callbacks.results import ResultTable
from slifmr_pl.callbacks.run_record import RunRecorder
from slifmr_pl.config.conversion import plain
from slifmr_pl.datamodule import SlifMrDataModule
from slifmr_pl.models.base import RecommenderModule
from slifmr_pl.models.bm3 import Bm3
from slifmr_pl.models.ease import Ease
from slifmr_pl.models.freedom import Freedom
from slifmr_pl.models.item_knn import ItemKnn
from slifmr_pl.models.kgin import Kgin
from slifmr_pl.models.lattice import Lattice
from slifmr_pl.models.mgcn import Mgcn
from slifmr_pl.models.most_popular import MostPopular
from slifmr_pl.models.vbpr import Vbpr
from slifmr_pl.models.xsimgcl import XSimGcl
from tests.extending.parts.simgcl import SimGcl
from tests.tiny_runs import Metrics, demo_data, every_epoch, trainer

EPOCHS = 3
EVALUATION: dict[str, Any] = {"ks": (5, 20), "top_k": 7}
PEER: dict[str, Any] = {"embedding_dim": 8, "learning_rate": 0.02, **EVALUATION}
MODELS: dict[str, Callable[[], RecommenderModule]] = {
    "most_popular": lambda: MostPopular(**EVALUATION),
    "item_knn": lambda: ItemKnn(neighbours=15, **EVALUATION),
    "ease": lambda: Ease(l2=20.0, **EVALUATION),
    "vbpr": lambda: Vbpr(embedding_dim=8, learning_rate=0.02, **EVALUATION),
    "simgcl": lambda: SimGcl(**EVALUATION),
    "freedom": lambda: Freedom(**PEER),
    "xsimgcl": lambda: XSimGcl(**PEER),
    "bm3": lambda: Bm3(**PEER),
    "lattice": lambda: Lattice(**PEER),
    "mgcn": lambda: Mgcn(**PEER),
    "kgin": lambda: Kgin(**PEER),
}
PEERS = ("freedom", "xsimgcl", "bm3", "lattice", "mgcn", "kgin")
WITH_GRADIENTS = ("vbpr", "simgcl", *PEERS)
WITH_VECTORS = ("most_popular", *WITH_GRADIENTS)


def new_model(name: str) -> RecommenderModule:
    """Always the same."""
    pl.seed_everything(1, verbose=False)
    return MODELS[name]()


class MidEpoch(Callback):
    """Saves once, after 3 of 8 batches of the second epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, o: Any, b: Any, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == (1, 2):
            trainer.save_checkpoint(self.path)


@dataclass
class Trained:
    """A run that was tested, in a folder as `fit` and `test` leave it."""

    name: str
    folder: Path
    module: RecommenderModule
    data: SlifMrDataModule
    metrics: Metrics

    @property
    def checkpoint(self) -> Path:
        """Of the last epoch."""
        return max((self.folder / "checkpoints").glob("epoch=*.ckpt"))


def train(name: str, catalogue: Path, folder: Path) -> Trained:
    """Fits and tests a model; leaves what the command line would."""
    module, data, metrics = new_model(name), demo_data(catalogue), Metrics()
    kept = every_epoch(folder / "checkpoints", monitor="val/recall@20", mode="max")
    logger = CSVLogger(folder.parents[1], folder.parent.name, int(folder.name.partition("_")[2]))
    callbacks = [RunRecorder(1), kept, MidEpoch(folder / "middle.ckpt"), metrics]
    fit = trainer(folder, EPOCHS, *callbacks, logger=logger, log_every_n_steps=1)
    fit.fit(module, datamodule=data)
    test = trainer(folder, 1, ResultTable(), PerUserWriter())
    test.test(module, datamodule=data, ckpt_path=kept.best_model_path, verbose=False)
    last = max((folder / "checkpoints").glob("epoch=*.ckpt"))
    module.load_state_dict(torch.load(last, weights_only=True)["state_dict"])
    names = ("filters", "split", "neighbours", "batch_size", "negatives", "extraction")
    options = {one: getattr(data, one) for one in names}
    settings = {
        one: plain(value) if hasattr(value, "__dataclass_fields__") else value
        for one, value in options.items()
    }
    settings["modalities"] = {one: plain(source) for one, source in data.modalities.items()}
    config = {"name": name, "seed_everything": 1, "data": settings | {"root": str(catalogue)}}
    text = yaml.safe_dump(json.loads(json.dumps(config)))
    (folder / "config.yaml").write_text(text)
    return Trained(name, folder, module, data, metrics)


def in_this_process(
    name: str, catalogue: Path, out: Path, checkpoint: Path | None = None
) -> dict[str, Any]:
    """Trains in this process, or in this one of several; the state goes to `out`."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    shared = {"strategy": "ddp", "devices": processes} if processes > 1 else {}
    module, metrics = new_model(name), Metrics()
    fit = trainer(out, EPOCHS, metrics, every_epoch(out / "epochs"), **shared)
    data = demo_data(catalogue, batch_size=131)  # which no number of processes divides
    path = None if checkpoint is None else str(checkpoint)
    fit.fit(module, datamodule=data, ckpt_path=path)
    torch.save(module.state_dict(), out / f"state-{fit.global_rank}.pt")
    return {"losses": metrics.losses, "metrics": metrics.epochs}
