"""MGCN: features gated by behaviour, and shared and own parts of the modalities fused."""

from typing import Any

import torch
from torch import Tensor, nn

from slifmr_pl.config.bounds import is_number, require, require_counts, require_from
from slifmr_pl.data.batches import TrainBatch
from slifmr_pl.graphs.model_inputs import ModelInputs
from slifmr_pl.graphs.sparse.spmm import spmm
from slifmr_pl.models.feature_graph import KeptItemGraph, degree_normalised, neighbours_with_self
from slifmr_pl.models.graph_peer import Follows, GraphPeer, contrast_of_batch, vectors_of
from slifmr_pl.models.item_features import ProjectedFeatures, required_features
from slifmr_pl.models.ranking_module import Vectors
from slifmr_pl.nn.propagation import propagate_last


class Mgcn(GraphPeer):
    """Users and items ``e + s``: e by LightGCN, s of the features; users get s of their items.

    Yu et al., "Multi-View Graph Convolutional Network for Multimedia Recommendation", MM 2023,
    section 3. With S_m the graph of the k items of highest cosine (the item itself among them, the
    cosines as weights, normalised as D^-1/2 · D^-1/2), Y^ the normalised interactions and ē the
    items' own embeddings:

    - purifier: p_m = ē ⊙ σ(W_m^1 (W_m x_m + b_m) + b_m^1); items h_m = S_m^L p_m, users Y^ h_m
    - fuser: c = Σ_m α_m h_m, α = softmax_m(q · tanh(W^2 h_m + b^2)); o_m = h_m - c;
      s = c + 1/M Σ_m σ(W_m^3 e + b_m^3) ⊙ o_m
    - L = BPR + λ Σ InfoNCE(s, e) + l2 · ½‖·‖², the second over the distinct users and positives of
      the batch (one sum each), the last of the batch's own embeddings

    Where the public code (enoche/MMRec) differs, ``follows="code"`` does as it does: features are
    trained, s = (c + Σ_m …) ÷ (M + 1), the contrast counts a user as often as the batch has it, and
    L2 is of the final vectors.

    Args:
        embedding_dim: d.
        learning_rate: Step size of Adam.
        layers: Layers over interactions.
        l2: Weight of the L2 term.
        item_layers: L.
        neighbours: k, the item itself included.
        contrast: λ.
        temperature: τ of InfoNCE.
        follows: See above.
        **evaluation: See `RecommenderModule`.
    """

    def __init__(
        self,
        embedding_dim: int = 64,
        learning_rate: float = 1e-3,
        layers: int = 2,
        l2: float = 1e-4,
        item_layers: int = 1,
        neighbours: int = 10,
        contrast: float = 0.01,
        temperature: float = 0.2,
        follows: Follows = "paper",
        **evaluation: Any,
    ) -> None:
        require_counts("model", 1, item_layers=item_layers)
        require_counts("model", 2, neighbours=neighbours)
        require_from("model", 0, l2=l2, contrast=contrast)
        require("model", ("temperature", temperature, is_number(temperature, above=0), "above 0"))
        super().__init__(embedding_dim, learning_rate, layers, follows, **evaluation)
        self.item_layers, self.neighbours = item_layers, neighbours
        self.l2, self.contrast, self.temperature = l2, contrast, temperature

    def build(self, inputs: ModelInputs) -> None:
        """Creates tables, gates and attention, and the graphs of the features."""
        super().build(inputs)
        features, dim = required_features("Mgcn", inputs), self.embedding_dim
        # Gates look at the features, so that a checkpoint has to hold them.
        self.features = ProjectedFeatures(features, dim, trained=self.follows_code, kept=True)
        self.gates, self.preferences = (
            nn.ModuleList(nn.Sequential(nn.Linear(dim, dim), nn.Sigmoid()) for _ in features)
            for _ in range(2)
        )
        self.attention = nn.Sequential(
            nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1, bias=False)
        )
        self.item_graphs = nn.ModuleList()
        for one in features.values():
            nearest = neighbours_with_self(*one, self.neighbours)
            graph = KeptItemGraph(len(self.items), self.neighbours)
            graph.keep(nearest.indices, degree_normalised(*nearest))
            self.item_graphs.append(graph)

    def views(self) -> tuple[Tensor, Tensor]:
        """Interaction view e and side view s of the users and then the items, [U + I, d] each."""
        own = torch.cat(self.convolved()[:2])
        of_modality = []
        for gate, graph, vectors in zip(
            self.gates, self.item_graphs, self.features().values(), strict=True
        ):
            assert isinstance(graph, KeptItemGraph)
            items = propagate_last(graph.graph, self.items * gate(vectors), self.item_layers)
            of_modality.append(torch.cat([spmm(self.interaction_graph.user_items, items), items]))
        attention = torch.cat([self.attention(one) for one in of_modality], dim=1).softmax(dim=1)
        common = torch.einsum("nm,mnd->nd", attention, torch.stack(of_modality))
        separate = [
            preference(own) * (one - common)
            for preference, one in zip(self.preferences, of_modality, strict=True)
        ]
        total = torch.stack(separate).sum(0)
        if self.follows_code:
            return own, (common + total) / (len(separate) + 1)
        return own, common + total / len(separate)

    def representations(self) -> Vectors:
        """The sum of both views."""
        own, side = self.views()
        return self.split(own + side)

    def split(self, nodes: Tensor) -> Vectors:
        """Users and items of [U + I, d]."""
        return Vectors(*nodes.split([len(self.users), len(self.items)]))

    def loss(self, batch: TrainBatch) -> dict[str, Tensor]:
        """BPR, contrast and L2 of a batch."""
        own, side = self.views()
        final = self.split(own + side)
        users, items = vectors_of(batch, final)
        ranking = self.bpr(users, items)
        contrast = contrast_of_batch(
            batch,
            self.split(side),
            self.split(own),
            self.temperature,
            once=not self.follows_code,
        )
        l2 = self.squares(batch, users, items)
        total = ranking + self.contrast * contrast + self.l2 * l2
        return {"loss": total, "ranking": ranking, "contrast": contrast, "l2": l2}
