"""The contract of a model: what is trained on it can be evaluated, resumed, loaded and served.

A model of one's own is one file: a constructor with plain arguments, `build`, `loss`, and
`representations` (or `scores`). `slifmr_pl.models.vbpr` is an example to start from.

U users, I items, d size of a vector, b rows of a batch.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.precision import MixedPrecision
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor

from slifmr_pl.checkpoints.data import (
    check_data,
    data_state,
    identity_of,
    identity_of_state,
    inputs_of_state,
)
from slifmr_pl.checkpoints.format import (
    STATE_KEY,
    check_checkpoint,
    new_state,
    random_state,
    read_checkpoint,
    restore_random_state,
)
from slifmr_pl.checkpoints.settings import (
    check_settings,
    model_arguments,
    model_class,
    require_model,
)
from slifmr_pl.checkpoints.validation import (
    check_resume,
    check_state,
    check_tensors,
    require_finite,
)
from slifmr_pl.config.bounds import is_number
from slifmr_pl.config.parts import Part
from slifmr_pl.data.batches import TrainBatch
from slifmr_pl.data.catalogue import Catalogue
from slifmr_pl.data.interactions import Interactions, UserItems
from slifmr_pl.distributed.processes import check_agreement
from slifmr_pl.errors import CheckpointError, ConfigError
from slifmr_pl.explanation import Explanation
from slifmr_pl.graphs.interaction import InteractionGraph
from slifmr_pl.graphs.model_inputs import ModelInputs
from slifmr_pl.graphs.neighbours import Neighbours
from slifmr_pl.metrics.metric import RankingMetric
from slifmr_pl.models.epoch_means import EpochMeans
from slifmr_pl.models.history import HistoryEncoding
from slifmr_pl.models.monitors import check_monitors
from slifmr_pl.models.ranking_module import DEFAULT_KS, RankingModule, Scoring
from slifmr_pl.models.trainer import check_hardware, check_training
from slifmr_pl.nn.optimizer import OptimizerConfig, adam
from slifmr_pl.recommendation_datamodule import data_module_of

_ONCE_AN_EPOCH = 1  # a stream that never meets those of single steps


class RecommenderModule(Part, RankingModule):
    """A recommender: the base of SlifMrModule, of its peers, and of a model of your own.

    A subclass takes plain arguments and `**evaluation: Any`, and hands the latter on:
    `super().__init__(**evaluation)`. It gives

    - `build(inputs)`: creates parameters and buffers for the data;
    - `loss(batch)`: what is minimised;
    - one of `representations()`, `scores(users)` and `history_scores(offsets, items)`.

    Everything else comes with that: checkpoints that stand alone and name the class, exact resume,
    several processes, validation, test, `predict`, `Recommender`, export, report and comparison.

    What is learned has to be parameters and persistent buffers. A model that is loaded without data
    is built from what its checkpoint holds: ids, graphs, and the *sizes* of the features. `build`
    then gets features that are zeros (and take no memory); whatever it computes from them is
    replaced by the tensors of the checkpoint, if it is a persistent buffer. Where data come
    later, it is built again for them, and keeps its tensors.

    Args:
        ks: Cut-offs k of the metrics.
        top_k: Length of the lists that `predict` gives.
        memory_budget_mb: Working memory of full-ranking scoring, in MiB.
        metrics: What `validate` and `test` report besides the built-in metrics.

    Attributes:
        inputs: The data that it was built for; None before.
        losses: The losses of the latest batch, detached; what is minimised comes first.
    """

    resized_buffers: ClassVar[tuple[str, ...]] = ()
    """Buffers whose shapes depend on the values of features, and are taken from a checkpoint."""

    row_buffers: ClassVar[tuple[str, ...]] = ()
    """Buffers int64 of item rows, -1 for none: checked before a checkpoint's are used to index."""

    inputs: ModelInputs | None
    losses: Mapping[str, Tensor] | None

    def __init__(
        self,
        ks: Sequence[int] = DEFAULT_KS,
        top_k: int = 20,
        memory_budget_mb: int = 1024,
        metrics: Sequence[RankingMetric] = (),
    ) -> None:
        super().__init__(ks, top_k, memory_budget_mb, metrics)
        self.save_hyperparameters(dict(self.settings["init_args"]))
        self.inputs = None
        self.losses = None
        self._graph: InteractionGraph | None = None
        self._histories: UserItems | None = None
        self._epoch_means = EpochMeans()
        self._seed: int | None = None
        self._resumed: Mapping[str, Any] | None = None  # this package's entry of a checkpoint

    # What a model gives

    def build(self, inputs: ModelInputs) -> None:
        """Creates parameters and buffers for the data.

        Args:
            inputs: Graphs, features and ids. Features are zeros where `inputs.features_are_absent`.
        """
        raise NotImplementedError(f"{type(self).__name__}.build")

    def loss(self, batch: TrainBatch) -> Tensor | Mapping[str, Tensor]:
        """What is minimised, as a mean over the rows of the batch.

        Where several processes share a batch, each has some of its rows, and their means are
        weighted by how many. What is no mean over rows has to be the same in every process:
        `batch.global_users` and `batch.global_positives` have the users and positives of all.

        Returns:
            A scalar; or scalars by name, of which `loss` is minimised and all are logged, as
            `train/NAME`, by their means over an epoch.
        """
        raise NotImplementedError(f"{type(self).__name__}.loss")

    def scores(self, users: Tensor) -> Tensor:
        """Scores of the catalogue for users by their rows; by default `history_scores`.

        Args:
            users: int64 [b], rows.

        Returns:
            float [b, I].
        """
        if self._histories is None:
            assert self.inputs is not None
            graph = self.inputs.graph
            pairs = Interactions(graph.users.numpy(), graph.items.numpy())
            self._histories = UserItems.of(graph.n_users, pairs)
        history = self._histories.select(users.cpu().numpy())
        return self.history_scores(*(torch.from_numpy(part).to(self.device) for part in history))

    def history_scores(self, offsets: Tensor, items: Tensor) -> Tensor:
        """Scores of the catalogue by what users have, for a model that needs no more of a user.

        Args:
            offsets: int64 [b + 1]; user b has ``items[offsets[b]:offsets[b + 1]]``.
            items: int64, training items of the users.

        Returns:
            float [b, I].
        """
        raise NotImplementedError

    # What a model may give beside that

    @property
    def representation_dim(self) -> int | None:
        """How many of the first entries of an item's vector items are compared by; None for all."""
        return None

    @property
    def scores_histories(self) -> bool:
        """Whether `history_scores` is implemented."""
        return type(self).history_scores is not RecommenderModule.history_scores

    def history_encoder(self, vectors: Scoring) -> Callable[[Tensor], Tensor]:
        """How somebody whom training has not seen gets a vector: by default from their items' sum.

        Args:
            vectors: What `representations` gave.

        Returns:
            int64 [n], distinct rows of the items that somebody has → float [d]. A
            `HistoryEncoding` goes into exports; any other function is used by `Recommender` alone.
        """
        return HistoryEncoding(vectors.items, vectors.items)

    def item_views(self) -> dict[str, Tensor]:
        """Views of the items that a report compares, float [I, d] each; none by default."""
        return {}

    def learned_neighbours(self) -> Neighbours | None:
        """Neighbours of the items that training has found; None by default."""
        return None

    def explain(self, user: int, item: int) -> Explanation:
        """Why an item has the score that it has for a user, both by their rows.

        Raises:
            ConfigError: If the model does not explain its scores, which is the default.
        """
        raise ConfigError(
            f"{type(self).__name__} does not explain its scores",
            expected="a model that does, as SlifMrModule",
            fix="implement `explain` in the class of the model",
        )

    # Construction

    def configure_callbacks(self) -> list[Callback]:
        """None of its own; what comes first in a run, so that monitors are checked here."""
        if self.trainer.state.fn == "fit":
            check_training(self.trainer)
            check_monitors(self.trainer, self)
        return []

    def setup(self, stage: str) -> None:
        """Takes graphs and features from the data module.

        Raises:
            ConfigError: If the class gives nothing to rank by.
        """
        kind = type(self)
        ranks = self.gives_vectors or self.scores_histories
        if not ranks and kind.scores is RecommenderModule.scores:
            raise ConfigError(
                f"{kind.__name__} gives nothing to rank items by",
                expected="one of representations(), scores(users) and history_scores(…)",
                fix=f"implement one of them in {kind.__name__}",
            )
        check_hardware(self.trainer)
        self.connect(data_module_of(self.trainer).model_inputs)

    def connect(self, inputs: ModelInputs) -> None:
        """Builds the model for the data; one that is built already is checked against them.

        Raises:
            CheckpointError: If the model was built for other data.
        """
        if self.inputs is None:
            self._construct(inputs)
            return
        check_data(inputs, identity_of(self.inputs))
        if self.inputs.features_are_absent and not inputs.features_are_absent:
            state = self.state_dict()
            with torch.random.fork_rng(devices=[]):  # a start draws no numbers that training would
                self._construct(inputs)
            self._resize_buffers(state)
            self.load_state_dict(state)
        self.inputs = inputs

    def _construct(self, inputs: ModelInputs) -> None:
        before, self.inputs = self.inputs, inputs
        self._histories = None
        try:
            self.build(inputs)
        except BaseException:
            self.inputs = before
            raise
        # DistributedDataParallel would broadcast these buffers before every step.
        self._ddp_params_and_buffers_to_ignore = [name for name, _ in self.named_buffers()]

    @property
    def n_items(self) -> int:
        """I, of the data that the model was built for."""
        assert self.inputs is not None
        return self.inputs.graph.n_items

    @property
    def interaction_graph(self) -> InteractionGraph:
        """Normalised user–item graph of the training interactions, on this module's device."""
        assert self.inputs is not None
        # What an evaluation builds in inference mode could not be trained on later.
        with torch.inference_mode(False):
            built = self._graph
            if built is None or built.user_items.forward.offsets.device != self.device:
                graph = self.inputs.graph
                self._graph = InteractionGraph.build(
                    graph.users, graph.items, graph.n_users, graph.n_items
                ).to(self.device)
            assert self._graph is not None
            return self._graph

    # Training

    def step_generator(
        self, stream: int = 0, device: torch.device | str | None = None
    ) -> torch.Generator:
        """Random numbers that depend on the run's seed and the batch alone.

        They are the same in every process and after a resume, so that a model with noise trains
        as exactly as one without.

        Args:
            stream: Tells apart several uses in one step.
            device: Where they are drawn; default the module's device.
        """
        # Batches since the start, also where several of them make one step of the optimizer.
        step = 0 if self._trainer is None else self.trainer.fit_loop.epoch_loop.total_batch_idx
        return self._generator(device, max(step, 0), stream)

    def epoch_generator(
        self, stream: int = 0, device: torch.device | str | None = None
    ) -> torch.Generator:
        """Random numbers that depend on the run's seed and the epoch alone.

        For what is drawn once an epoch: a run that is resumed in the middle of one draws it again.

        Args:
            stream: Tells apart several uses in one epoch.
            device: Where they are drawn; default the module's device.
        """
        return self._generator(device, self.current_epoch, stream, _ONCE_AN_EPOCH)

    def _generator(self, device: torch.device | str | None, *stream: int) -> torch.Generator:
        sequence = np.random.SeedSequence((self._seed or 0, *stream))
        generator = torch.Generator(device or self.device)
        return generator.manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1)))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam over all parameters, with the `learning_rate` of the model.

        Raises:
            ConfigError: If the model has none.
        """
        rate = getattr(self, "learning_rate", None)
        if rate is not None and not is_number(rate, above=0):
            raise ConfigError(
                f"the learning_rate of {type(self).__name__} is {rate!r}",
                expected="a number above 0",
                fix="for example learning_rate 0.001",
            )
        if rate is None:
            raise ConfigError(
                f"{type(self).__name__} has no learning_rate",
                expected="a number, or an optimizer of its own",
                fix="set self.learning_rate in its constructor, or implement configure_optimizers",
            )
        return adam(OptimizerConfig(rate), self.parameters(), may_fuse=self.may_fuse)

    @property
    def may_fuse(self) -> bool:
        """Whether Adam may be fused: not where gradients are clipped in mixed precision."""
        trainer = self._trainer
        return (
            trainer is None
            or not trainer.gradient_clip_val
            or not isinstance(trainer.precision_plugin, MixedPrecision)
        )

    def on_fit_start(self) -> None:
        """Settles the seed of `step_generator`: that of the checkpoint, or torch's own."""
        self.train()  # a model that was loaded comes ready to score
        if self._resumed is not None:
            self._seed = self._resumed["seed"]
        else:
            self._epoch_means = EpochMeans()
            self._seed = int(self.trainer.strategy.broadcast(torch.initial_seed()))

    def on_train_start(self) -> None:
        """Goes on with the random numbers of the checkpoint."""
        if self.trainer.ckpt_path is not None and self.trainer.max_steps != -1:
            raise ConfigError(
                f"resuming with max_steps {self.trainer.max_steps}",
                expected="max_epochs: with max_steps, Lightning 2.6 repeats the end of an epoch",
                fix="set trainer.max_epochs, and leave trainer.max_steps out",
            )
        if self._resumed is not None and self.trainer.world_size == 1:
            restore_random_state(self._resumed["random_state"], self.device)
        self._resumed = None

    def training_step(self, batch: TrainBatch, batch_idx: int) -> Any:
        """The loss of this process's rows, weighted so that processes average to that of all."""
        if len(batch.users):
            value = self.loss(batch)
            losses = {"loss": value} if isinstance(value, Tensor) else dict(value)
            if "loss" not in losses:
                raise ConfigError(
                    f"{type(self).__name__}.loss gave {', '.join(losses) or 'nothing'}",
                    expected="a scalar, or scalars by name with one called loss",
                    fix='add what is minimised as "loss"',
                )
        else:  # more processes than rows: every parameter still needs a gradient
            losses = {"loss": 0.0 * torch.stack([p.sum() for p in self.parameters()]).sum()}
        total = losses.pop("loss")
        self.losses = {name: one.detach() for name, one in {"loss": total, **losses}.items()}
        if len(batch.users):
            self._epoch_means.add(self.losses, len(batch.users))
        self.log("loss", total.detach(), prog_bar=True, logger=False)
        return total if batch.n_ranks == 1 else total * (len(batch.users) / batch.divisor)

    def on_train_epoch_end(self) -> None:
        """Logs the mean losses, and makes sure that all processes hold the same model."""
        if self.trainer.world_size > 1:
            check_agreement(self.state_dict())
        self.log_epoch({f"train/{name}": value for name, value in self._epoch_means.take().items()})

    def log_epoch(self, values: Mapping[str, float]) -> None:
        """Writes values of an epoch before any checkpoint says that the epoch is over.

        With them goes the learning rate. Lightning's loggers would get them after the checkpoints,
        and a kill in between would lose them: no resumed run computes them again.
        """
        self.log_dict(dict(values), logger=False)
        logged = {**values, **self._learning_rates(), "epoch": self.current_epoch}
        for logger in self.loggers if values else ():
            logger.log_metrics(logged, step=self.global_step - 1)
            logger.save()

    def _learning_rates(self) -> dict[str, float]:
        """That of each group of parameters, the first without a number."""
        groups = [group for one in self.trainer.optimizers for group in one.param_groups]
        names = ["learning_rate", *(f"learning_rate/{n}" for n in range(1, len(groups)))]
        return {name: float(group["lr"]) for name, group in zip(names, groups, strict=False)}

    # Checkpoints

    @property
    def column_parameters(self) -> frozenset[str]:
        """Parameters whose columns the strategy `columns` shares out over processes; none."""
        return frozenset()

    @property
    def column_shares(self) -> int:
        """How many processes share those columns out."""
        return 1

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what makes the checkpoint stand alone: class, plug-ins, graphs, ids, sizes.

        Raises:
            DivergenceError: If the weights are not finite.
        """
        assert self.inputs is not None
        require_finite(checkpoint)
        checkpoint[STATE_KEY] = {
            **new_state(type(self)),
            **data_state(self.inputs),
            "means": self._epoch_means.state(),
            "random_state": random_state(self.device),
            "seed": self._seed,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Builds the model from the checkpoint, or checks that it fits the data at hand.

        Raises:
            CheckpointError: If it is of another class, of other settings, of other data, or
                altered.
        """
        check_checkpoint(checkpoint)
        require_model(type(self), checkpoint)
        training = self._trainer is not None and self.trainer.state.fn == "fit"
        if self._trainer is not None:  # otherwise its settings were taken from the checkpoint
            check_settings(self.hparams, checkpoint, training)
        state, tensors = checkpoint[STATE_KEY], checkpoint["state_dict"]
        check_state(state)
        if self.inputs is None:
            self._construct(inputs_of_state(state))
        else:
            check_data(self.inputs, identity_of_state(state))
        self._resize_buffers(tensors)
        shared = dict.fromkeys(self.column_parameters, self.column_shares)
        rows = dict.fromkeys(self.row_buffers, state["graph"]["n_items"])
        check_tensors(self, tensors, rows, shared)
        self._seed = state["seed"]
        if training:
            check_resume(self, checkpoint, self.trainer.max_epochs)
            self._epoch_means.load(state["means"])
            self._resumed = state

    def _resize_buffers(self, saved: Mapping[str, Any]) -> None:
        for name in self.resized_buffers:
            owner, _, leaf = name.rpartition(".")
            other, own = saved.get(name), self.get_buffer(name)
            if isinstance(other, Tensor) and other.dtype == own.dtype:
                setattr(self.get_submodule(owner), leaf, own.new_empty(other.shape))

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # one way in: plain types, no unpickling
        cls,
        checkpoint_path: str | Path,
        map_location: torch.device | str | None = None,
        **run_time: Any,
    ) -> Self:
        """Loads a model that scores without the data it was trained on.

        Args:
            checkpoint_path: A file that `fit` wrote, of this class or of one below it.
            map_location: The device of the module; default the CPU.
            **run_time: Settings that concern a run alone, such as `ks`, `top_k` and
                `memory_budget_mb`, to be otherwise than in training; and `metrics`, which are not
                taken from the checkpoint.

        Raises:
            CheckpointError: If the file is absent, damaged, foreign or of another class.
            ConfigError: If another setting is given.
        """
        checkpoint = read_checkpoint(checkpoint_path)
        kind = model_class(checkpoint, cls, checkpoint_path)
        module = kind(**model_arguments(kind, checkpoint, run_time, checkpoint_path))
        module.on_load_checkpoint(checkpoint)
        module.load_state_dict(checkpoint["state_dict"])
        return module.to(map_location or "cpu").eval()


