"""A view of the items with edge dropout: what the same users have."""

import torch
from torch import Tensor

from slifmr_pl import Neighbours, NetworkData, View, ViewContext, item_edges


class BoughtTogether(View):
    """Propagation over the items that most users of an item have, too.

    Args:
        neighbours: Of each item.
        dropout: Share of the edges that each training step leaves out.
        weight: Of the view in the fused item.
    """

    aligned = True

    def __init__(self, neighbours: int = 5, dropout: float = 0.2, weight: float = 0.5) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.dropout = dropout
        self.weight = weight

    def build(self, data: NetworkData) -> None:
        """Counts the users that two items share, and keeps the largest counts of each item."""
        graph = data.graph
        has = torch.zeros(graph.n_users, graph.n_items)
        has[graph.users, graph.items] = 1.0
        shared = (has.T @ has).fill_diagonal_(0.0)
        counts, items = shared.topk(min(self.neighbours, graph.n_items), dim=1)
        self.register_buffer("items", items.masked_fill(counts == 0, -1))
        self.register_buffer("counts", counts)

    def forward(self, context: ViewContext) -> Tensor:
        """The mean of the neighbours' embeddings, by normalised edges; float32 [r, d]."""
        lists = Neighbours(self.items, self.counts)
        graph = context.item_graph(self, lambda: item_edges(lists, weighted=True))
        return context.propagate(context.drop_edges(graph, self.dropout), context.items)
