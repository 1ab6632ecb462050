"""A training step in one process, under DistributedDataParallel, and with shared columns.

python -m benchmarks.parallel --processes 2 --model late

Every process computes with one thread. The data is random, of the size of Amazon-Book with its
knowledge graph; `--scale` makes it smaller. All modes run one after the other in the same command;
read the ratios.
"""

import argparse
import os
import resource
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.multiprocessing.spawn import start_processes
from torch.nn.parallel import DistributedDataParallel

from slifmr_pl.data.batches import TrainBatch, TrainBatches
from slifmr_pl.data.interactions import Interactions, UserItems
from slifmr_pl.data.sampler import UniformSampler
from slifmr_pl.graphs.heterogeneous import GraphAssembler, HeterogeneousGraph, Propagation
from slifmr_pl.graphs.model_inputs import ItemFeatures
from slifmr_pl.graphs.neighbours import Neighbours
from slifmr_pl.graphs.sparse.column_parallel import EmbeddingColumns
from slifmr_pl.graphs.triples import DirectedTriples
from slifmr_pl.losses.alignment import ProcessShare
from slifmr_pl.losses.objective import LossConfig, Losses, Objective
from slifmr_pl.losses.terms import LossData
from slifmr_pl.nn.network import SlifMrNetwork
from slifmr_pl.nn.network_config import KnowledgeConfig, ModalityConfig, NetworkConfig

