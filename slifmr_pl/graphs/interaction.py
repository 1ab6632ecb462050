"""The user–item graph, with the correlation of items in its lower corner."""

import torch
from torch import Tensor

from slifmr_pl.graphs.edges import Edges, symmetrically_normalised


def interaction_edges(
    users: Tensor,
    items: Tensor,
    n_users: int,
    n_items: int,
    correlation: Edges | None = None,
    gamma: float = 0.0,
) -> Edges:
    """Normalised interaction view A_t = norm([[0, Y], [Y^T, γ·C_t]]).

    Nodes are the users, then the items. Without a correlation graph this is the graph of LightGCN
    (He et al. 2020, eq. 8).

    Args:
        users: int64 [n], user row of each training interaction.
        items: int64 [n], item row of each training interaction.
        n_users: Number of users U.
        n_items: Number of items I.
        correlation: Item–item edges C_t [I, I], or None.
        gamma: Weight γ of the correlation edges.

    Returns:
        Symmetric edges [U + I, U + I].
    """
    nodes = n_users + n_items
    item_nodes = items + n_users
    rows, columns = [users, item_nodes], [item_nodes, users]
    values = [torch.ones(2 * len(users), device=users.device)]
    if correlation is not None and gamma > 0:
        rows.append(correlation.rows + n_users)
        columns.append(correlation.columns + n_users)
        values.append(correlation.values * gamma)
    edges = Edges.build(torch.cat(rows), torch.cat(columns), torch.cat(values), (nodes, nodes))
    return symmetrically_normalised(edges)
