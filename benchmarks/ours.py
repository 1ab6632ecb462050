"""The package's own objects for a set of interactions, as a training run would make them."""

from dataclasses import replace

import torch

from benchmarks import data as benchmark_data
from benchmarks.data import InteractionData
from benchmarks.settings import Model, Settings
from slifmr_pl.data.batches import TrainBatches
from slifmr_pl.data.interactions import UserItems
from slifmr_pl.data.sampler import UniformSampler
from slifmr_pl.graphs.heterogeneous import GraphAssembler, HeterogeneousGraph
from slifmr_pl.graphs.interaction import InteractionGraph
from slifmr_pl.graphs.model_inputs import ItemFeatures, ModelInputs
from slifmr_pl.graphs.neighbours import cosine_neighbours
from slifmr_pl.graphs.sparse.edges import Edges, symmetrically_normalised
from slifmr_pl.graphs.sparse.spmm import SparseGraph
from slifmr_pl.losses.objective import LossConfig
from slifmr_pl.module import SlifMrModule
from slifmr_pl.nn.network_config import (
    InteractionConfig,
    KnowledgeConfig,
    ModalityConfig,
    NetworkConfig,
    RegressionConfig,
)
from slifmr_pl.nn.optimizer import OptimizerConfig
from slifmr_pl.nn.self_loop import SelfLoopConfig

LAYERS = 2
BATCH_SIZE = 2048
LEARNING_RATE = 1e-3
L2 = 1e-4
MODALITIES = {"image": 512, "text": 768}  # name: feature size, as CLIP and BERT give them
NEIGHBOURS = 10


def heterogeneous_graph(data: InteractionData) -> HeterogeneousGraph:
    """Interactions alone."""
    return HeterogeneousGraph(
        n_users=data.n_users,
        n_items=data.n_items,
        users=torch.from_numpy(data.train.users),
        items=torch.from_numpy(data.train.items),
    )


def interaction_graph(data: InteractionData, device: torch.device) -> InteractionGraph:
    """The normalised user–item graph as an epoch propagates over it."""
    assembler = GraphAssembler(
        heterogeneous_graph(data), use_modalities=False, knowledge_layers=0, device=device
    )
    graph = assembler.assemble(None, None).interaction
    assert isinstance(graph, InteractionGraph)
    return graph


def adjacency(data: InteractionData, device: torch.device) -> SparseGraph:
    """The same graph as one matrix [U + I, U + I]: users, then items."""
    nodes = data.n_users + data.n_items
    users = torch.from_numpy(data.train.users)
    items = torch.from_numpy(data.train.items) + data.n_users
    edges = Edges.build(
        torch.cat([users, items]),
        torch.cat([items, users]),
        torch.ones(2 * len(users)),
        (nodes, nodes),
    )
    return SparseGraph.build(symmetrically_normalised(edges).to(device), symmetric=True)


def batches(data: InteractionData, *, batch_size: int = BATCH_SIZE, seed: int = 1) -> TrainBatches:
    """The training loader, with one negative for each positive."""
    positives = UserItems.of(data.n_users, data.train)
    sampler = UniformSampler().built(positives, data.n_items)
    return TrainBatches(data.train, sampler, batch_size=batch_size, seed=seed)


def batch_size(settings: Settings) -> int:
    """2048, or what a tiny set can fill."""
    return settings.scaled(BATCH_SIZE, quick=64)


def arguments(dim: int, model: Model) -> dict[str, object]:
    """Arguments of the module, with BPR and one negative.

    Args:
        dim: Embedding size d.
        model: LightGCN (model/lightgcn_bpr), the same with a knowledge view, or all of
            SLIF-MR with late fusion.
    """
    full = model == "full"
    return {
        "network": NetworkConfig(
            embedding_dim=dim,
            interaction=InteractionConfig(layers=LAYERS),
            modality=ModalityConfig(enabled=full),
            knowledge=KnowledgeConfig(enabled=model != "lightgcn"),
            regression=RegressionConfig(enabled=full),
            fusion="late",
        ),
        "self_loop": SelfLoopConfig(enabled=full),
        "loss": LossConfig(ranking="bpr", alignment=0.01 if full else 0.0, l2=L2),
        "optimizer": OptimizerConfig(learning_rate=LEARNING_RATE),
    }


def inputs(data: InteractionData, settings: Settings, model: Model) -> ModelInputs:
    """What the data module would give: interactions, and generated knowledge and modalities."""
    graph = heterogeneous_graph(data)
    if model != "lightgcn":
        graph = replace(graph, triples=benchmark_data.knowledge(settings, data))
    if model != "full":
        return ModelInputs(graph, {}, "benchmark", "benchmark")
    rng = torch.Generator().manual_seed(3)
    features = {
        name: ItemFeatures(
            torch.randn(data.n_items, settings.scaled(size, quick=16), generator=rng),
            torch.ones(data.n_items, dtype=torch.bool),
        )
        for name, size in MODALITIES.items()
    }
    graph = replace(
        graph,
        modalities={
            name: cosine_neighbours(feature.values, NEIGHBOURS)
            for name, feature in features.items()
        },
        present={name: feature.present for name, feature in features.items()},
    )
    return ModelInputs(graph, features, "benchmark", "benchmark")


def new_module(
    inputs: ModelInputs, arguments: dict[str, object], *, kind: type[SlifMrModule] = SlifMrModule
) -> SlifMrModule:
    """A module with parameters from a fixed seed."""
    torch.manual_seed(1)
    module = kind(**arguments)  # type: ignore[arg-type]
    module.build(inputs)
    return module