# "ddp, slice" aligns the positives of each slice alone: another loss for each number of processes.
Mode = Literal["one", "ddp", "ddp, slice", "columns"]
USERS, ITEMS, ENTITIES, RELATIONS = 70_679, 24_915, 88_572, 39
INTERACTIONS, TRIPLES, FEATURE_DIM = 650_000, 2_560_000, 384
MODALITIES = ("image", "text")


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
        model: "lightgcn", or all views with "late" or "early" fusion.
        dim: Embedding size.
        batch_size: Positives of a step, of all processes together.
        negatives: Of each positive.
        steps: Measured steps, after two that are not.
        scale: Share of the size of Amazon-Book.
    """

    model: str
    dim: int
    batch_size: int
    negatives: int
    steps: int
    scale: float


@dataclass(frozen=True)
class Figures:
    """Of one process: median seconds of a step, MiB, and item rows that a step asks for."""

    seconds: float
    state_mb: float
    peak_mb: float
    rows: float


class Step(nn.Module):
    """Network and loss, as DistributedDataParallel wants them."""

    def __init__(self, network: SlifMrNetwork, graphs: Propagation, objective: Objective) -> None:
        super().__init__()
        self.network, self.graphs, self.objective = network, graphs, objective

    def forward(self, batch: TrainBatch, aligned: Tensor | None, share: ProcessShare) -> Tensor:
        """Loss of a batch."""
        losses: Losses = self.objective(
            self.network,
            self.graphs,
            batch.users,
            batch.positives,
            batch.negatives,
            batch.divisor,
            aligned,
            share,
        )
        return losses.total


def random_graph(setting: Setting) -> HeterogeneousGraph:
    """Interactions with few popular items, triples, and neighbours; the same in every process."""
    rng = np.random.default_rng(0)
    users, items, entities, interactions, triples = (
        int(size * setting.scale) for size in (USERS, ITEMS, ENTITIES, INTERACTIONS, TRIPLES)
    )
    popular = np.minimum(items * rng.random(interactions) ** 2, items - 1).astype(np.int64)
    pairs = np.unique(rng.integers(users, size=interactions) * items + popular)
    full = setting.model != "lightgcn"
    return HeterogeneousGraph(
        n_users=users,
        n_items=items,
        users=torch.from_numpy(pairs // items),
        items=torch.from_numpy(pairs % items),
        modalities={
            name: Neighbours(
                torch.from_numpy(rng.integers(items, size=(items, 10))), torch.ones(items, 10)
            )
            for name in MODALITIES
            if full
        },
        present={name: torch.ones(items, dtype=torch.bool) for name in MODALITIES if full},
        triples=DirectedTriples.bidirectional(
            torch.from_numpy(rng.integers(items, size=triples)),
            torch.from_numpy(rng.integers(RELATIONS, size=triples)),
            torch.from_numpy(rng.integers(items, entities, size=triples)),
            entities,
            RELATIONS,
        )
        if full
        else None,
    )


def build(setting: Setting, columns: EmbeddingColumns) -> tuple[Step, HeterogeneousGraph]:
    """Network, graphs and loss."""
    graph = random_graph(setting)
    full = setting.model != "lightgcn"
    config = NetworkConfig(
        embedding_dim=setting.dim,
        modality=ModalityConfig(enabled=full),
        knowledge=KnowledgeConfig(enabled=full),
        fusion="early" if setting.model == "early" else "late",
    )
    features = {
        name: ItemFeatures(torch.randn(graph.n_items, FEATURE_DIM), graph.present[name])
        for name in graph.modalities
    }
    torch.manual_seed(0)
    network = SlifMrNetwork(graph, config, features=features, columns=columns)
    graphs = GraphAssembler(graph, use_modalities=full).assemble(None, None)
    loss = LossConfig(ranking="softmax", alignment=0.01 if full else 0.0)
    sizes = dict.fromkeys(features, FEATURE_DIM)
    objective = Objective(loss, LossData(graph, sizes, setting.dim))
    objective.use_features(features)
    return Step(network, graphs, objective), graph


def measure(mode: Mode, setting: Setting, rank: int, processes: int) -> Figures:
    """Trains a few steps in one of the processes."""
    data_parallel = mode.startswith("ddp")
    columns = EmbeddingColumns(rank, processes) if mode == "columns" else EmbeddingColumns()
    step, graph = build(setting, columns)
    item_rows: list[int] = []
    step.network.register_forward_pre_hook(
        lambda _, given: item_rows.append(graph.n_items if given[2] is None else len(given[2]))
    )
    optimizer = torch.optim.Adam(step.parameters(), fused=True)
    model = DistributedDataParallel(step) if data_parallel else step
    train = Interactions(graph.users.numpy(), graph.items.numpy())
    sampler = UniformSampler().built(UserItems.of(graph.n_users, train), graph.n_items)
    loader = TrainBatches(
        train,
        sampler,
        batch_size=setting.batch_size,
        n_negatives=setting.negatives,
        rank=rank if data_parallel else 0,
        world_size=processes if data_parallel else 1,
    )
    seconds = []
    for index, batch in enumerate(loader):
        if index == setting.steps + 2:
            break
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        start = time.perf_counter()
        optimizer.zero_grad()
        aligned = batch.global_positives if mode == "ddp" else None
        share = ProcessShare()
        if mode == "ddp":
            share = ProcessShare(rank, processes, weight=processes)
        loss = model(batch, aligned, share)
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    state = [*step.parameters()]
    state += [value for entry in optimizer.state.values() for value in entry.values()]
    return Figures(
        statistics.median(seconds[2:]),
        sum(tensor.nbytes for tensor in state) / 2**20,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        statistics.mean(item_rows),
    )


def work(rank: int, mode: Mode, setting: Setting, processes: int, folder: str) -> None:
    """One process; rank 0 leaves its figures behind."""
    torch.set_num_threads(1)
    if processes > 1:
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{folder}/{mode}", rank=rank, world_size=processes
        )
    figures = measure(mode, setting, rank, processes)
    if rank == 0:
        torch.save(vars(figures), Path(folder) / "figures.pt")
    if processes > 1:
        torch.distributed.destroy_process_group()


def run(mode: Mode, setting: Setting, processes: int) -> Figures:
    """Figures of rank 0."""
    processes = 1 if mode == "one" else processes
    with tempfile.TemporaryDirectory() as folder:
        start_processes(work, (mode, setting, processes, folder), processes, start_method="spawn")
        return Figures(**torch.load(Path(folder) / "figures.pt", weights_only=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--model", choices=["lightgcn", "late", "early"], default="late")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--negatives", type=int, default=1)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--modes", nargs="+", default=["one", "ddp", "ddp, slice", "columns"])
    arguments = vars(parser.parse_args())
    modes, processes = arguments.pop("modes"), arguments.pop("processes")
    setting = Setting(**arguments)
    print(f"{setting}, {processes} processes")
    print("| mode | step, ms | to one process | parameters + Adam, MiB | peak, MiB | item rows |")
    print("|---|---|---|---|---|---|")
    first: Figures | None = None
    for mode in modes:
        figures = run(mode, setting, processes)
        first = first or figures
        print(
            f"| {mode} | {figures.seconds * 1000:.0f} | {figures.seconds / first.seconds:.2f} "
            f"| {figures.state_mb:.0f} | {figures.peak_mb:.0f} | {figures.rows:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