def load_model(
    path: str | Path, map_location: torch.device | str | None = None, **run_time: Any
) -> RecommenderModule:
    """Loads whatever model a checkpoint is of, without the data it was trained on.

    Its class has to be one of this package, of a plug-in, or imported already: nothing else is
    imported for a file's sake.

    Args:
        path: A file that `fit` wrote.
        map_location: The device of the module; default the CPU.
        **run_time: See `RecommenderModule.load_from_checkpoint`.

    Raises:
        CheckpointError: If the file is absent, damaged or foreign, or its class is not there.
        ConfigError: If a setting is given that a run cannot change.
    """
    return RecommenderModule.load_from_checkpoint(path, map_location, **run_time)


def catalogue_of(module: RecommenderModule, path: str | Path | None = None) -> Catalogue:
    """The raw ids of a module.

    Args:
        module: Trained, or loaded from a checkpoint.
        path: Where it comes from, for the error.

    Raises:
        CheckpointError: If it was made from graphs without raw ids.
    """
    catalogue = None if module.inputs is None else module.inputs.catalogue
    if catalogue is None:
        raise CheckpointError(
            "the model has no raw ids",
            expected="a model that was trained with a RecommendationDataModule, which knows ids",
            fix="train with `slifmr fit`",
            path=path,
        )
    return catalogue
