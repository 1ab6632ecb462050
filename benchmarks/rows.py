"""The last layer for the rows of one batch against the full product and indexing."""

from collections.abc import Iterator

import torch

from benchmarks import ours
from benchmarks.baselines import coo_adjacency
from benchmarks.data import load
from benchmarks.harness import Report, Variant, bandwidth_limit, compare
from benchmarks.settings import Settings
from benchmarks.spmm import Product, Run, forward_and_backward, product_bytes
from slifmr_pl.graphs.sparse.spmm import spmm


def benchmark(settings: Settings) -> Iterator[Report]:
    data = load(settings)
    graph = ours.adjacency(data, settings.device)
    nodes = data.n_users + data.n_items
    batch = next(iter(ours.batches(data, batch_size=ours.batch_size(settings))))
    rows = torch.unique(
        torch.cat([batch.users, *(i.flatten() + data.n_users for i in batch[1:3])])
    ).to(settings.device)
    rng = torch.Generator().manual_seed(0)
    dense = torch.randn(nodes, settings.dim, generator=rng).to(settings.device)
    gradient = torch.randn(len(rows), settings.dim, generator=rng).to(settings.device)

    def both_ways(product: Product) -> Run:
        return forward_and_backward(product, dense, gradient)

    def prepare_coo() -> Run:
        adjacency = coo_adjacency(data, settings.device)
        return both_ways(lambda x: torch.sparse.mm(adjacency, x)[rows])

    degrees = (
        torch.bincount(torch.from_numpy(data.train.users), minlength=data.n_users),
        torch.bincount(torch.from_numpy(data.train.items), minlength=data.n_items),
    )
    edges = int(torch.cat(degrees)[rows.cpu()].sum())
    # Forward gathers a row an edge and writes the rows; backward adds to a row an edge, and the
    # gradient of all nodes is written once.
    moved = 2 * product_bytes(edges, len(rows), settings.dim) + 4 * nodes * settings.dim
    yield compare(
        f"Last layer, forward and backward, for {len(rows):,} of {nodes:,} nodes with {edges:,} "
        f"edges ({data.title}; d {settings.dim})",
        [
            Variant("ours, rows alone", lambda: both_ways(lambda x: spmm(graph, x, rows))),
            Variant(
                "ours, full product",
                lambda: both_ways(lambda x: spmm(graph, x)[rows]),
                kind="ours",
            ),
            Variant("torch.sparse COO, full product", prepare_coo),
        ],
        settings,
        limits=[bandwidth_limit(moved, settings, "no cache")],
    )
