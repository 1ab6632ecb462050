import torch
from torch import Tensor

from slifmr_pl.graphs.interaction import InteractionGraph
from slifmr_pl.graphs.sparse.edges import Edges
from tests.graphs import oracles
from tests.graphs.oracles import close, correlation_of, dense, generator

N_USERS, N_ITEMS = 7, 6
# User 6 and item 5 have no interactions.
USERS = torch.tensor([0, 0, 1, 2, 3, 3, 3, 4, 5])
ITEMS = torch.tensor([0, 4, 1, 1, 0, 2, 3, 4, 4])


def view(
    users: Tensor, items: Tensor, correlation: Edges | None = None, gamma: float = 0.0
) -> Tensor:
    corner = None if correlation is None else correlation.scaled(gamma)
    graph = InteractionGraph.build(users, items, N_USERS, N_ITEMS, corner)
    return oracles.dense_blocks(graph)


def test_equals_lightgcn_dense_graph() -> None:
    normalised = view(USERS, ITEMS)
    close(normalised.double(), oracles.interaction_matrix(USERS, ITEMS, N_USERS, N_ITEMS))
    # By hand: user 1 has one item, item 1 has two users.
    close(normalised[1, N_USERS + 1], torch.tensor(2.0).rsqrt())


def test_correlation_enters_the_items_corner_before_normalisation() -> None:
    correlation = correlation_of(N_ITEMS, seed=3)
    normalised = view(USERS, ITEMS, correlation, gamma=0.3)
    expected = oracles.interaction_matrix(USERS, ITEMS, N_USERS, N_ITEMS, 0.3 * dense(correlation))
    close(normalised.double(), expected)
    assert normalised[N_USERS + 5].any()  # an item that nobody has met gets neighbours


def test_is_symmetric_to_the_last_bit_for_any_order_of_interactions() -> None:
    correlation = correlation_of(N_ITEMS, seed=4)
    matrix = view(USERS, ITEMS, correlation, gamma=0.3)
    assert torch.equal(matrix, matrix.T)
    order = torch.randperm(len(USERS), generator=generator(0))
    again = view(USERS[order], ITEMS[order], correlation, gamma=0.3)
    assert torch.equal(again, matrix)


def test_dropped_interactions_are_dropped_both_ways_and_the_others_count_more() -> None:
    correlation = correlation_of(N_ITEMS, seed=3)
    whole = InteractionGraph.build(USERS, ITEMS, N_USERS, N_ITEMS, correlation)
    dropped = whole.with_dropped_edges(0.4, generator(1))
    matrix, before = oracles.dense_blocks(dropped), oracles.dense_blocks(whole)
    assert torch.equal(matrix[:N_USERS, N_USERS:], matrix[N_USERS:, :N_USERS].T)
    assert torch.equal(matrix[N_USERS:, N_USERS:], before[N_USERS:, N_USERS:])
    own, all_of_them = matrix[:N_USERS, N_USERS:], before[:N_USERS, N_USERS:]
    kept = own != 0
    assert 0 < int(kept.sum()) < len(USERS)
    close(own[kept], all_of_them[kept] / 0.6)
    again = whole.with_dropped_edges(0.4, generator(1))
    assert torch.equal(oracles.dense_blocks(again), matrix)
    close(
        dropped.transposed().user_items.forward.scipy.toarray(),
        dropped.user_items.forward.scipy.toarray(),
    )
