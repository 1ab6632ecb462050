"""LATTICE: an item graph that is learnt from the features, anew in every epoch."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding, normalize

from slifmr_pl.config.bounds import require_counts, require_from
from slifmr_pl.data.batches import TrainBatch
from slifmr_pl.graphs.model_inputs import ModelInputs
from slifmr_pl.losses.batch_rows import BatchRows
from slifmr_pl.models.graph_peer import Follows, GraphPeer, mean_with_self_edges
from slifmr_pl.models.item_features import required_features
from slifmr_pl.models.learnt_item_graph import LearntItemGraph
from slifmr_pl.models.ranking_module import Vectors
from slifmr_pl.nn.propagation import rows_of


class Lattice(GraphPeer):
    """Score ``⟨u, i + h / ‖h‖⟩``, with u and i by LightGCN, and h = A^L e over a learnt item graph.

    Zhang et al., "Mining Latent Structures for Multimedia Recommendation", MM 2021, section 3.1.
    N(X) has the k items of highest cosine, the item itself among them, with the cosines as weights;
    ~ is D^-1/2 · D^-1/2. A = λ Σ_m α_m N(x_m)~ + (1 - λ) (Σ_m α_m N(W_m x_m + b_m))~ with α the
    softmax of trained numbers. L = BPR + l2 · ½‖·‖² of the batch's own embeddings.

    The paper leaves open how often A is made anew. The public codes do so in the first step of an
    epoch, whose gradients alone reach W, b and α; so does this one. Where the public code
    (enoche/MMRec) differs from the paper, ``follows="code"`` does as it does: features are
    trained, interactions are normalised as D^-1 (A + I) instead of D^-1/2 A D^-1/2, and L2 is of
    the propagated vectors.

    Args:
        embedding_dim: d.
        learning_rate: Step size of Adam.
        layers: Layers over interactions.
        l2: Weight of the L2 term.
        item_layers: L.
        neighbours: k, the item itself included.
        kept_share: λ, share of the graph of the frozen features.
        follows: See above.
        **evaluation: See `RecommenderModule`.
    """

    def __init__(
        self,
        embedding_dim: int = 64,
        learning_rate: float = 1e-3,
        layers: int = 2,
        l2: float = 1e-3,
        item_layers: int = 1,
        neighbours: int = 10,
        kept_share: float = 0.9,
        follows: Follows = "paper",
        **evaluation: Any,
    ) -> None:
        require_counts("model", 1, item_layers=item_layers)
        require_counts("model", 2, neighbours=neighbours)
        require_from("model", 0, l2=l2)
        require_from("model", 0, 1, kept_share=kept_share)
        super().__init__(embedding_dim, learning_rate, layers, follows, **evaluation)
        self.l2, self.kept_share = l2, kept_share
        self.item_layers, self.neighbours = item_layers, neighbours

    def build(self, inputs: ModelInputs) -> None:
        """Creates tables, projections and weights, and the graphs of the frozen features."""
        super().build(inputs)
        features = required_features("Lattice", inputs)
        self.item_graph = LearntItemGraph(
            features,
            self.embedding_dim,
            self.neighbours,
            self.kept_share,
            trained=self.follows_code,
        )

    def representations(self) -> Vectors:
        """With the graph of the present weights."""
        users, items = self.mean_of_layers()
        side = self.item_graph.present_product(self.items, self.item_layers)
        return Vectors(users, items + normalize(side, dim=1))

    def mean_of_layers(self, rows: BatchRows | None = None) -> Vectors:
        """Of the rows that a batch needs, or of all."""
        if not self.follows_code:
            return Vectors(*self.convolved(rows)[:2])
        users, items = mean_with_self_edges(
            self.interaction_graph, self.users, self.items, self.layers
        )
        wanted = (None, None) if rows is None else (rows.users, rows.items)
        return Vectors(rows_of(users, wanted[0]), rows_of(items, wanted[1]))

    def loss(self, batch: TrainBatch) -> dict[str, Tensor]:
        """BPR and L2 of a batch; the first of an epoch makes the graph anew."""
        rows = self.rows_of(batch)
        users, items = self.mean_of_layers(rows)
        side = self.item_graph.product(
            self.items,
            self.item_layers,
            rows.items,
            epoch=self.current_epoch,
            n_ranks=batch.n_ranks,
        )
        users = embedding(rows.user_positions, users)
        items = embedding(rows.item_positions, items + normalize(side, dim=1))
        ranking = self.bpr(users, items)
        l2 = self.squares(batch, users, items)
        return {"loss": ranking + self.l2 * l2, "ranking": ranking, "l2": l2}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Leaves the graph's weights alone where they have learnt nothing."""
        self.item_graph.drop_empty_gradients()

    def on_fit_start(self) -> None:
        """Begins with a graph of its own, unless a run goes on."""
        super().on_fit_start()
        if self.trainer.ckpt_path is None:
            self.item_graph.forget()
