"""The messages that users and items pass on in the last layer of the interaction view.

With X the embeddings that enter the view, its representations are Σ_{l≤L} A^l X ÷ (L+1). That is
X ÷ (L+1) plus the messages of the neighbours, A · M with M = Σ_{l<L} A^l X ÷ (L+1). So M tells how
much each neighbour adds to a representation, and what a user gets who was not in training.
U = users, I = items, d = embedding size, L = layers of the interaction view.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from slifmr_pl.graphs.correlation import Target
from slifmr_pl.graphs.heterogeneous import HeterogeneousGraph, Propagation
from slifmr_pl.nn.network import Representations, SlifMrNetwork
from slifmr_pl.nn.propagation import propagate_mean


class LastLayerMessages(NamedTuple):
    """M, the message of each node: Σ_{l<L} A^l X ÷ (L+1); zeros without layers.

    Attributes:
        users: float32 [U, d].
        items: float32 [I, d].
    """

    users: Tensor
    items: Tensor

    @classmethod
    def of(cls, network: SlifMrNetwork, graphs: Propagation) -> "LastLayerMessages":
        """The messages of a network over the graphs of an epoch."""
        layers = network.config.interaction.layers
        items: Tensor = network.item_embedding
        if network.fusion.early:
            _, fused = network.fused_views(network.context(graphs))
            if fused.total is not None:
                items = items + fused.total
        if layers == 0:
            return cls(torch.zeros_like(network.user_embedding), torch.zeros_like(items))
        mean = propagate_mean(graphs.interaction, network.user_embedding, items, layers - 1)
        share = layers / (layers + 1)
        return cls(mean.users * share, mean.items * share)


@torch.no_grad()
def messages_to_new_user(
    network: SlifMrNetwork, graphs: Propagation, views: Representations, graph: HeterogeneousGraph
) -> Tensor:
    """What each item adds to the representation of a user whom training has not seen.

    A user of n items is the sum of their messages ÷ √n. A view without layers passes no messages;
    there the representation of the item itself is taken, so that users lie near their items.

    Args:
        network: With all columns.
        graphs: The matrices of the epoch.
        views: The representations; columns beyond the embedding, those of the regression, are
            left out.
        graph: The data set's graphs.

    Returns:
        float32 [I, d].
    """
    if network.config.interaction.layers == 0:
        return views.items[:, : network.config.embedding_dim]
    degrees = graph.support.double()
    injection = graphs.injection(Target("interaction"))
    if injection is not None:
        degrees += injection.edges.row_sums().detach().to(degrees)
    # An item that nobody has yet counts as one that this user alone has.
    scale = degrees.clamp_min(1).rsqrt()
    messages = LastLayerMessages.of(network, graphs).items
    return messages * scale.to(messages).unsqueeze(1)
