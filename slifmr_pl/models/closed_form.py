"""Models whose weights follow from the training interactions at once, without gradients."""

from typing import Any

import torch
from scipy import sparse
from torch import Tensor

from slifmr_pl.data.batches import TrainBatch
from slifmr_pl.errors import ConfigError
from slifmr_pl.models.base import RecommenderModule


class ClosedForm(RecommenderModule):
    """A model that `learn`s everything when `fit` starts, and ends after a first validation."""

    def learn(self, interactions: Any) -> None:
        """Computes the weights: fills the buffers that `build` has made.

        Args:
            interactions: Y, SciPy CSR float64 ``[U, I]`` of ones.
        """
        raise NotImplementedError

    @property
    def fits(self) -> bool:
        """Whether it is built to learn, and not to be loaded."""
        return self._trainer is not None and self._trainer.state.fn == "fit"

    def on_fit_start(self) -> None:
        """Refuses several processes, of which each would compute the same.

        Raises:
            ConfigError: If there are several.
        """
        super().on_fit_start()
        if self.trainer.world_size > 1:
            raise ConfigError(
                f"{type(self).__name__} in {self.trainer.world_size} processes",
                expected="one process: a closed form is computed at once",
                fix="--trainer.devices 1 --trainer.strategy auto",
            )

    def on_train_start(self) -> None:
        """Learns."""
        super().on_train_start()
        assert self.inputs is not None
        graph = self.inputs.graph
        self.learn(interaction_matrix(graph.users, graph.items, graph.n_users, graph.n_items))

    def training_step(self, batch: TrainBatch, batch_idx: int) -> None:
        """Nothing is left to train."""
        self.trainer.should_stop = True

    def configure_optimizers(self) -> None:
        """There is nothing to optimize."""


def interaction_matrix(users: Tensor, items: Tensor, n_users: int, n_items: int) -> Any:
    """Y, SciPy CSR float64 ``[U, I]``, of distinct pairs int64 ``[n]``."""
    ones = torch.ones(len(users), dtype=torch.float64).numpy()
    return sparse.csr_array((ones, (users.numpy(), items.numpy())), shape=(n_users, n_items))
