"""The SLIF-MR network: three views of one table of embeddings, fused into a score.

U = users, I = items, r = wanted rows, d = embedding size.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from slifmr_pl.graphs.heterogeneous import Propagation
from slifmr_pl.graphs.spmm import spmm
from slifmr_pl.nn.config import NetworkConfig, NetworkSizes
from slifmr_pl.nn.encoders import propagate_last, propagate_mean, propagate_relations
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
    """

    users: Tensor
    items: Tensor
    interaction: Tensor
    knowledge: Tensor | None
    modality_attention: Tensor | None


class SlifMrNetwork(nn.Module):
    """Encoders and fusion of SLIF-MR; LightGCN and every ablation are configurations of it.

    Parameters exist only for what the configuration uses, so that each gets a gradient.

    Args:
        sizes: What the data decides.
        config: What the user decides.
        present: bool [I] for each modality of `sizes.modalities`: items that have it.
    """

    present: Tensor

    def __init__(
        self, sizes: NetworkSizes, config: NetworkConfig, present: dict[str, Tensor]
    ) -> None:
        super().__init__()
        self.sizes = sizes
        self.config = config
        dim = config.embedding_dim
        self.user_embedding = _xavier(sizes.n_users, dim)
        self.item_embedding = _xavier(sizes.n_items, dim)
        self.use_modalities = config.modality.enabled and len(sizes.modalities) > 0
        self.use_knowledge = config.knowledge.enabled and sizes.n_relations > 0
        if self.use_modalities:
            self.fusion = ModalityFusion(dim, attention=config.modality.attention)
            masks = torch.stack([present[name] for name in sizes.modalities])
            self.register_buffer("present", masks, persistent=False)
        if self.use_knowledge:
            self.entity_embedding = _xavier(sizes.n_entities - sizes.n_items, dim)
            # Ones: before training, every relation passes its tails on as they are.
            self.relation_weight = nn.Parameter(
                torch.ones(config.knowledge.layers, sizes.n_relations, dim)
            )
        self.projections = nn.ModuleDict(
            {name: nn.Linear(size, dim) for name, size in sizes.feature_dims.items()}
        )

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
            users: int64 [r_u], wanted user rows; None for all. Give both or none.
            items: int64 [r_i], wanted item rows; None for all.
        """
        assert (users is None) == (items is None)
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
        config, n_users = self.config, self.sizes.n_users
        n_user_rows, rows = n_users, None
        if users is not None and items is not None:
            n_user_rows, rows = len(users), torch.cat([users, items + n_users])
        early = config.fusion == "early"
        side = self._side_views(graphs, None if early else items)
        entering: Tensor = self.item_embedding
        if early and side.total is not None:
            entering = entering + side.total
        nodes = propagate_mean(
            graphs.interaction,
            torch.cat([self.user_embedding, entering]),
            config.interaction.layers,
            rows,
        )
        user_view, item_view = nodes[:n_user_rows], nodes[n_user_rows:]
        fused = item_view if early or side.total is None else item_view + side.total
        if early:
            side = side.pick(items)
        return Representations(user_view, fused, item_view, side.knowledge, side.attention)

    def _side_views(self, graphs: Propagation, items: Tensor | None) -> "_SideViews":
        """β_mm Σ_m a_m h_m + β_kg h_kg for the wanted items, and its parts."""
        config = self.config
        terms, knowledge, attention = [], None, None
        if self.use_modalities:
            views = torch.stack(
                [
                    propagate_last(
                        graphs.modalities[name], self.item_embedding, config.modality.layers, items
                    )
                    for name in self.sizes.modalities
                ]
            )
            present = self.present if items is None else self.present[:, items]
            modality_view, attention = self.fusion(views, present)
            terms.append(config.modality.weight * modality_view)
        if self.use_knowledge:
            assert graphs.knowledge_items is not None
            knowledge = propagate_relations(
                graphs.knowledge, graphs.knowledge_items, self.entities(), self.relation_weight
            )
            # Unbounded, the view grows with its relation weights, past what L2 on the embeddings
            # can hold, and overfits (KGAT normalises here too: Wang et al. 2019, section 3.3).
            knowledge = functional.normalize(_rows(knowledge, items), dim=1)
            terms.append(config.knowledge.weight * knowledge)
        return _SideViews(sum(terms[1:], terms[0]) if terms else None, knowledge, attention)

    def project(self, name: str, features: Tensor) -> Tensor:
        """z_m = W_m x_m: features float32 [r, d_m] of a modality in the embedding space, [r, d]."""
        projected: Tensor = self.projections[name](features)
        return projected


def _xavier(rows: int, dim: int) -> nn.Parameter:
    table = torch.empty(rows, dim)
    nn.init.xavier_uniform_(table)
    return nn.Parameter(table)


def _rows(table: Tensor, rows: Tensor | None) -> Tensor:
    return table if rows is None else table.index_select(0, rows)


class _SideViews(NamedTuple):
    """What items get besides interactions: the weighted sum, and parts of it."""

    total: Tensor | None
    knowledge: Tensor | None
    attention: Tensor | None

    def pick(self, items: Tensor | None) -> "_SideViews":
        """Knowledge view and attention of some of the items."""
        return _SideViews(
            None,
            None if self.knowledge is None else _rows(self.knowledge, items),
            None if self.attention is None else _rows(self.attention.T, items).T,
        )


def _pick(full: Representations, users: Tensor | None, items: Tensor | None) -> Representations:
    side = _SideViews(None, full.knowledge, full.modality_attention).pick(items)
    return Representations(
        users=_rows(full.users, users),
        items=_rows(full.items, items),
        interaction=_rows(full.interaction, items),
        knowledge=side.knowledge,
        modality_attention=side.attention,
    )
