"""The strategy `columns`: every process trains some columns of the embedding tables."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from pytorch_lightning.strategies import DDPStrategy, Strategy, StrategyRegistry
from torch import Tensor, nn
from torch.optim import Optimizer

from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.sparse.column_parallel import EmbeddingColumns


@StrategyRegistry.register(
    "columns", description="Divides the columns of the embedding tables among the processes"
)
class ColumnStrategy(DDPStrategy):
    """Trains as one process would; each of N processes holds 1/N of the tables and their optimizer.

    Processes are started and joined as under DistributedDataParallel, but every one works on every
    batch, and no gradient is averaged. A checkpoint is that of one process: columns are gathered
    when it is saved and divided when it is loaded, for any number of processes.

    The module names the parameters whose last dimension is divided, in `column_parameters`.
    """

    @property
    def columns(self) -> EmbeddingColumns:
        """The columns of this process."""
        return EmbeddingColumns(self.global_rank, self.world_size)

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        """Every process gets all training batches."""
        return {"num_replicas": 1, "rank": 0}

    def setup(self, trainer: pl.Trainer) -> None:
        """Sets up module and optimizer without DistributedDataParallel.

        Raises:
            ConfigError: If the trainer asks for what needs all gradients in one place.
        """
        if isinstance(self.precision_plugin, MixedPrecision) and self.precision_plugin.scaler:
            raise ConfigError(
                "strategy columns with precision 16-mixed",
                expected="a precision whose gradients are not scaled: ranks would skip other steps",
                fix="set trainer.precision to bf16-mixed or 32-true",
            )
        if trainer.gradient_clip_val and trainer.gradient_clip_algorithm != "value":
            raise ConfigError(
                "strategy columns with gradients clipped by their norm",
                expected="a limit for each number by itself",
                fix="set trainer.gradient_clip_algorithm to value, or use the strategy ddp",
            )
        Strategy.setup(self, trainer)

    def _setup_model(self, model: nn.Module) -> nn.Module:  # type: ignore[override]
        """Gives all processes rank 0's values of the parameters that are not divided."""
        names = self._names()
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if name not in names and tensor.numel():
                torch.distributed.broadcast(tensor.detach(), src=0)
        return model

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """The state of a module that holds all columns."""
        state, names = super().lightning_module_state_dict(), self._names()
        return {
            name: self._gathered(value) if name in names else value for name, value in state.items()
        }

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Loads this process's columns."""
        names, state = self._names(), checkpoint["state_dict"]
        state = {
            name: self.columns.own(value) if name in names else value
            for name, value in state.items()
        }
        super().load_model_state_dict({**checkpoint, "state_dict": state}, strict)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The state of an optimizer of all columns."""
        state: dict[str, Any] = super().optimizer_state(optimizer)
        return {**state, "state": self._mapped(optimizer, state["state"], self._gathered)}

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Loads the state of this process's columns."""
        states = [
            {**state, "state": self._mapped(optimizer, state["state"], self.columns.own)}
            for optimizer, state in zip(
                self.optimizers, checkpoint["optimizer_states"], strict=True
            )
        ]
        super().load_optimizer_state_dict({**checkpoint, "optimizer_states": states})

    def _mapped(self, optimizer: Optimizer, state: Mapping[int, Any], function: Any) -> Any:
        """An optimizer's state, with a function applied to the moments of divided parameters."""
        assert self.lightning_module is not None
        parameters = dict(self.lightning_module.named_parameters())
        shared = {id(parameters[name]) for name in self._names()}
        order = [one for group in optimizer.param_groups for one in group["params"]]
        return {
            index: {
                name: function(value) if id(order[index]) in shared and value.dim() else value
                for name, value in entry.items()
            }
            for index, entry in state.items()
        }

    @torch.no_grad()
    def _gathered(self, part: Tensor) -> Tensor:
        whole = self.columns.gathered(part)
        return whole if self.is_global_zero else part  # only rank 0 writes

    def _names(self) -> frozenset[str]:
        module = self.lightning_module
        names = getattr(module, "column_parameters", None)
        if names is None:
            raise ConfigError(
                f"strategy columns with {type(module).__name__}",
                expected="a module that names them in column_parameters, as SlifMrModule does",
                fix="use the strategy ddp",
            )
        parameters: frozenset[str] = names
        return parameters
