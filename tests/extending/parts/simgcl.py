"""A model of somebody's own, in one file: graph contrastive learning with noise.

Yu et al., "Are Graph Augmentations Necessary? Simple Graph Contrastive Learning for Recommendation",
SIGIR 2022.
"""  # noqa: E501  # a title

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from slifmr_pl import ModelInputs, RecommenderModule, TrainBatch, Vectors, bpr_loss, spmm


class SimGcl(RecommenderModule):
    def __init__(
        self,
        embedding_dim: int = 8,
        learning_rate: float = 0.02,
        noise: float = 0.1,
        **evaluation: Any,
    ) -> None:
        super().__init__(**evaluation)
        self.embedding_dim, self.learning_rate, self.noise = embedding_dim, learning_rate, noise

    def build(self, inputs: ModelInputs) -> None:
        self.users = nn.Parameter(torch.empty(inputs.graph.n_users, self.embedding_dim))
        self.items = nn.Parameter(torch.empty(inputs.graph.n_items, self.embedding_dim))
        for table in (self.users, self.items):
            nn.init.xavier_uniform_(table)

    def propagate(self, generator: torch.Generator | None = None) -> Vectors:
        graph, layers = self.interaction_graph, [Vectors(self.users, self.items)]
        for _ in range(2):
            users, items = layers[-1]
            users, items = spmm(graph.user_items, items), spmm(graph.item_users, users)
            if generator is not None:
                users, items = (self.shifted(one, generator) for one in (users, items))
            layers.append(Vectors(users, items))
        return Vectors(*(torch.stack(side).mean(0) for side in zip(*layers, strict=True)))

    def shifted(self, table: Tensor, generator: torch.Generator) -> Tensor:
        drawn = torch.rand(table.shape, generator=generator, device=table.device)
        return table + table.sign() * self.noise * normalize(drawn, dim=1)

    def loss(self, batch: TrainBatch) -> dict[str, Tensor]:
        vectors, generator = self.propagate(), self.step_generator()
        users, positives = vectors.users[batch.users], vectors.items[batch.positives]
        ranked = bpr_loss(
            (users * positives).sum(1),
            torch.einsum("bd,bnd->bn", users, vectors.items[batch.negatives]),
        ).mean()
        chosen = batch.global_positives.unique()
        one, two = (normalize(self.propagate(generator).items[chosen], dim=1) for _ in range(2))
        contrast = cross_entropy(one @ two.T / 0.2, torch.arange(len(chosen), device=one.device))
        return {"loss": ranked + 0.1 * contrast, "ranking": ranked, "contrast": contrast}

    def representations(self) -> Vectors:
        return self.propagate()
