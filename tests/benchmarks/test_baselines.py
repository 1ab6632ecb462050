import torch

from benchmarks import ours
from benchmarks.baselines import PlainLightGCN, PythonBatches, coo_adjacency
from benchmarks.data import generate
from benchmarks.settings import Settings
from slifmr_pl.graphs.sparse.spmm import spmm

CPU = torch.device("cpu")
DATA = generate(60, 40, 500)


def test_stock_graph_equals_ours() -> None:
    matrix = coo_adjacency(DATA, CPU).to_dense()
    identity = torch.eye(100)
    torch.testing.assert_close(matrix, spmm(ours.adjacency(DATA, CPU), identity))
    blocks = ours.interaction_graph(DATA, CPU).propagate(*identity.split([60, 40]))
    torch.testing.assert_close(matrix, torch.cat(blocks))


def test_plain_lightgcn_represents_as_ours() -> None:
    module = ours.new_module(
        ours.inputs(DATA, Settings(), "lightgcn"), ours.arguments(8, "lightgcn")
    )
    views = module.representations()
    network = module.network
    plain = PlainLightGCN(
        coo_adjacency(DATA, CPU),
        network.user_embedding.detach(),
        network.item_embedding.detach(),
        ours.LAYERS,
        ours.L2,
    )
    users, items = plain()
    torch.testing.assert_close(users, views.users)
    torch.testing.assert_close(items, views.items)


def test_per_row_sampler_hands_out_each_positive_once_with_a_negative() -> None:
    batches = list(PythonBatches(DATA, batch_size=64))
    users, positives, negatives = (torch.cat(part) for part in zip(*batches, strict=True))
    known = set(zip(DATA.train.users.tolist(), DATA.train.items.tolist(), strict=True))
    handed_out = list(zip(users.tolist(), positives.tolist(), strict=True))
    assert len(handed_out) == len(known)
    assert set(handed_out) == known
    assert not known & set(zip(users.tolist(), negatives.tolist(), strict=True))
    assert [len(batch[0]) for batch in batches[:-1]] == [64] * (len(batches) - 1)
