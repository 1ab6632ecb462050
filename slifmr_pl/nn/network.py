"""The SLIF-MR network: three views of one table of embeddings, fused into a score.

U = users, I = items, r = wanted rows, d = embedding size.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.heterogeneous import Propagation
from slifmr_pl.graphs.sparse.column_parallel import Columns, unit_rows
from slifmr_pl.graphs.sparse.spmm import spmm
from slifmr_pl.nn.config import NetworkConfig, NetworkSizes
from slifmr_pl.nn.encoders import (
    propagate_last,
    propagate_mean,
    propagate_relations,
    rows_of,
)
from slifmr_pl.nn.fusion import ModalityFusion


@dataclass(frozen=True)
class Representations:
    """What one propagation gives; rows are the wanted users and items.

    Attributes:
        users: u* float32 [r_u, d].
        items: i* float32 [r_i, d].
        interaction: i_ui float32 [r_i, d], the interaction view of the items.
        knowledge: h_kg float32 [r_i, d] of unit length, or None without a knowledge graph.
        modality_attention: a float32 [M, r_i], or None without modality graphs.
        ego_users: float32 [r_u, d], the users' own embeddings, before any propagation.
        ego_items: float32 [r_i, d], the items' own embeddings.
    """

    users: Tensor
    items: Tensor
    interaction: Tensor
    knowledge: Tensor | None
    modality_attention: Tensor | None
    ego_users: Tensor
    ego_items: Tensor


class SlifMrNetwork(nn.Module):
    """Encoders and fusion of SLIF-MR; LightGCN and every ablation are configurations of it.

    Parameters exist only for what the configuration uses, so that each gets a gradient.

    Args:
        sizes: What the data decides.
        config: What the user decides.
        present: bool [I] for each modality of `sizes.modalities`: items that have it.
        columns: The columns of the tables that this process holds. Where others hold more, they
            all call `forward` together, and representations are the own columns of those above.
    """

    present: Tensor
    counted: Tensor
    # Parameters whose last dimension is the embedding's, and is shared out.
    TABLES = (
        "user_embedding",
        "item_embedding",
        "entity_embedding",
        "relation_weight",
        "missing_view",
    )

    def __init__(
        self,
        sizes: NetworkSizes,
        config: NetworkConfig,
        present: dict[str, Tensor],
        columns: Columns = Columns(),
    ) -> None:
        super().__init__()
        self.sizes = sizes
        self.config = config
        self.columns = columns
        dim = config.embedding_dim
        self.user_embedding = _xavier(sizes.n_users, dim, columns)
        self.item_embedding = _xavier(sizes.n_items, dim, columns)
        self.use_modalities = config.modality.enabled and len(sizes.modalities) > 0
        self.use_knowledge = config.knowledge.enabled and sizes.n_relations > 0
        if self.use_modalities:
            self.fusion = ModalityFusion(dim, attention=config.modality.attention)
            masks = torch.stack([present[name] for name in sizes.modalities])
            self.register_buffer("present", masks, persistent=False)
            learned = torch.tensor([[name in sizes.learned] for name in sizes.modalities])
            self.register_buffer("counted", masks | learned, persistent=False)
            if sizes.learned:
                self.missing_view = _xavier(len(sizes.learned), dim, columns)
        if self.use_knowledge:
            self.entity_embedding = _xavier(sizes.n_entities - sizes.n_items, dim, columns)
            # Ones: before training, every relation passes its tails on as they are.
            self.relation_weight = nn.Parameter(
                torch.ones(config.knowledge.layers, sizes.n_relations, columns.width(dim))
            )
        self.projections = nn.ModuleDict(
            {name: nn.Linear(size, dim) for name, size in sizes.feature_dims.items()}
        )

    def hold(self, columns: Columns) -> None:
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
        for name, parameter in self.named_parameters():
            if name in self.TABLES:
                parameter.data = columns.own(parameter.data)

    def entities(self) -> Tensor:
        """Embeddings of all entities, items first, float32 [n_entities, d]."""
        return torch.cat([self.item_embedding, self.entity_embedding])

    def forward(
        self,
        graphs: Propagation,
        users: Tensor | None = None,
        items: Tensor | None = None,
    ) -> Representations:
        """Propagates and fuses.

        Args:
            graphs: The epoch's matrices.
            users: int64 [r_u], wanted user rows; None for all.
            items: int64 [r_i], wanted item rows; None for all.
        """
        if self.config.user_fusion == 0:
            return self._fuse(graphs, users, items)
        # A user's mean is over any items, so all of them are fused.
        full = self._fuse(graphs, None, None)
        assert graphs.user_items is not None
        mean = spmm(graphs.user_items, full.items, users)
        picked = _pick(full, users, items)
        return replace(picked, users=picked.users + self.config.user_fusion * mean)

    def _fuse(
        self, graphs: Propagation, users: Tensor | None, items: Tensor | None
    ) -> Representations:
        early = self.config.fusion == "early"
        side = self._side_views(graphs, None if early else items)
        entering: Tensor = self.item_embedding
        if early and side.total is not None:
            entering = entering + side.total
        mean = propagate_mean(
            graphs.interaction,
            self.user_embedding,
            entering,
            self.config.interaction.layers,
            users,
            items,
        )
        fused, ego_items = mean.items, mean.own_items
        if side.total is not None and not early:
            fused = fused + side.total
        if side.total is not None and early:
            side, ego_items = side.pick(items), rows_of(self.item_embedding, items)
        return Representations(
            users=mean.users,
            items=fused,
            interaction=mean.items,
            knowledge=side.knowledge,
            modality_attention=side.attention,
            ego_users=mean.own_users,
            ego_items=ego_items,
        )

    def _side_views(self, graphs: Propagation, items: Tensor | None) -> "_SideViews":
        """β_mm Σ_m a_m h_m + β_kg h_kg for the wanted items, and its parts."""
        config = self.config
        terms, knowledge, attention = [], None, None
        if self.use_modalities:
            names = self.sizes.modalities
            views = torch.stack([self.modality_view(graphs, name, items) for name in names])
            counted = self.counted if items is None else self.counted[:, items]
            modality_view, attention = self.fusion(views, counted, self.columns)
            terms.append(config.modality.weight * modality_view)
        if self.use_knowledge:
            assert graphs.knowledge_items is not None
            knowledge = propagate_relations(
                graphs.knowledge,
                graphs.knowledge_items,
                self.entities(),
                self.relation_weight,
                items,
            )
            # Unbounded, the view grows with its relation weights, past what L2 on the embeddings
            # can hold, and overfits (KGAT normalises here too: Wang et al. 2019, section 3.3).
            knowledge = unit_rows(knowledge, self.columns)
            terms.append(config.knowledge.weight * knowledge)
        return _SideViews(sum(terms[1:], terms[0]) if terms else None, knowledge, attention)

    def modality_view(self, graphs: Propagation, name: str, items: Tensor | None = None) -> Tensor:
        """h_m float32 [r_i, d] of a modality, or the vector learned for items that lack it.

        Args:
            graphs: The epoch's matrices.
            name: Of the modality.
            items: int64 [r_i], wanted item rows; None for all.
        """
        graph, layers = graphs.modalities[name], self.config.modality.layers
        view = propagate_last(graph, self.item_embedding, layers, items)
        if name not in self.sizes.learned:
            return view
        present = self.present[self.sizes.modalities.index(name)]
        vector = self.missing_view[self.sizes.learned.index(name)]
        return torch.where(rows_of(present, items).unsqueeze(1), view, vector)

    def gathered(self, views: Representations) -> Representations:
        """Representations with all columns."""
        gather = self.columns.gathered
        return Representations(
            users=gather(views.users),
            items=gather(views.items),
            interaction=gather(views.interaction),
            knowledge=None if views.knowledge is None else gather(views.knowledge),
            modality_attention=views.modality_attention,
            ego_users=gather(views.ego_users),
            ego_items=gather(views.ego_items),
        )

    def project(self, name: str, features: Tensor) -> Tensor:
        """z_m = W_m x_m: features float32 [r, d_m] of a modality in the embedding space, [r, d]."""
        projected: Tensor = self.projections[name](features)
        return projected


def _xavier(rows: int, dim: int, columns: Columns) -> nn.Parameter:
    columns.width(dim)
    table = torch.empty(rows, dim)
    nn.init.xavier_uniform_(table)  # of all columns, so that a seed means the same for any number
    return nn.Parameter(table if columns.count == 1 else columns.own(table))


class _SideViews(NamedTuple):
    """What items get besides interactions: the weighted sum, and parts of it."""

    total: Tensor | None
    knowledge: Tensor | None
    attention: Tensor | None

    def pick(self, items: Tensor | None) -> "_SideViews":
        """Knowledge view and attention of some of the items."""
        return _SideViews(
            None,
            None if self.knowledge is None else rows_of(self.knowledge, items),
            None if self.attention is None else rows_of(self.attention.T, items).T,
        )


def _pick(full: Representations, users: Tensor | None, items: Tensor | None) -> Representations:
    side = _SideViews(None, full.knowledge, full.modality_attention).pick(items)
    return Representations(
        users=rows_of(full.users, users),
        items=rows_of(full.items, items),
        interaction=rows_of(full.interaction, items),
        knowledge=side.knowledge,
        modality_attention=side.attention,
        ego_users=rows_of(full.ego_users, users),
        ego_items=rows_of(full.ego_items, items),
    )
