"""The SLIF-MR network: views of one table of embeddings, fused into a score.

U = users, I = items, r = wanted rows, d = embedding size.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.correlation import CorrelationEntries, Target
from slifmr_pl.graphs.heterogeneous import HeterogeneousGraph, Propagation
from slifmr_pl.graphs.model_inputs import ItemFeatures
from slifmr_pl.graphs.sparse.column_parallel import EmbeddingColumns
from slifmr_pl.graphs.sparse.spmm import spmm
from slifmr_pl.nn.fusion import AttentiveFusion, FusedViews, Fusion, ItemView
from slifmr_pl.nn.item_views import KnowledgeView, ModalityView
from slifmr_pl.nn.network_config import NetworkConfig
from slifmr_pl.nn.propagation import propagate_mean, rows_of
from slifmr_pl.nn.views import NetworkData, View, ViewContext, has_shared_columns


@dataclass(frozen=True)
class Representations:
    """What one propagation gives; rows are the wanted users and items.

    Attributes:
        users: u* float32 [r_u, d].
        items: i* float32 [r_i, d].
        interaction: i_ui float32 [r_i, d], the interaction view of the items.
        ego_users: float32 [r_u, d], the users' own embeddings, before any propagation.
        ego_items: float32 [r_i, d], the items' own embeddings.
        views: Views to be aligned with the interaction view, float32 [r_i, d] by name; the
            knowledge view is one, of unit length.
        modality_attention: a float32 [M, r_i], or None without modality graphs.
    """

    users: Tensor
    items: Tensor
    interaction: Tensor
    ego_users: Tensor
    ego_items: Tensor
    views: Mapping[str, Tensor] = field(default_factory=dict)
    modality_attention: Tensor | None = None

    @property
    def knowledge(self) -> Tensor | None:
        """h_kg float32 [r_i, d] of unit length, or None without a knowledge graph."""
        return self.views.get(KnowledgeView.name)


class SlifMrNetwork(nn.Module):
    """Views and fusion of SLIF-MR; LightGCN and every ablation are configurations of it.

    Parameters exist only for what the configuration uses, so that each gets a gradient.

    Args:
        graph: The data set's graphs.
        config: What the user decides.
        features: Frozen features by modality, for views that look at them.
        entries: How the correlation graph enters the others; None for not at all.
        columns: The columns of the tables that this process holds. Where other processes hold the
            others, all of them call `forward` together, and each gets its own columns of the
            representations.
    """

    def __init__(
        self,
        graph: HeterogeneousGraph,
        config: NetworkConfig,
        *,
        features: Mapping[str, ItemFeatures] | None = None,
        entries: CorrelationEntries | None = None,
        columns: EmbeddingColumns = EmbeddingColumns(),
    ) -> None:
        super().__init__()
        self.config = config
        self.columns = columns
        self.n_users, self.n_items = graph.n_users, graph.n_items
        is_relation = entries is not None and entries.any_enters(Target("knowledge"))
        data = NetworkData(graph, features or {}, config.embedding_dim, columns, is_relation)
        self.user_embedding = data.table(graph.n_users)
        self.item_embedding = data.table(graph.n_items)
        views = _views(graph, config)
        self.fusion = _fusion(config)
        self.fusion.build(data, views)
        self.views = nn.ModuleList(views)
        for view in views:
            view.build(data)

    @property
    def side_views(self) -> list[View]:
        """The views of the items besides the interaction view, in the order of fusion."""
        return [view for view in self.views if isinstance(view, View)]

    @property
    def modality_views(self) -> list[ModalityView]:
        """The views of the modalities, in the order of the attention."""
        return [view for view in self.views if isinstance(view, ModalityView)]

    @property
    def knowledge_view(self) -> KnowledgeView | None:
        """The view of the knowledge graph, where there is one."""
        return next((view for view in self.views if isinstance(view, KnowledgeView)), None)

    @property
    def column_parameters(self) -> frozenset[str]:
        """Names of the parameters whose last dimension is the embedding's, and is shared out."""
        return frozenset(
            name for name, parameter in self.named_parameters() if has_shared_columns(parameter)
        )

    def keep_columns(self, columns: EmbeddingColumns) -> None:
        """Keeps some columns of the tables, and drops the others.

        Raises:
            ConfigError: If other columns than those were dropped before.
        """
        if columns == self.columns:
            return
        if self.columns.count > 1:
            raise ConfigError(
                f"a model with the columns of process {self.columns.rank} of {self.columns.count}",
                expected="all columns, or those of this process",
                fix="load the model from its checkpoint, which holds all columns",
            )
        self.columns = columns
        for parameter in self.parameters():
            if has_shared_columns(parameter):
                parameter.data = columns.own(parameter.data)

    def forward(
        self,
        graphs: Propagation,
        users: Tensor | None = None,
        items: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Representations:
        """Propagates and fuses.

        Args:
            graphs: The epoch's matrices.
            users: int64 [r_u], wanted user rows; None for all.
            items: int64 [r_i], wanted item rows; None for all.
            generator: Random numbers of a training step, for what is random in it (edge dropout);
                None outside of training.
        """
        dropout = self.config.interaction.edge_dropout
        if dropout > 0 and generator is not None:
            dropped = graphs.interaction.with_dropped_edges(dropout, generator)
            graphs = replace(graphs, interaction=dropped)
        if self.config.user_fusion == 0:
            return self._propagated(graphs, users, items, generator)
        # A user's mean is over any items, so all of them are fused.
        full = self._propagated(graphs, None, None, generator)
        assert graphs.user_items is not None
        mean = spmm(graphs.user_items, full.items, users)
        chosen = _rows_of_all(full, users, items)
        return replace(chosen, users=chosen.users + self.config.user_fusion * mean)

    def _propagated(
        self,
        graphs: Propagation,
        users: Tensor | None,
        items: Tensor | None,
        generator: torch.Generator | None,
    ) -> Representations:
        early = self.fusion.early
        aligned, fused = self.fused_views(
            self._context(graphs, None if early else items, generator)
        )
        entering: Tensor = self.item_embedding
        if early and fused.total is not None:
            entering = entering + fused.total
        mean = propagate_mean(
            graphs.interaction,
            self.user_embedding,
            entering,
            self.config.interaction.layers,
            users,
            items,
        )
        representations, ego_items, attention = mean.items, mean.own_items, fused.attention
        if fused.total is not None and not early:
            representations = representations + fused.total
        if fused.total is not None and early:
            ego_items = rows_of(self.item_embedding, items)
            aligned = {name: rows_of(view, items) for name, view in aligned.items()}
            attention = _attention_of(attention, items)
        return Representations(
            users=mean.users,
            items=representations,
            interaction=mean.items,
            ego_users=mean.own_users,
            ego_items=ego_items,
            views=aligned,
            modality_attention=attention,
        )

    def context(self, graphs: Propagation, items: Tensor | None = None) -> ViewContext:
        """What views look at outside of training.

        Args:
            graphs: The epoch's matrices.
            items: int64 [r], wanted item rows; None for all.
        """
        return self._context(graphs, items, None)

    def _context(
        self, graphs: Propagation, items: Tensor | None, generator: torch.Generator | None
    ) -> ViewContext:
        return ViewContext(
            graphs, self.user_embedding, self.item_embedding, items, self.columns, generator
        )

    def fused_views(self, context: ViewContext) -> tuple[dict[str, Tensor], FusedViews]:
        """The views to be aligned, by name, and what the fusion makes of all views."""
        views = []
        for view in self.side_views:
            views.append(ItemView(view, view(context), view.present(context)))
        aligned = {one.view.name: one.vectors for one in views if one.view.aligned}
        fused: FusedViews = self.fusion(views, context) if views else FusedViews(None, {})
        return aligned, fused

    def gathered(self, views: Representations) -> Representations:
        """Representations with all columns."""
        gather = self.columns.gathered
        return Representations(
            users=gather(views.users),
            items=gather(views.items),
            interaction=gather(views.interaction),
            ego_users=gather(views.ego_users),
            ego_items=gather(views.ego_items),
            views={name: gather(view) for name, view in views.views.items()},
            modality_attention=views.modality_attention,
        )


def _views(graph: HeterogeneousGraph, config: NetworkConfig) -> list[View]:
    """The views of a configuration that the data have something for."""
    modality, knowledge = config.modality, config.knowledge
    views: list[View] = []
    if modality.enabled:
        views += [ModalityView(name, modality.layers, modality.weight) for name in graph.modalities]
    if knowledge.enabled and graph.triples is not None and graph.triples.n_relations > 0:
        views.append(KnowledgeView(knowledge.layers, knowledge.weight, knowledge.attention))
    views += [view.fresh() for view in config.views]
    names = [view.name for view in views]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"views with the names {', '.join(names)}",
            expected="a name of its own for each, also beside modalities and `knowledge`",
            fix="set `name` in the class of a view of yours, or in its constructor",
        )
    return views


def _fusion(config: NetworkConfig) -> Fusion:
    if isinstance(config.fusion, Fusion):
        return config.fusion.fresh()
    return AttentiveFusion(config.fusion == "early", config.modality.attention)


def _attention_of(attention: Tensor | None, items: Tensor | None) -> Tensor | None:
    return None if attention is None else rows_of(attention.T, items).T


def _rows_of_all(
    full: Representations, users: Tensor | None, items: Tensor | None
) -> Representations:
    return Representations(
        users=rows_of(full.users, users),
        items=rows_of(full.items, items),
        interaction=rows_of(full.interaction, items),
        ego_users=rows_of(full.ego_users, users),
        ego_items=rows_of(full.ego_items, items),
        views={name: rows_of(view, items) for name, view in full.views.items()},
        modality_attention=_attention_of(full.modality_attention, items),
    )
