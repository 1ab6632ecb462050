"""One training run in this process, or in this one of several; it leaves its state behind."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from slifmr_pl.callbacks.per_user import PerUserWriter
from slifmr_pl.callbacks.results import ResultTable
from slifmr_pl.errors import ProcessError
from slifmr_pl.losses.objective import LossConfig
from slifmr_pl.module import SlifMrModule
from slifmr_pl.nn.network_config import KnowledgeConfig, ModalityConfig, NetworkConfig
from slifmr_pl.nn.self_loop import SelfLoopConfig
from tests.metrics.own_metrics import own_metrics
from tests.tiny_runs import Metrics, demo_data, every_epoch, full_model, trainer

BATCH_SIZE = 131  # no world size of the tests divides it


VARIANTS: dict[str, dict[str, Any]] = {
    "early": {},
    "late": {"network": NetworkConfig(embedding_dim=16, fusion="late", user_fusion=0.3)},
    "lightgcn": {
        "network": NetworkConfig(
            embedding_dim=16,
            modality=ModalityConfig(enabled=False),
            knowledge=KnowledgeConfig(enabled=False),
        ),
        "self_loop": SelfLoopConfig(enabled=False),
        "loss": LossConfig(alignment=0.0),
    },
}


def measured_model(**options: Any) -> SlifMrModule:
    """Every part switched on, and metrics of the user's own."""
    return full_model(metrics=own_metrics(), **options)


def options(strategy: str) -> dict[str, Any]:
    """Those of a trainer in one of the processes of `in_processes`."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    return {"strategy": strategy, "devices": processes} if processes > 1 else {}


def fit_and_predict(
    catalogue: Path, out: Path, strategy: str = "ddp", variant: str = "early"
) -> None:
    module, metrics = measured_model(**VARIANTS[variant]), Metrics()
    shared = options(strategy)  # a trainer ends with the environment that it found taken down
    fit = trainer(out, 3, metrics, every_epoch(out / "epochs"), **shared)
    fit.fit(module, datamodule=demo_data(catalogue, batch_size=BATCH_SIZE))
    torch.save(module.state_dict(), out / f"state-{fit.global_rank}.pt")
    test = trainer(out, 1, ResultTable(), PerUserWriter(), **shared)
    test.test(module, datamodule=demo_data(catalogue, eval_batch_size=7), verbose=False)
    predictions = trainer(out, 1, **shared).predict(
        module, datamodule=demo_data(catalogue, eval_batch_size=7), return_predictions=True
    )
    assert predictions is not None
    (out / f"lists-{fit.global_rank}.json").write_text(
        json.dumps([row for part in predictions for row in part.indices.tolist()])
    )
    if fit.is_global_zero:
        (out / "metrics.json").write_text(json.dumps(metrics.epochs))
        (out / "losses.json").write_text(json.dumps(metrics.losses))


class Corrupted(Callback):
    """Changes one number on one rank, in the second epoch."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        assert isinstance(pl_module, SlifMrModule)
        if trainer.global_rank == self.rank and trainer.current_epoch == 1:
            pl_module.network.item_embedding[3, 4] += 1e-4


def fit_corrupted(catalogue: Path, out: Path, rank: int) -> str:
    """The error that ends a fit, and the epoch that it ends in."""
    fit = trainer(out, 3, Corrupted(rank), enable_checkpointing=False, **options("ddp"))
    try:
        fit.fit(full_model(), datamodule=demo_data(catalogue))
    except ProcessError as error:
        return f"epoch {fit.current_epoch}: {error}"
    return "no error"


def validate(catalogue: Path, out: Path, checkpoint: Path) -> list[float]:
    """Metrics of a checkpoint, by the strategy `columns`."""
    values = trainer(out, 1, **options("columns")).validate(
        measured_model(),
        datamodule=demo_data(catalogue, batch_size=BATCH_SIZE),
        ckpt_path=str(checkpoint),
        verbose=False,
    )[0]
    return [values[name] for name in sorted(values)]


def resume(catalogue: Path, out: Path, checkpoint: Path) -> None:
    """Goes on to the third epoch, by the strategy `columns`."""
    fit = trainer(out, 3, every_epoch(out / "epochs"), **options("columns"))
    data = demo_data(catalogue, batch_size=BATCH_SIZE)
    fit.fit(measured_model(), datamodule=data, ckpt_path=str(checkpoint))


def load(path: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
    return tensors


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def lists(run: Path, processes: int) -> Sequence[Any]:
    """The lists of every rank."""
    return [read(run / f"lists-{rank}.json") for rank in range(processes)]
