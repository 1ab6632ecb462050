"""What reaches users and items in the last step of the interaction view.

With X the embeddings that enter the view, its representations are Σ_{l≤L} A^l X ÷ (L+1): a share of
X itself, and what the neighbours send, A · (Σ_{l<L} A^l X ÷ (L+1)).
U = users, I = items, d = embedding size, L = layers of the interaction view.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from slifmr_pl.graphs.correlation import Target
from slifmr_pl.graphs.heterogeneous import HeterogeneousGraph, Propagation
from slifmr_pl.nn.network import Representations, SlifMrNetwork
from slifmr_pl.nn.propagation import propagate_mean


class LastStep(NamedTuple):
    """What each node sends: Σ_{l<L} A^l X ÷ (L+1); zeros without layers.

    Attributes:
        users: float32 [U, d].
        items: float32 [I, d].
    """

    users: Tensor
    items: Tensor

    @classmethod
    def of(cls, network: SlifMrNetwork, graphs: Propagation) -> "LastStep":
        """From a network and the graphs that it propagates over."""
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
def sent_to_users(
    network: SlifMrNetwork, graphs: Propagation, views: Representations, graph: HeterogeneousGraph
) -> Tensor:
    """What an item sends to a user who has nothing else.

    A user of n items receives the sum over them ÷ √n. Without layers nothing is sent, and the
    item's representation stands in for it: such a user is where the items are.

    Args:
        network: With all columns.
        graphs: What it propagates over.
        views: What it gives; columns beyond the network's own, of the regression, are left out.
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
    sent = LastStep.of(network, graphs).items
    return sent * scale.to(sent).unsqueeze(1)
