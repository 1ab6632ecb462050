"""What the peers on the user–item graph share: two tables, their settings, BPR of a batch.

U users, I items, d embedding size, B rows of a batch, n negatives a row.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, embedding, normalize

from slifmr_pl.config.bounds import is_number, require, require_counts
from slifmr_pl.data.batches import TrainBatch
from slifmr_pl.graphs.interaction import InteractionGraph
from slifmr_pl.graphs.model_inputs import ModelInputs
from slifmr_pl.graphs.sparse.spmm import spmm
from slifmr_pl.losses.batch_rows import BatchRows
from slifmr_pl.losses.ranking_losses import bpr_loss
from slifmr_pl.losses.regularisation import embedding_l2
from slifmr_pl.models.base import RecommenderModule
from slifmr_pl.models.feature_graph import KeptItemGraph
from slifmr_pl.models.ranking_module import Scoring
from slifmr_pl.nn.propagation import MeanOfLayers, propagate_mean

Follows = Literal["paper", "code"]
"""Which of the two a peer follows where they differ; each says where that is."""


class GraphPeer(RecommenderModule):
    """A table of users and one of items that are propagated over the user–item graph.

    Args:
        embedding_dim: d.
        learning_rate: Step size of Adam.
        layers: Propagation layers over interactions.
        follows: "paper", or the public "code" where the two differ.
        **evaluation: See `RecommenderModule`.
    """

    def __init__(
        self,
        embedding_dim: int = 64,
        learning_rate: float = 1e-3,
        layers: int = 2,
        follows: Follows = "paper",
        **evaluation: Any,
    ) -> None:
        require_counts("model", 1, embedding_dim=embedding_dim, layers=layers)
        require(
            "model",
            ("learning_rate", learning_rate, is_number(learning_rate, above=0), "above 0"),
            ("follows", follows, follows in ("paper", "code"), "paper or code"),
        )
        super().__init__(**evaluation)
        self.embedding_dim, self.learning_rate = embedding_dim, learning_rate
        self.layers, self.follows_code = layers, follows == "code"

    def build(self, inputs: ModelInputs) -> None:
        """Creates the tables, by Xavier's rule."""
        self.users = nn.Parameter(torch.empty(inputs.graph.n_users, self.embedding_dim))
        self.items = nn.Parameter(torch.empty(inputs.graph.n_items, self.embedding_dim))
        for table in (self.users, self.items):
            nn.init.xavier_uniform_(table)

    @property
    def row_buffers(self) -> tuple[str, ...]:  # type: ignore[override]  # by what it was built of
        """The columns of the item graphs that it keeps."""
        parts = self.named_modules()
        return tuple(f"{name}.columns" for name, part in parts if isinstance(part, KeptItemGraph))

    def rows_of(self, batch: TrainBatch) -> BatchRows:
        """The rows of the tables that a batch needs."""
        return BatchRows.of(
            batch.users,
            batch.positives,
            batch.negatives,
            None,
            n_users=len(self.users),
            n_items=len(self.items),
        )

    def convolved(
        self, rows: BatchRows | None = None, graph: InteractionGraph | None = None
    ) -> MeanOfLayers:
        """LightGCN: the mean of the layers, of the rows that a batch needs or of all."""
        wanted = (None, None) if rows is None else (rows.users, rows.items)
        graph = self.interaction_graph if graph is None else graph
        return propagate_mean(graph, self.users, self.items, self.layers, *wanted)

    def bpr(self, users: Tensor, items: Tensor) -> Tensor:
        """Mean over the rows of BPR of users [B, d] and items [B, 1 + n, d], the positive first."""
        scores = (users.unsqueeze(1) * items).sum(dim=2)
        return bpr_loss(scores[:, 0], scores[:, 1:]).mean()

    def squares(self, batch: TrainBatch, users: Tensor, items: Tensor) -> Tensor:
        """½ Σ ‖·‖² ÷ B, of a batch's own embeddings before any propagation (paper).

        Or of the final vectors of its rows, [B, d] and [B, 1 + n, d] (code).
        """
        if self.follows_code:
            return embedding_l2(users, items, batch_size=len(users))
        rows = torch.cat([batch.positives.unsqueeze(1), batch.negatives], dim=1)
        own = self.users[batch.users], self.items[rows]
        return embedding_l2(*own, batch_size=len(users))


def vectors_of(batch: TrainBatch, final: Scoring) -> tuple[Tensor, Tensor]:
    """The users of a batch [B, d] and its items [B, 1 + n, d], the positive first."""
    items = torch.cat([batch.positives.unsqueeze(1), batch.negatives], dim=1)
    return embedding(batch.users, final.users), embedding(items, final.items)


def mean_with_self_edges(
    graph: InteractionGraph, users: Tensor, items: Tensor, layers: int
) -> tuple[Tensor, Tensor]:
    """Mean of the layers 0 … L of (D^-1 (A + I))^l E; D counts the edges, the one to itself too.

    Args:
        graph: D^-1/2 A D^-1/2.
        users: float32 [U, d].
        items: float32 [I, d].
        layers: L.
    """
    sides = graph.user_items, graph.item_users
    degrees = [side.forward.offsets.diff().unsqueeze(1).to(users.dtype) for side in sides]
    means = [users, items]
    for _ in range(layers):
        users, items = (
            (degree.sqrt() * spmm(side, other.sqrt() * table) + own) / (degree + 1)
            for side, degree, other, table, own in (
                (sides[0], degrees[0], degrees[1], items, users),
                (sides[1], degrees[1], degrees[0], users, items),
            )
        )
        means = [means[0] + users, means[1] + items]
    return means[0] / (layers + 1), means[1] / (layers + 1)


def contrast_of_batch(
    batch: TrainBatch, anchors: Scoring, others: Scoring, temperature: float, *, once: bool = True
) -> Tensor:
    """InfoNCE of the batch's users plus that of its positives, between two views of all nodes.

    Mean over the rows of -ln softmax_j(cos(a_i, b_j) ÷ τ)_i, in one direction (van den Oord et al.
    2018, eq. 4). It is of the batch of all processes, and the same in each.

    Args:
        batch: Whose rows are compared.
        anchors: One view.
        others: The other.
        temperature: τ.
        once: Whether rows that a batch has several times count once.
    """
    total = torch.zeros((), device=batch.users.device)
    for rows, one, other in (
        (batch.global_users, anchors.users, others.users),
        (batch.global_positives, anchors.items, others.items),
    ):
        chosen, counts = rows.unique(return_counts=True)
        a, b = (normalize(embedding(chosen, view), dim=1) for view in (one, other))
        logits, same = (a / temperature) @ b.T, torch.arange(len(chosen), device=chosen.device)
        if once:
            total = total + cross_entropy(logits, same)
            continue
        # A row that counts c times is compared with c times, and asks c times.
        often = counts.to(one.dtype)
        of_rows = cross_entropy(logits + often.log(), same, reduction="none") + often.log()
        total = total + (often * of_rows).sum() / often.sum()
    return total
