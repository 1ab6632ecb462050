import torch

from slifmr_pl.graphs.correlation import Injection, IntoModalities, Target
from slifmr_pl.graphs.sparse.edges import Edges
from tests.graphs.oracles import close, dense


def edges(pairs: dict[tuple[int, int], float], n: int) -> Edges:
    rows, columns = torch.tensor(list(pairs)).T
    return Edges.build(rows, columns, torch.tensor(list(pairs.values())), (n, n))


GRAPH = edges({(0, 1): 0.5, (1, 0): 0.5, (1, 2): 0.25, (2, 1): 0.25, (2, 3): 1.0, (3, 2): 1.0}, 4)


def test_edges_of_items_without_correlation_stay_whole() -> None:
    correlation = edges({(0, 1): 1.0, (1, 0): 1.0}, 4)
    injection = IntoModalities(0.25).inject(Target("modality", "text"), correlation)
    whole = dense(GRAPH)
    expected = whole.clone()
    expected[0, 1] = expected[1, 0] = 0.75 * 0.5 + 0.25
    close(dense(injection.added_to(GRAPH)), expected)


def test_an_edge_keeps_the_greater_share_of_its_two_ends() -> None:
    none = Edges.empty((4, 4))
    close(dense(Injection(none, 0.5).added_to(GRAPH)), 0.5 * dense(GRAPH))
    mixed = dense(Injection(none, torch.tensor([0.1, 0.2, 0.3, 0.4])).added_to(GRAPH))
    shares = torch.tensor([0.2, 0.2, 0.3, 0.3, 0.4, 0.4])
    close(mixed, dense(GRAPH.with_values(GRAPH.values * shares)))
