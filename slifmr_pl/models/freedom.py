"""FREEDOM: a frozen item graph of features beside a denoised user–item graph."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding

from slifmr_pl.config.bounds import require_counts, require_from, require_share
from slifmr_pl.data.batches import TrainBatch
from slifmr_pl.graphs.interaction import InteractionGraph
from slifmr_pl.graphs.model_inputs import ModelInputs
from slifmr_pl.graphs.pruning import drawn_by_degree
from slifmr_pl.models.feature_graph import KeptItemGraph, degree_normalised, neighbours_with_self
from slifmr_pl.models.graph_peer import Follows, GraphPeer
from slifmr_pl.models.item_features import ProjectedFeatures, required_features
from slifmr_pl.models.ranking_module import Vectors
from slifmr_pl.nn.propagation import propagate_last


class Freedom(GraphPeer):
    """Score ``⟨u, i + S^L e_i⟩``, with u and i by LightGCN, S frozen; BPR also on the features.

    Zhou & Shen, "A Tale of Two Graphs: Freezing and Denoising Graph Structures for Multimodal
    Recommendation", MM 2023. Section 3.1: S = Σ_m α_m D^-1/2 S_m D^-1/2, where S_m has a 1 for the
    k items of highest cosine, the item itself among them. Section 3.2: each epoch trains on
    (1 - ρ) of the interactions, drawn without replacement by 1 ÷ √(d_u d_i) and normalised anew;
    all count in the end. Section 3.4: L = BPR(u, i + S^L e) + λ Σ_m BPR(u, W_m x_m + b_m).

    The paper freezes the features x_m. The public code (enoche/MMRec) trains them:
    ``follows="code"``.

    Args:
        embedding_dim: d.
        learning_rate: Step size of Adam.
        layers: Layers over interactions.
        item_layers: L, layers over S.
        neighbours: k, the item itself included.
        image_weight: α of the modality called image; the others share the rest evenly. Without
            such a modality all count alike, and a modality alone counts 1.
        pruned: ρ, share of the interactions that an epoch leaves out.
        modality_weight: λ.
        follows: See above.
        **evaluation: See `RecommenderModule`.
    """

    def __init__(
        self,
        embedding_dim: int = 64,
        learning_rate: float = 1e-3,
        layers: int = 2,
        item_layers: int = 1,
        neighbours: int = 10,
        image_weight: float = 0.1,
        pruned: float = 0.8,
        modality_weight: float = 1e-3,
        follows: Follows = "paper",
        **evaluation: Any,
    ) -> None:
        require_counts("model", 1, item_layers=item_layers)
        require_counts("model", 2, neighbours=neighbours)
        require_from("model", 0, 1, image_weight=image_weight)
        require_from("model", 0, modality_weight=modality_weight)
        require_share("model", pruned=pruned)
        super().__init__(embedding_dim, learning_rate, layers, follows, **evaluation)
        self.item_layers, self.neighbours, self.image_weight = item_layers, neighbours, image_weight
        self.pruned, self.modality_weight = pruned, modality_weight
        self._pruned_graph: tuple[int, InteractionGraph] | None = None

    def build(self, inputs: ModelInputs) -> None:
        """Creates tables and projections, and freezes the item graph."""
        super().build(inputs)
        features = required_features("Freedom", inputs)
        self.features = ProjectedFeatures(features, self.embedding_dim, trained=self.follows_code)
        self.item_graph = KeptItemGraph(len(self.items), len(features) * self.neighbours)
        weights = modality_weights(list(features), self.image_weight)
        columns, values = [], []
        for name, (vectors, present) in features.items():
            nearest = neighbours_with_self(vectors, present, self.neighbours).indices
            ones = (nearest >= 0).float()
            columns.append(nearest)
            values.append(weights[name] * degree_normalised(nearest, ones))
        self.item_graph.keep(torch.cat(columns, dim=1), torch.cat(values, dim=1))

    def representations(self) -> Vectors:
        """Over all interactions."""
        mean = self.convolved()
        side = propagate_last(self.item_graph.graph, self.items, self.item_layers)
        return Vectors(mean.users, mean.items + side)

    def loss(self, batch: TrainBatch) -> dict[str, Tensor]:
        """BPR over the pruned graph, and of each modality's features."""
        rows = self.rows_of(batch)
        mean = self.convolved(rows, self.training_graph())
        side = propagate_last(self.item_graph.graph, self.items, self.item_layers, rows.items)
        users = embedding(rows.user_positions, mean.users)
        ranking = self.bpr(users, embedding(rows.item_positions, mean.items + side))
        if self.modality_weight == 0:
            return {"loss": ranking}
        projected = self.features(rows.items).values()
        modality = sum(self.bpr(users, embedding(rows.item_positions, one)) for one in projected)
        assert isinstance(modality, Tensor)
        total = ranking + self.modality_weight * modality
        return {"loss": total, "ranking": ranking, "modality": modality}

    def on_fit_start(self) -> None:
        """Forgets what another run has pruned."""
        super().on_fit_start()
        self._pruned_graph = None

    def training_graph(self) -> InteractionGraph:
        """The interactions of the present epoch."""
        epoch, kept = self.current_epoch, self._pruned_graph
        if self.pruned == 0:
            return self.interaction_graph
        if kept is None or kept[0] != epoch:
            assert self.inputs is not None
            graph = self.inputs.graph
            pairs = drawn_by_degree(
                graph.users, graph.items, 1 - self.pruned, self.epoch_generator(device="cpu")
            )
            shape = graph.n_users, graph.n_items
            kept = epoch, InteractionGraph.build(*pairs, *shape).to(self.device)
            self._pruned_graph = kept
        return kept[1]


def modality_weights(names: list[str], image_weight: float) -> dict[str, float]:
    """α_m, which add up to 1."""
    others = [name for name in names if name != "image"]
    if len(others) in (0, len(names)):
        return dict.fromkeys(names, 1 / len(names))
    return dict.fromkeys(others, (1 - image_weight) / len(others)) | {"image": image_weight}
