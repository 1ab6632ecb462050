"""BM3: no negatives; an online and a dropped-out view of users, items and features agree."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, embedding

from slifmr_pl.config.bounds import require_from, require_share
from slifmr_pl.data.batches import TrainBatch
from slifmr_pl.graphs.model_inputs import ModelInputs
from slifmr_pl.models.graph_peer import Follows, GraphPeer
from slifmr_pl.models.item_features import ProjectedFeatures, required_features
from slifmr_pl.models.ranking_module import Vectors


class Bm3(GraphPeer):
    """Score ``⟨P u, P i⟩`` of a predictor P, with u, i by LightGCN and e_i added to i.

    Zhou et al., "Bootstrap Latent Representations for Multi-modal Recommendation", WWW 2023. A
    target is a vector with dropout and without gradient, written t(·); C is the cosine; f_m are the
    projected features of modality m. Section 3.2:

    - reconstruction: (1 - C(P u, t(i))) + (1 - C(P i, t(u)))
    - alignment between modalities: Σ_m 1 - C(P f_m, t(i))
    - alignment within a modality: Σ_m 1 - C(P f_m, t(f_m))
    - L2: ‖u‖² + ‖i‖², of the propagated vectors of the batch

    The negatives of a batch are not used. Where the public code (enoche/MMRec) differs,
    ``follows="code"`` does as it does: features are trained, and L2 is (‖U‖ + ‖I‖) ÷ n_items, the
    plain lengths of the whole tables. Its weight of both alignments is 2, which the paper does not
    have; that is `alignment`.

    Args:
        embedding_dim: d.
        learning_rate: Step size of Adam.
        layers: Layers over interactions.
        l2: Weight of the L2 term.
        dropout: Share of the entries that a target loses.
        alignment: Weight of both alignments.
        follows: See above.
        **evaluation: See `RecommenderModule`.
    """

    def __init__(
        self,
        embedding_dim: int = 64,
        learning_rate: float = 1e-3,
        layers: int = 1,
        l2: float = 0.1,
        dropout: float = 0.3,
        alignment: float = 1.0,
        follows: Follows = "paper",
        **evaluation: Any,
    ) -> None:
        require_share("model", dropout=dropout)
        require_from("model", 0, l2=l2, alignment=alignment)
        super().__init__(embedding_dim, learning_rate, layers, follows, **evaluation)
        self.l2, self.dropout, self.alignment = l2, dropout, alignment

    def build(self, inputs: ModelInputs) -> None:
        """Creates tables, predictor and projections."""
        super().build(inputs)
        features = required_features("Bm3", inputs)
        self.predictor = nn.Linear(self.embedding_dim, self.embedding_dim)
        self.features = ProjectedFeatures(features, self.embedding_dim, trained=self.follows_code)
        for layer in (self.predictor, *self.features.projections.values()):
            assert isinstance(layer, nn.Linear)
            nn.init.xavier_normal_(layer.weight)

    def representations(self) -> Vectors:
        """What the predictor makes of users and items."""
        mean = self.convolved()
        return Vectors(self.predictor(mean.users), self.predictor(mean.items + self.items))

    def loss(self, batch: TrainBatch) -> dict[str, Tensor]:
        """Reconstruction, alignments and L2 of a batch."""
        rows = self.rows_of(batch)
        mean = self.convolved(None if self.follows_code else rows)
        if self.follows_code:  # its L2 is of whole tables
            own, at = mean.items + self.items, (batch.users, batch.positives)
            l2 = (mean.users.norm() + own.norm()) / len(self.items)
        else:
            own, at = mean.items + mean.own_items, (rows.user_positions, rows.item_positions[:, 0])
        users, items = embedding(at[0], mean.users), embedding(at[1], own)
        if not self.follows_code:
            l2 = (users.square().sum() + items.square().sum()) / len(users)
        user_targets = self.target(users, batch.users, len(self.users), 0)
        targets = self.target(items, batch.positives, len(self.items), 1)
        reconstruction = self.distance(users, targets) + self.distance(items, user_targets)
        alignment = torch.zeros_like(l2)
        distinct, place = batch.positives.unique(return_inverse=True)
        for stream, vectors in enumerate(self.features(distinct).values(), 2):
            projected = embedding(place, vectors)
            own_targets = self.target(projected, batch.positives, len(self.items), stream)
            for other in (targets, own_targets):
                alignment = alignment + self.distance(projected, other)
        total = reconstruction + self.alignment * alignment + self.l2 * l2
        parts = {"reconstruction": reconstruction, "alignment": alignment, "l2": l2}
        return {"loss": total, **parts}

    def distance(self, vectors: Tensor, targets: Tensor) -> Tensor:
        """Mean over the rows of 1 - C(P v, t)."""
        return 1 - cosine_similarity(self.predictor(vectors), targets, dim=1).mean()

    def target(self, vectors: Tensor, rows: Tensor, n_rows: int, stream: int) -> Tensor:
        """Vectors of some rows with dropout, without gradient; a row always loses the same."""
        if self.dropout == 0:
            return vectors.detach()
        # Drawn for whole tables, so that every process drops the same.
        shape = n_rows, self.embedding_dim
        drawn = torch.rand(shape, generator=self.step_generator(stream), device=vectors.device)
        kept = drawn.index_select(0, rows) >= self.dropout
        return vectors.detach() * kept / (1 - self.dropout)
