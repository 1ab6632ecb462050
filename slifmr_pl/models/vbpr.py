"""VBPR: matrix factorisation with a part that is learnt from the items' features."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from slifmr_pl.config.bounds import is_number, require
from slifmr_pl.data.batches import TrainBatch
from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.model_inputs import ModelInputs
from slifmr_pl.losses.ranking_losses import bpr_loss
from slifmr_pl.losses.regularisation import embedding_l2
from slifmr_pl.models.base import RecommenderModule
from slifmr_pl.models.history import HistoryEncoding
from slifmr_pl.models.item_features import required_features
from slifmr_pl.models.ranking_module import Scoring, Vectors


class Vbpr(RecommenderModule):
    """Scores by ``β_i + ⟨γ_u, γ_i⟩ + ⟨θ_u, E f_i⟩ + ⟨β', f_i⟩``, trained with BPR and Adam.

    He & McAuley, "VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback", AAAI 2016,
    eq. 4, without the terms that do not change the order of a user's items. f_i are the frozen
    features of all modalities side by side, each of unit length, zeros where an item has none.

    Args:
        embedding_dim: Entries of γ and θ together; half of them each.
        learning_rate: Step size of Adam.
        l2: Weight of ½‖·‖² over the batch's γ, θ, β and over E and β', divided by the batch size.
        **evaluation: See `RecommenderModule`.
    """

    features: Tensor

    def __init__(
        self,
        embedding_dim: int = 64,
        learning_rate: float = 1e-3,
        l2: float = 1e-4,
        **evaluation: Any,
    ) -> None:
        if embedding_dim < 2 or embedding_dim % 2:
            raise ConfigError(
                f"Vbpr with embedding_dim {embedding_dim}",
                expected="an even number from 2 up",
                fix="for example embedding_dim 64",
            )
        require(
            "model",
            ("learning_rate", learning_rate, is_number(learning_rate, above=0), "above 0"),
            ("l2", l2, is_number(l2, least=0), "at least 0"),
        )
        super().__init__(**evaluation)
        self.width = embedding_dim // 2
        self.learning_rate, self.l2 = learning_rate, l2

    def build(self, inputs: ModelInputs) -> None:
        """Creates the parameters.

        Raises:
            ConfigError: If there are no features.
        """
        parts = [
            normalize(feature.values) * feature.present.unsqueeze(1)
            for feature in required_features("Vbpr", inputs).values()
        ]
        self.register_buffer("features", torch.cat(parts, dim=1))
        n_users, n_items = inputs.graph.n_users, inputs.graph.n_items
        n_features = self.features.shape[1]
        self.users = nn.Parameter(torch.empty(n_users, 2 * self.width))  # γ_u, θ_u
        self.items = nn.Parameter(torch.empty(n_items, self.width))  # γ_i
        self.bias = nn.Parameter(torch.zeros(n_items))  # β_i
        self.projection = nn.Parameter(torch.empty(n_features, self.width))  # E
        self.feature_bias = nn.Parameter(torch.zeros(n_features))  # β'
        for table in (self.users, self.items, self.projection):
            nn.init.xavier_uniform_(table)

    def representations(self) -> Vectors:
        """Vectors whose products are the scores; the last entry of a user's is 1."""
        users = torch.cat([self.users, self.users.new_ones(len(self.users), 1)], dim=1)
        bias = self.bias + self.features @ self.feature_bias
        return Vectors(
            users, torch.cat([self.items, self.features @ self.projection, bias[:, None]], dim=1)
        )

    @property
    def representation_dim(self) -> int:
        """All entries but the bias of an item."""
        return 2 * self.width

    def history_encoder(self, vectors: Scoring) -> HistoryEncoding:
        """The sum of the items' vectors, and 1 for the biases as for every user."""
        messages, ones = vectors.items.clone(), torch.zeros_like(vectors.items)
        messages[:, -1], ones[:, -1] = 0, 1
        return HistoryEncoding(vectors.items, messages, ones)

    def loss(self, batch: TrainBatch) -> Tensor:
        """BPR and L2 of a batch."""
        items = torch.cat([batch.positives.unsqueeze(1), batch.negatives], dim=1)  # [B, 1 + n]
        distinct, place = items.unique(return_inverse=True)
        features = self.features[distinct]
        vectors = torch.cat([self.items[distinct], features @ self.projection], dim=1)
        bias = self.bias[distinct] + features @ self.feature_bias
        users = self.users[batch.users]
        scores = (users.unsqueeze(1) * vectors[place]).sum(dim=2) + bias[place]
        # E and β' are no rows of the batch: each process counts them by its share of all rows.
        share = (len(users) / len(batch.global_positives)) ** 0.5
        regularised = (users, self.items[items], self.bias[items], share * self.projection)
        return bpr_loss(scores[:, 0], scores[:, 1:]).mean() + self.l2 * embedding_l2(
            *regularised, share * self.feature_bias, batch_size=len(users)
        )
