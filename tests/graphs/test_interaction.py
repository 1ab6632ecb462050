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
    graph = InteractionGraph.build(users, items, N_USERS, N_ITEMS, correlation, gamma)
    return oracles.joined(graph)


def test_equals_lightgcn_dense_graph() -> None:
    found = view(USERS, ITEMS)
    close(found.double(), oracles.interaction_matrix(USERS, ITEMS, N_USERS, N_ITEMS))
    # By hand: user 1 has one item, item 1 has two users.
    close(found[1, N_USERS + 1], torch.tensor(2.0).rsqrt())


def test_correlation_enters_the_items_corner_before_normalisation() -> None:
    correlation = correlation_of(N_ITEMS, seed=3)
    found = view(USERS, ITEMS, correlation, gamma=0.3)
    expected = oracles.interaction_matrix(USERS, ITEMS, N_USERS, N_ITEMS, 0.3 * dense(correlation))
    close(found.double(), expected)
    assert found[N_USERS + 5].any()  # an item that nobody has met gets neighbours


def test_is_symmetric_to_the_last_bit_for_any_order_of_interactions() -> None:
    correlation = correlation_of(N_ITEMS, seed=4)
    matrix = view(USERS, ITEMS, correlation, gamma=0.3)
    assert torch.equal(matrix, matrix.T)
    order = torch.randperm(len(USERS), generator=generator(0))
    again = view(USERS[order], ITEMS[order], correlation, gamma=0.3)
    assert torch.equal(again, matrix)


def test_weight_zero_leaves_the_graph_without_correlation() -> None:
    same = view(USERS, ITEMS, correlation_of(N_ITEMS, seed=3), gamma=0.0)
    assert torch.equal(same, view(USERS, ITEMS))
