import torch

from slifmr_pl.graphs.interaction import interaction_edges
from tests.graphs.oracles import close, correlation_of, dense, generator, interaction_matrix

N_USERS, N_ITEMS = 7, 6
# User 6 and item 5 have no interactions.
USERS = torch.tensor([0, 0, 1, 2, 3, 3, 3, 4, 5])
ITEMS = torch.tensor([0, 4, 1, 1, 0, 2, 3, 4, 4])


def test_equals_lightgcn_dense_graph() -> None:
    edges = interaction_edges(USERS, ITEMS, N_USERS, N_ITEMS)
    assert edges.shape == (13, 13)
    close(dense(edges).double(), interaction_matrix(USERS, ITEMS, N_USERS, N_ITEMS))
    # By hand: user 1 has one item, item 1 has two users.
    close(dense(edges)[1, N_USERS + 1], torch.tensor(2.0).rsqrt())


def test_correlation_enters_the_items_corner_before_normalisation() -> None:
    correlation = correlation_of(N_ITEMS, seed=3)
    edges = interaction_edges(USERS, ITEMS, N_USERS, N_ITEMS, correlation, gamma=0.3)
    expected = interaction_matrix(USERS, ITEMS, N_USERS, N_ITEMS, 0.3 * dense(correlation))
    close(dense(edges).double(), expected)
    assert dense(edges)[N_USERS + 5].any()  # an item that nobody has met gets neighbours


def test_is_symmetric_to_the_last_bit_for_any_order_of_interactions() -> None:
    correlation = correlation_of(N_ITEMS, seed=4)
    matrix = dense(interaction_edges(USERS, ITEMS, N_USERS, N_ITEMS, correlation, gamma=0.3))
    assert torch.equal(matrix, matrix.T)
    order = torch.randperm(len(USERS), generator=generator(0))
    again = interaction_edges(USERS[order], ITEMS[order], N_USERS, N_ITEMS, correlation, 0.3)
    assert torch.equal(dense(again), matrix)


def test_weight_zero_leaves_the_graph_without_correlation() -> None:
    plain = interaction_edges(USERS, ITEMS, N_USERS, N_ITEMS)
    same = interaction_edges(
        USERS, ITEMS, N_USERS, N_ITEMS, correlation_of(N_ITEMS, seed=3), gamma=0.0
    )
    assert torch.equal(same.rows, plain.rows)
    assert torch.equal(same.values, plain.values)
