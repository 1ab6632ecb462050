"""BM3: no negatives; an online and a dropped-out view of users, items and features agree."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, normalize

from slifmr_pl.config.bounds import require_from, require_share
from slifmr_pl.data.batches import TrainBatch
from slifmr_pl.graphs.model_inputs import ModelInputs
from slifmr_pl.losses.batch_rows import BatchRows
from slifmr_pl.models.graph_peer import Follows, GraphPeer
from slifmr_pl.models.item_features import ProjectedFeatures, required_features
from slifmr_pl.models.ranking_module import Vectors
from slifmr_pl.nn.propagation import rows_of


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
        l2: Weight of the L2 term; of the code's, which is far smaller, 0.1.
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
        l2: float = 1e-4,
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
        rows = BatchRows(None, None, batch.users, batch.positives)
        if not self.follows_code:  # whose L2 is of whole tables
            rows = self.rows_of(batch)
            rows = rows._replace(item_positions=rows.item_positions[:, 0])
        mean = self.convolved(rows)
        users, items = mean.users, mean.items + mean.own_items
        at_users, at_items = rows.user_positions, rows.item_positions
        if self.follows_code:
            l2 = (users.norm() + items.norm()) / len(self.items)
        else:
            squares = users.square().sum(1)[at_users] + items.square().sum(1)[at_items]
            l2 = squares.mean()
        targets = self.target(users, rows.users, 0), self.target(items, rows.items, 1)
        cosines = torch.zeros(len(batch.users), device=users.device)
        for table, at, others, at_others in (
            (users, at_users, targets[1], at_items),
            (items, at_items, targets[0], at_users),
        ):
            pairs = embedding(at, self.predicted(table)) * embedding(at_others, others)
            cosines = cosines + pairs.sum(1)
        reconstruction = 2 - cosines.mean()
        alignment = self.alignments(batch.positives, at_items, targets[1])
        total = reconstruction + self.alignment * alignment + self.l2 * l2
        parts = {"reconstruction": reconstruction, "alignment": alignment, "l2": l2}
        return {"loss": total, **parts}

    def alignments(self, positives: Tensor, at: Tensor, targets: Tensor) -> Tensor:
        """Both alignments of all modalities, a mean over the positives, which stand at [B]."""
        items, place, counts = positives.unique(return_inverse=True, return_counts=True)
        shares, total = counts / len(positives), torch.zeros((), device=targets.device)
        of_items = torch.empty_like(targets[:1]).expand(len(items), -1).clone()
        of_items[place] = targets[at]
        for stream, vectors in enumerate(self.features(items).values(), 2):
            both = of_items + self.target(vectors, items, stream)
            total = total + 2 - shares @ (self.predicted(vectors) * both).sum(1)
        return total

    def predicted(self, vectors: Tensor) -> Tensor:
        """P v, scaled to length 1."""
        return normalize(self.predictor(vectors), dim=1)

    def target(self, vectors: Tensor, rows: Tensor | None, stream: int) -> Tensor:
        """Vectors of some rows (None: all) with dropout, at length 1, without gradient.

        What is dropped is drawn for whole tables, so that every process drops the same.
        """
        vectors = vectors.detach()
        if self.dropout > 0:
            shape = len(self.users) if stream == 0 else len(self.items), self.embedding_dim
            drawn = torch.rand(shape, generator=self.step_generator(stream), device=vectors.device)
            vectors = vectors * (rows_of(drawn, rows) >= self.dropout)
        return normalize(vectors, dim=1)
