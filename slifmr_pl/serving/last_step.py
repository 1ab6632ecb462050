"""What reaches users and items in the last step of the interaction view.

With X the embeddings that enter the view, its representations are Σ_{l≤L} A^l X ÷ (L+1): a share of
X itself, and what the neighbours send, A · (Σ_{l<L} A^l X ÷ (L+1)).
U = users, I = items, d = embedding size, L = layers of the interaction view.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from slifmr_pl.graphs.edges import Edges
from slifmr_pl.graphs.heterogeneous import HeterogeneousGraph, Propagation
from slifmr_pl.nn.encoders import propagate_last, propagate_mean
from slifmr_pl.nn.network import Representations, SlifMrNetwork


class LastStep(NamedTuple):
    """What each node sends: Σ_{l<L} A^l X ÷ (L+1); zeros without layers.

    Attributes:
        users: float32 [U, d].
        items: float32 [I, d].
    """

    users: Tensor
    items: Tensor

    @classmethod
    def of(cls, network: SlifMrNetwork, graphs: Propagation, views: Representations) -> "LastStep":
        """From a network and what it gives for all users and items."""
        layers = network.config.interaction.layers
        items: Tensor = network.item_embedding
        if network.config.fusion == "early":
            items = items + _side(network, graphs, views)
        if layers == 0:
            return cls(torch.zeros_like(network.user_embedding), torch.zeros_like(items))
        mean = propagate_mean(graphs.interaction, network.user_embedding, items, layers - 1)
        share = layers / (layers + 1)
        return cls(mean.users * share, mean.items * share)


def _side(network: SlifMrNetwork, graphs: Propagation, views: Representations) -> Tensor:
    """β_mm Σ_m a_m h_m + β_kg h_kg of all items, float32 [I, d]."""
    config = network.config
    side = torch.zeros_like(network.item_embedding)
    if views.modality_attention is not None:
        for name, share in zip(network.sizes.modalities, views.modality_attention, strict=True):
            view = propagate_last(
                graphs.modalities[name], network.item_embedding, config.modality.layers
            )
            side += config.modality.weight * share.unsqueeze(1) * view
    if views.knowledge is not None:
        side += config.knowledge.weight * views.knowledge
    return side


def sent_to_users(
    last: LastStep, graph: HeterogeneousGraph, correlation: Edges | None, gamma: float
) -> Tensor:
    """What an item sends to a user who has nothing else: its row of `last`, normalised.

    A user of n items receives the sum over them ÷ √n. An item that nobody has yet counts as one
    that this user alone has.

    Args:
        last: Of all nodes.
        graph: With the training interactions.
        correlation: C_t, which counts in the degrees; None without.
        gamma: Its weight in the interaction view.

    Returns:
        float32 [I, d].
    """
    degrees = torch.bincount(graph.items, minlength=graph.n_items).double()
    if correlation is not None and len(correlation):
        degrees += gamma * correlation.row_sums().cpu().double()
    scale = degrees.clamp_min(1).rsqrt().to(last.items)
    return last.items * scale.unsqueeze(1)
