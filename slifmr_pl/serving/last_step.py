"""What reaches users and items in the last step of the interaction view.

With X the embeddings that enter the view, its representations are Σ_{l≤L} A^l X ÷ (L+1): a share of
X itself, and what the neighbours send, A · (Σ_{l<L} A^l X ÷ (L+1)).
U = users, I = items, d = embedding size, L = layers of the interaction view.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from slifmr_pl.graphs.heterogeneous import Propagation
from slifmr_pl.module import SlifMrModule
from slifmr_pl.nn.encoders import propagate_mean
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
            view = network.modality_view(graphs, name)
            side += config.modality.weight * share.unsqueeze(1) * view
    if views.knowledge is not None:
        side += config.knowledge.weight * views.knowledge
    return side


@torch.no_grad()
def sent_to_users(module: SlifMrModule, views: Representations) -> Tensor:
    """What an item sends to a user who has nothing else.

    A user of n items receives the sum over them ÷ √n. Without layers nothing is sent, and the
    item's representation stands in for it: such a user is where the items are.

    Args:
        module: With its graphs.
        views: `module.representations()`; the columns of the regression are left out.

    Returns:
        float32 [I, d].
    """
    if module.network_config.interaction.layers == 0:
        return views.items[:, : module.network_config.embedding_dim]
    assert module.inputs is not None
    graph, correlation = module.inputs.graph, module.self_loop.correlation()
    degrees = torch.bincount(graph.items, minlength=graph.n_items).double()
    if correlation is not None:
        gamma = module.self_loop_config.weights.interaction
        degrees += gamma * correlation.row_sums().to(degrees)
    # An item that nobody has yet counts as one that this user alone has.
    scale = degrees.clamp_min(1).rsqrt()
    sent = LastStep.of(module.network, module.propagation, views).items
    return sent * scale.to(sent).unsqueeze(1)
