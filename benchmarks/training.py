"""Our training step as it is timed: the module in a bare loop, and in a Lightning Trainer."""

import contextlib
import io
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor

from benchmarks import ours
from benchmarks.data import InteractionData
from benchmarks.harness import Prepared, Timing
from benchmarks.settings import Model, Settings
from slifmr_pl.data.batches import TrainBatch, TrainBatches
from slifmr_pl.graphs.model_inputs import ModelInputs
from slifmr_pl.module import SlifMrModule
from slifmr_pl.recommendation_datamodule import RecommendationDataModule

CHECKED_STEPS = 4


class Case:
    """Data, model and batches of one run.

    Args:
        data: The interactions.
        settings: Of the run.
        model: What is trained.
    """

    def __init__(self, data: InteractionData, settings: Settings, model: Model) -> None:
        self.data = data
        self.settings = settings
        self.batch_size = ours.batch_size(settings)
        self.steps = settings.scaled(10 if model == "lightgcn" else 3, quick=2)
        self.inputs: ModelInputs = ours.inputs(data, settings, model)
        self.arguments = ours.arguments(settings.dim, model)
        self.fixed = list(itertools.islice(self.batches(), CHECKED_STEPS))

    def batches(self) -> TrainBatches:
        """The training loader."""
        return ours.batches(self.data, batch_size=self.batch_size)

    def module(self) -> "UnloggedModule":
        """The module, attached to a Trainer but run without it."""
        module = ours.new_module(self.inputs, self.arguments, kind=UnloggedModule)
        assert isinstance(module, UnloggedModule)
        module.to(self.settings.device)
        module.trainer = pl.Trainer(
            accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
        )
        data = BenchmarkData(self.inputs, self.batches())
        module.trainer.datamodule = data  # type: ignore[attr-defined]  # set by fit and its like
        module.on_train_start()
        module.on_train_epoch_start()
        return module

    @property
    def epoch_share(self) -> float:
        """Share of an epoch that one run of `steps` steps does: the `units` of an epoch."""
        return self.steps / len(self.batches())

    def tables(self) -> tuple[Tensor, Tensor]:
        """Initial user and item embeddings."""
        network = ours.new_module(self.inputs, self.arguments).network
        return network.user_embedding.detach(), network.item_embedding.detach()

    def prepare_bare(self) -> Prepared:
        """The module's training step and optimizer in a loop of their own."""
        module = self.module()
        optimizer = module.configure_optimizers()
        stream = endless(self.batches(), self.settings.device)

        def step(batch: TrainBatch) -> Tensor:
            loss = module.training_step(batch, 0)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return loss

        def run() -> None:
            for _ in range(self.steps):
                step(next(stream))

        def result() -> dict[str, Tensor]:
            network = module.network
            return checked(
                self.fixed,
                step,
                (network.user_embedding, network.item_embedding),
                lambda batch: module.training_step(batch, 0),
                self.settings.device,
            )

        return Prepared(run, result)

    def prepare_trainer(self) -> Prepared:
        """The same module in a Trainer; time between the ends of its steps."""
        settings = self.settings
        module = ours.new_module(self.inputs, self.arguments)

        def fit(batches: Any, steps: int) -> "StepClock":
            clock = StepClock(settings.device)
            with (
                tempfile.TemporaryDirectory() as folder,
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                trainer = pl.Trainer(
                    accelerator="gpu" if settings.device.type == "cuda" else "cpu",
                    devices=1,
                    max_epochs=1,
                    limit_train_batches=steps,
                    logger=CSVLogger(folder),
                    log_every_n_steps=1,
                    enable_checkpointing=False,
                    enable_model_summary=False,
                    callbacks=[clock],
                    default_root_dir=folder,
                )
                trainer.fit(module, datamodule=BenchmarkData(self.inputs, batches))
            return clock

        def run() -> Timing:
            ends = fit(self.batches(), self.steps + 3).ends[2:]
            return Timing((ends[-1] - ends[0]) / (len(ends) - 1))

        def result() -> dict[str, Tensor]:
            before = self.tables()
            clock = fit(FixedBatches(self.fixed), len(self.fixed))
            network = module.network
            after = (network.user_embedding, network.item_embedding)
            return {
                "losses": torch.stack(clock.losses),
                "user gradients": clock.gradients["network.user_embedding"],
                "item gradients": clock.gradients["network.item_embedding"],
                "distance moved": distance(before, after),
            }

        return Prepared(run, result)


class UnloggedModule(SlifMrModule):
    """The module where there is no Trainer to log to."""

    def log(self, *_: Any, **__: Any) -> None:
        """Drops a value."""

    def log_dict(self, *_: Any, **__: Any) -> None:
        """Drops values."""


class BenchmarkData(RecommendationDataModule):
    """What a Trainer needs: the model's inputs and batches, without the data they are of.

    Args:
        model_inputs: Graphs and features.
        batches: An iterable of training batches.
    """

    def __init__(self, model_inputs: ModelInputs, batches: Any) -> None:
        super().__init__()
        self._inputs = model_inputs
        self.batches = batches

    def setup(self, stage: str) -> None:
        """All is there already."""

    def train_dataloader(self) -> Any:
        """The batches."""
        return self.batches

    def val_dataloader(self) -> Any:
        """Nothing is validated on."""
        return []


class FixedBatches:
    """A loader of given batches; Lightning would take a bare list for several loaders.

    Args:
        batches: The batches.
    """

    def __init__(self, batches: Sequence[TrainBatch]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[TrainBatch]:
        return iter(self._batches)


class StepClock(pl.Callback):
    """Notes when each step ends, its loss, and the gradients of the first.

    Args:
        device: Whose work is waited for.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.ends: list[float] = []
        self.losses: list[Tensor] = []
        self.gradients: dict[str, Tensor] = {}

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Copies the first gradients."""
        if not self.gradients:
            self.gradients = {
                name: parameter.grad.detach().cpu().clone()
                for name, parameter in pl_module.named_parameters()
                if parameter.grad is not None
            }

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Notes time and loss."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.ends.append(time.perf_counter())
        self.losses.append(outputs["loss"].detach().cpu())


def endless(batches: TrainBatches, device: torch.device) -> Iterator[TrainBatch]:
    """Epoch after epoch of batches."""
    for epoch in itertools.count():
        batches.set_epoch(epoch)
        for batch in batches:
            yield on_device(batch, device)


def on_device(batch: TrainBatch, device: torch.device) -> TrainBatch:
    """The same batch on a device."""
    return batch._replace(
        users=batch.users.to(device),
        positives=batch.positives.to(device),
        negatives=batch.negatives.to(device),
        global_positives=batch.global_positives.to(device),
        global_users=batch.global_users.to(device),
    )


def checked(
    batches: Sequence[TrainBatch],
    step: Callable[[TrainBatch], Tensor],
    tables: tuple[Tensor, Tensor],
    loss: Callable[[TrainBatch], Tensor],
    device: torch.device,
) -> dict[str, Tensor]:
    """Gradients of the first batch, then the losses of all and how far the embeddings moved.

    Args:
        batches: What to train on.
        step: One step, returns its loss.
        tables: User and item embeddings, at their initial values.
        loss: Loss of a batch without a step.
        device: Where the work runs.
    """
    moved = [on_device(batch, device) for batch in batches]
    gradients = torch.autograd.grad(loss(moved[0]), tables)
    before = [table.detach().clone() for table in tables]
    losses = [step(batch).detach().cpu() for batch in moved]
    return {
        "losses": torch.stack(losses).flatten(),
        "user gradients": gradients[0].cpu(),
        "item gradients": gradients[1].cpu(),
        "distance moved": distance(before, tables),
    }


def distance(before: Sequence[Tensor], after: Sequence[Tensor]) -> Tensor:
    """Mean absolute change of each table, float32 [2]."""
    pairs = zip(before, after, strict=True)
    return torch.stack([(b.detach().cpu() - a.detach().cpu()).abs().mean() for a, b in pairs])
