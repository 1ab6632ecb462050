"""What all baselines share: data, checkpoints, and how to rank by scores that are no products."""

from abc import abstractmethod
from typing import Any

import torch
from scipy import sparse
from torch import Tensor

from slifmr_pl.checkpoints.format import FORMAT_VERSION, STATE_KEY, check_checkpoint
from slifmr_pl.checkpoints.validation import check_data, check_tensors, data_state, require_finite
from slifmr_pl.data.batches import EvalBatch, TrainBatch
from slifmr_pl.data.interactions import Interactions, UserItems
from slifmr_pl.errors import CheckpointError, ConfigError
from slifmr_pl.graphs.inputs import ModelInputs
from slifmr_pl.graphs.sparse.topk import TopK
from slifmr_pl.metrics.full_ranking import rank_scores
from slifmr_pl.models.recommender_module import DEFAULT_KS, RecommenderModule, inputs_of


class Baseline(RecommenderModule):
    """A recommender that the command line takes in the place of the network.

    Cut-offs, metrics, list length and memory budget are those of `model`, see `evaluate_like`.
    """

    inputs: ModelInputs

    def __init__(self) -> None:
        super().__init__(ks=DEFAULT_KS, top_k=20, memory_budget_mb=1024)

    def evaluate_like(self, other: RecommenderModule) -> None:
        """Takes over the settings of another module's evaluation."""
        self.ks, self.top_k = other.ks, other.top_k
        self.memory_budget_mb = other.memory_budget_mb
        self.extra_metrics = other.extra_metrics

    def setup(self, stage: str) -> None:
        """Takes the data, and makes room for what is learnt.

        Raises:
            ConfigError: If there are several processes.
        """
        if self.trainer.world_size > 1:
            raise ConfigError(
                f"a baseline in {self.trainer.world_size} processes",
                expected="one process",
                fix="--trainer.devices 1 --trainer.strategy auto",
            )
        if hasattr(self, "inputs"):
            return
        self.inputs = inputs_of(self.trainer)
        self.build(self.inputs)

    @abstractmethod
    def build(self, inputs: ModelInputs) -> None:
        """Creates parameters and buffers for the data."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what tells whether a checkpoint fits the data."""
        require_finite(checkpoint)
        checkpoint.setdefault(self.CHECKPOINT_HYPER_PARAMS_KEY, {})  # absent where there are none
        checkpoint[STATE_KEY] = {"format_version": FORMAT_VERSION, **data_state(self.inputs)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint of other data or of another model.

        Raises:
            CheckpointError: If it is, or no data is at hand, which a baseline takes from a Trainer.
        """
        check_checkpoint(checkpoint)
        if not hasattr(self, "inputs"):
            raise CheckpointError(
                f"{type(self).__name__} is loaded without its data",
                expected="a Trainer with a SlifMrDataModule, which baselines take their data from",
                fix="Trainer.test(module, datamodule=…, ckpt_path=…), or the same of predict",
            )
        check_data(self.inputs, checkpoint[STATE_KEY])
        check_tensors(self, checkpoint["state_dict"], self.inputs.graph.n_items)


class ClosedForm(Baseline):
    """A baseline whose weights follow from the training interactions at once.

    `fit` computes them when it starts, and ends after a first validation.
    """

    @abstractmethod
    def learn(self, interactions: Any) -> None:
        """Computes the weights.

        Args:
            interactions: Y, SciPy CSR float64 ``[U, I]`` of ones.
        """

    def on_train_start(self) -> None:
        """Learns."""
        graph = self.inputs.graph
        self.learn(interaction_matrix(graph.users, graph.items, graph.n_users, graph.n_items))

    def training_step(self, batch: TrainBatch, batch_idx: int) -> None:
        """Nothing is left to train."""
        self.trainer.should_stop = True

    def configure_optimizers(self) -> None:
        """There is nothing to optimize."""


class ItemToItem(ClosedForm):
    """A closed form that scores items by those that the user has interacted with."""

    def build(self, inputs: ModelInputs) -> None:
        """Collects the items of each user; subclasses add their weights."""
        graph = inputs.graph
        pairs = Interactions(graph.users.numpy(), graph.items.numpy())
        self._histories = UserItems.of(graph.n_users, pairs)

    @abstractmethod
    def scores(self, offsets: Tensor, items: Tensor) -> Tensor:
        """Scores the catalogue for some users.

        Args:
            offsets: int64 ``[b + 1]``; user b has ``items[offsets[b]:offsets[b + 1]]``.
            items: int64, training items of the users.

        Returns:
            float32 ``[b, I]``.
        """

    def _open_ranking(self, k: int, allowed: Tensor | None = None) -> None:
        self._k = k
        self._forbidden = None if allowed is None else ~allowed.to(self.device)

    def _rank(self, batch: EvalBatch) -> TopK:
        history = self._histories.select(batch.users.cpu().numpy())
        offsets, items = (torch.from_numpy(part).to(self.device) for part in history)
        scores = self.scores(offsets, items)
        if self._forbidden is not None:
            scores.masked_fill_(self._forbidden, -torch.inf)
        return rank_scores(scores, self._k, batch.known_offsets, batch.known_items)


def interaction_matrix(users: Tensor, items: Tensor, n_users: int, n_items: int) -> Any:
    """Y, SciPy CSR float64 ``[U, I]``, of distinct pairs int64 ``[n]``."""
    ones = torch.ones(len(users), dtype=torch.float64).numpy()
    return sparse.csr_array((ones, (users.numpy(), items.numpy())), shape=(n_users, n_items))
