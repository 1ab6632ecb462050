"""The LightningModule: hooks that join network, objective, self-loop and metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from slifmr_pl.checkpoints.data import check_data, identity_of
from slifmr_pl.checkpoints.format import STATE_KEY
from slifmr_pl.checkpoints.validation import check_regression
from slifmr_pl.data.batches import TrainBatch
from slifmr_pl.distributed.column_strategy import ColumnStrategy
from slifmr_pl.distributed.processes import check_agreement
from slifmr_pl.errors import ConfigError
from slifmr_pl.explanation import Explanation, explain
from slifmr_pl.graphs.correlation import CorrelationEntries
from slifmr_pl.graphs.heterogeneous import GraphAssembler, Propagation
from slifmr_pl.graphs.model_inputs import ItemFeatures, ModelInputs
from slifmr_pl.graphs.neighbours import Neighbours
from slifmr_pl.graphs.sparse.column_parallel import EmbeddingColumns
from slifmr_pl.graphs.sparse.spmm import SparseBackend
from slifmr_pl.losses.alignment import ProcessShare
from slifmr_pl.losses.objective import LossConfig, Losses, Objective
from slifmr_pl.losses.terms import LossData
from slifmr_pl.metrics.metric import RankingMetric
from slifmr_pl.models.base import RecommenderModule
from slifmr_pl.models.history import HistoryEncoding
from slifmr_pl.models.ranking_module import DEFAULT_KS, Scoring
from slifmr_pl.models.unused import unused_settings
from slifmr_pl.nn.last_layer import messages_to_new_user
from slifmr_pl.nn.network import Representations, SlifMrNetwork
from slifmr_pl.nn.network_config import NetworkConfig
from slifmr_pl.nn.optimizer import OptimizerConfig, adam
from slifmr_pl.nn.self_loop import SelfLoop, SelfLoopConfig
from slifmr_pl.recommendation_datamodule import data_module_of
from slifmr_pl.regression.item_regression import RegressionFactors, append_regression
from slifmr_pl.regression.view import RegressionView
from slifmr_pl.regression.weight_search import best_weight


class SlifMrModule(RecommenderModule):
    """SLIF-MR: fusion of interactions, knowledge and modalities with a self-loop.

    Sizes come from the data module (`Trainer.fit(module, datamodule=...)`) or from a checkpoint
    (`SlifMrModule.load_from_checkpoint(path)`, which needs no data).

    Args:
        network: Views and fusion.
        self_loop: Feedback of item representations into the graphs.
        loss: Terms of the objective.
        optimizer: Adam's settings.
        ks: Cut-offs k of the metrics.
        top_k: Length of the lists that `predict` gives.
        sparse_backend: Library behind the sparse product.
        memory_budget_mb: Working memory of full-ranking scoring, in MiB.
        metrics: What `validate` and `test` report besides the built-in metrics.
    """

    row_buffers = ("self_loop.current_neighbours", "self_loop.next_neighbours")

    network: SlifMrNetwork
    self_loop: SelfLoop
    entries: CorrelationEntries
    objective: Objective

    def __init__(
        self,
        network: NetworkConfig = NetworkConfig(),
        self_loop: SelfLoopConfig = SelfLoopConfig(),
        loss: LossConfig = LossConfig(),
        optimizer: OptimizerConfig = OptimizerConfig(),
        ks: Sequence[int] = DEFAULT_KS,
        top_k: int = 20,
        sparse_backend: SparseBackend = "auto",
        memory_budget_mb: int = 1024,
        metrics: Sequence[RankingMetric] = (),
    ) -> None:
        super().__init__(ks, top_k, memory_budget_mb, metrics)
        self.network_config = network
        self.self_loop_config = self_loop
        self.loss_config = loss
        self.optimizer_config = optimizer
        self.sparse_backend = sparse_backend
        self._assembler: GraphAssembler | None = None
        self._propagation: Propagation | None = None
        self._reference_assembler: GraphAssembler | None = None
        self._reference_graphs: Propagation | None = None
        self._regression = RegressionView(network)
        self._evaluated: Representations | None = None  # the views while a validation begins
        if network.propagation == "fused" and any(e.learned for e in self_loop.all_entries):
            raise ConfigError(
                "propagation: fused, with a correlation entry that learns the weights of edges",
                expected="auto or reference: the fused one has no gradients for edges",
                fix="leave out model.network.propagation",
            )

    # Construction

    def connect(self, inputs: ModelInputs) -> None:
        """Builds the model for the data; one that is built already is checked against them.

        Raises:
            CheckpointError: If the module was built from a checkpoint of other data.
        """
        if self.inputs is None:
            super().connect(inputs)
            return
        check_data(inputs, identity_of(self.inputs))
        self.inputs = inputs
        self.network.keep_columns(self._columns)

    def build(self, inputs: ModelInputs) -> None:
        """Creates parameters and state for the data."""
        self.inputs = inputs
        graph, config, data = inputs.graph, self.network_config, inputs.graph.correlation_data
        self.entries = CorrelationEntries(self.self_loop_config.all_entries)
        self.network = SlifMrNetwork(
            graph,
            config,
            features=inputs.features,
            entries=self.entries,
            columns=self._columns,
        )
        self.entries.build(data)
        self.objective = Objective(
            self.loss_config,
            LossData(
                graph,
                {name: f.values.shape[1] for name, f in inputs.features.items()},
                config.embedding_dim,
            ),
        )
        attention, knowledge = None, self.network.knowledge_view
        if knowledge is not None and knowledge.attends:
            assert graph.triples is not None
            attention = graph.triples.uniform_attention()
        self.self_loop = SelfLoop(self.self_loop_config, data, config.embedding_dim, attention)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over all parameters."""
        return adam(self.optimizer_config, self.parameters(), may_fuse=self.may_fuse)

    @property
    def column_parameters(self) -> frozenset[str]:
        """Names of the parameters whose columns the strategy `columns` shares out."""
        return frozenset(f"network.{name}" for name in self.network.column_parameters)

    @property
    def column_shares(self) -> int:
        """How many processes share the columns out."""
        return self.network.columns.count

    @property
    def _columns(self) -> EmbeddingColumns:
        strategy = None if self._trainer is None else self._trainer.strategy
        return strategy.columns if isinstance(strategy, ColumnStrategy) else EmbeddingColumns()

    # Graphs of an epoch

    @property
    def propagation(self) -> Propagation:
        """The constant matrices of the present epoch, on this module's device."""
        # A graph that an evaluation builds in inference mode could not be trained on later.
        with torch.inference_mode(False):
            if self._assembler is None or self._assembler.device != self.device:
                self._assembler = self._new_assembler()
                self._propagation = None
            if self._propagation is None:
                self._propagation = self._assembler.assemble(
                    self.self_loop.correlation(), self.self_loop.attention()
                )
        return self._propagation

    @property
    def _training_graphs(self) -> Propagation:
        """The matrices to train over: those of the epoch, or the reference ones in their place.

        Where something learns the weights of edges, they are made anew in every step.
        """
        if not self._trains_on_reference:
            return self.propagation
        if self._reference_assembler is None or self._reference_assembler.device != self.device:
            self._reference_assembler = self._new_assembler(reference=True)
            self._reference_graphs = None
        if self._reference_graphs is None or self.entries.learned:
            self._reference_graphs = self._reference_assembler.assemble(
                self.self_loop.correlation(), self.self_loop.attention()
            )
        return self._reference_graphs

    @property
    def _trains_on_reference(self) -> bool:
        return self.network_config.propagation == "reference" or self.entries.learned

    def _new_assembler(self, *, reference: bool = False) -> GraphAssembler:
        assert self.inputs is not None
        knowledge = self.network.knowledge_view
        return GraphAssembler(
            self.inputs.graph,
            use_modalities=len(self.network.modality_views) > 0,
            weighted_edges=self.network_config.modality.weighted_edges,
            use_user_items=self.network_config.user_fusion > 0,
            knowledge_layers=0 if knowledge is None else knowledge.layers,
            entries=self.entries,
            reference=reference,
            backend=self.sparse_backend,
            device=self.device,
        )

    def _forget_graphs(self) -> None:
        self._propagation = self._reference_graphs = None

    @torch.no_grad()
    def representations(self) -> Representations:
        """u* [U, d], i* [I, d] and the views of all users and items, with the present graph.

        With the regression view, u* and i* go on with its factors: [U, d + r] and [I, d + r].
        Where processes share the columns out, all of them call this together.
        """
        return self._scored(self._views())

    @torch.no_grad()
    def _views(self) -> Representations:
        if self._evaluated is not None:
            return self._evaluated
        return self.network.gathered(self.network(self.propagation))

    def _scored(self, views: Representations) -> Representations:
        """The views, with the regression where it takes part."""
        regression = self.regression()
        if regression is None:
            return views
        users, items = append_regression(views.users, views.items, regression)
        return replace(views, users=users, items=items)

    def regression(self) -> RegressionFactors | None:
        """Factors of the training interactions, on this module's device; None without the view."""
        assert self.inputs is not None
        return self._regression.factors(self.inputs, self.device)

    @property
    def representation_dim(self) -> int:
        """All entries but those of the regression, which are on a scale of their own."""
        return self.network_config.embedding_dim

    def history_encoder(self, vectors: Scoring) -> HistoryEncoding:
        """The messages of their items, see `messages_to_new_user`, and the regression of them."""
        assert self.inputs is not None
        assert isinstance(vectors, Representations)
        messages = messages_to_new_user(
            self.network, self.propagation, vectors, self.inputs.graph
        ).float()
        known = vectors.items[:, : self.representation_dim].float()
        fusion = self.network_config.user_fusion
        return HistoryEncoding(
            known, messages, fusion * known if fusion else None, self.regression()
        )

    @torch.no_grad()
    def item_views(self) -> dict[str, Tensor]:
        """The views that are fused, and what they are fused to."""
        context, views = self.network.context(self.propagation), self._views()
        side = {view.name: view(context) for view in self.network.side_views}
        return {"interactions": views.interaction, **side, "fused": views.items}

    def explain(self, user: int, item: int) -> Explanation:
        """The score of a user and an item as an exact sum, both by their rows."""
        return explain(self.network, self.propagation, user, item, self.regression())

    def learned_neighbours(self) -> Neighbours | None:
        """The correlation graph; None before there is one."""
        neighbours = self.self_loop.current_neighbours
        if not (neighbours >= 0).any():
            return None
        return Neighbours(neighbours, self.self_loop.current_weights)

    def on_validation_epoch_start(self) -> None:
        """Propagates once; in `fit`, chooses the regression's weight first, unless it is fixed."""
        if self.entries.learned:
            self._forget_graphs()  # their edges have learned since
        self._evaluated = self._views()  # for the choice and for the ranking
        try:
            trainer = self.trainer
            chosen = self._regression.weight_is_chosen and not trainer.sanity_checking
            if trainer.state.fn == "fit" and chosen:
                self._choose_regression_weight(self._evaluated)
            super().on_validation_epoch_start()
        finally:
            self._evaluated = None

    def _choose_regression_weight(self, views: Representations) -> None:
        regression = self.regression()
        assert regression is not None
        best = best_weight(
            views.users,
            views.items,
            regression,
            data_module_of(self.trainer).validation_sample,
            memory_budget_mb=self.memory_budget_mb,
        )
        # All processes rank the same users, but may round differently.
        self._regression.weight = self.trainer.strategy.broadcast(best)

    # Training

    def on_fit_start(self) -> None:
        """Says which settings have no effect, and solves the regression in one process for all."""
        super().on_fit_start()
        assert self.inputs is not None
        self._regression.check_memory(self.n_items)
        unused = unused_settings(
            self.network_config, self.self_loop_config, self.loss_config, self.inputs
        )
        for reason, names in unused.items():
            rank_zero_warn(f"No effect: {', '.join(names)}, since {reason}.")
        if self.trainer.world_size > 1:
            strategy = self.trainer.strategy
            self._regression.broadcast_from_first(
                self.inputs, strategy.broadcast, strategy.is_global_zero
            )

    def on_train_start(self) -> None:
        """Moves the frozen features to the device."""
        super().on_train_start()
        assert self.inputs is not None
        if self.objective.aligns:
            self.objective.use_features(
                {
                    name: ItemFeatures(*(part.to(self.device) for part in feature))
                    for name, feature in self.inputs.features.items()
                }
            )

    def on_train_epoch_start(self) -> None:
        """Makes the graph current that the epoch before has built."""
        self.self_loop.promote_next()
        self._forget_graphs()

    def training_step(self, batch: TrainBatch, batch_idx: int) -> Tensor:
        """Losses of this process's slice of a batch."""
        share, aligned = ProcessShare(), None
        if batch.n_ranks > 1:
            share = ProcessShare(self.global_rank, batch.n_ranks, weight=batch.n_ranks)
            aligned = batch.global_positives
        losses: Losses = self.objective(
            self.network,
            self._training_graphs,
            batch.users,
            batch.positives,
            batch.negatives,
            # DistributedDataParallel averages gradients over processes whose slices differ in size.
            divisor=batch.divisor,
            aligned=aligned,
            share=share,
            generator=self.step_generator(device="cpu"),
        )
        if self.entries.learned:
            # Before there are edges to learn of, a gradient of zero: every process expects one.
            touched = sum(parameter.sum() * 0.0 for parameter in self.entries.parameters())
            losses = replace(losses, total=losses.total + touched)
        self.losses = losses.detached().named()
        self._epoch_means.add(self.losses, len(batch.global_positives) / self.trainer.world_size)
        self.log("loss", losses.total.detach(), prog_bar=True, logger=False)
        return losses.total

    def on_train_epoch_end(self) -> None:
        """Builds the graph of the next epoch, and logs the mean losses and what the graph is like.

        Validation of this epoch has run already.
        """
        attention = None
        assert self.inputs is not None
        self._regression.solve(self.inputs)  # where nothing is validated; checkpoints follow
        if self.entries.learned:
            self._forget_graphs()
        _ = self.propagation  # none is there yet where a resumed run begins at an epoch's end
        if self.self_loop.attention() is not None:
            assert self._assembler is not None
            assert self._assembler.triples is not None
            assert self.network.knowledge_view is not None
            attention = self.network.knowledge_view.attention(
                self._assembler.triples, self.network.item_embedding, self.network.columns
            )
        items = self._items() if self.self_loop_config.enabled else None
        statistics = self.self_loop.build_next(self.current_epoch, items, attention)
        if self.trainer.world_size > 1:
            for buffer in self.self_loop.buffers():
                if buffer.numel():
                    torch.distributed.broadcast(buffer, src=0)
            common = dict(self.named_parameters()) | dict(self.self_loop.named_buffers())
            for name in self.column_parameters if self._columns.count > 1 else ():
                del common[name]
            check_agreement(common)
        values = {f"train/{name}": mean for name, mean in self._epoch_means.take().items()}
        if self._regression.weight_is_chosen:
            values["regression/weight"] = self._regression.weight
        if statistics is not None:
            values |= {f"self_loop/{name}": float(v) for name, v in asdict(statistics).items()}
        self.log_epoch(values)

    @torch.no_grad()
    def _items(self) -> Tensor:
        return self.network.columns.gathered(self.network(self.propagation).items)

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the solved regression to what every checkpoint has.

        Raises:
            DivergenceError: If the weights are not finite.
        """
        super().on_save_checkpoint(checkpoint)
        checkpoint[STATE_KEY]["regression"] = self._regression.state

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Builds the module from the checkpoint, or checks that it fits the data at hand."""
        super().on_load_checkpoint(checkpoint)
        regression = checkpoint[STATE_KEY].get("regression")
        check_regression(regression, self.n_items)
        self._regression.load(regression)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Loads weights and graphs; what was propagated over before is forgotten."""
        self._forget_graphs()
        return super().load_state_dict(state_dict, strict=strict, assign=assign)
