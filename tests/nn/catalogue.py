"""A small random data set with every kind of graph, and networks over it."""

from dataclasses import dataclass, replace

import torch

from slifmr_pl.graphs.correlation import (
    CorrelationEntries,
    IntoInteractions,
    IntoKnowledge,
    IntoModalities,
)
from slifmr_pl.graphs.heterogeneous import GraphAssembler, HeterogeneousGraph, Propagation
from slifmr_pl.graphs.model_inputs import ItemFeatures
from slifmr_pl.graphs.neighbours import cosine_neighbours
from slifmr_pl.graphs.sparse.edges import Edges
from slifmr_pl.graphs.triples import DirectedTriples
from slifmr_pl.nn.network import SlifMrNetwork
from slifmr_pl.nn.network_config import (
    InteractionConfig,
    KnowledgeConfig,
    ModalityConfig,
    NetworkConfig,
)
from tests.graphs.oracles import correlation_of, generator

N_USERS, N_ITEMS, N_ENTITIES, N_RELATIONS, DIM = 20, 70, 80, 2, 6
MODALITIES = {"image": 5, "text": 3}  # name: feature size
GAMMA = 0.3


def entries(interaction: float = GAMMA, modality: float = GAMMA, knowledge: float = GAMMA):
    """C_t in every graph."""
    return CorrelationEntries(
        [IntoInteractions(interaction), IntoModalities(modality), IntoKnowledge(knowledge)]
    )


def features() -> dict[str, ItemFeatures]:
    """Item 0 has no modality at all, item 1 no image, item 2 no text."""
    result = {}
    for seed, (name, size) in enumerate(MODALITIES.items()):
        present = torch.ones(N_ITEMS, dtype=torch.bool)
        present[[0, 1 + seed]] = False
        values = torch.randn(N_ITEMS, size, generator=generator(seed))
        result[name] = ItemFeatures(values * present.unsqueeze(1), present)
    return result


def catalogue(*, modalities: bool = True, knowledge: bool = True) -> HeterogeneousGraph:
    """The last user and item have no interactions, and the last entity is in no triple."""
    rng = generator(20)
    pairs = torch.nonzero(torch.rand(N_USERS - 1, N_ITEMS - 1, generator=rng) < 0.1)
    triples = torch.stack(
        [
            torch.randint(N_ITEMS, (150,), generator=rng),
            torch.randint(N_RELATIONS, (150,), generator=rng),
            torch.randint(N_ITEMS, N_ENTITIES - 1, (150,), generator=rng),
        ],
        dim=1,
    ).unique(dim=0)
    given = features() if modalities else {}
    return HeterogeneousGraph(
        n_users=N_USERS,
        n_items=N_ITEMS,
        users=pairs[:, 0],
        items=pairs[:, 1],
        modalities={
            name: cosine_neighbours(values, 2, present=present)
            for name, (values, present) in given.items()
        },
        present={name: feature.present for name, feature in given.items()},
        triples=DirectedTriples.bidirectional(*triples.T, N_ENTITIES, N_RELATIONS)
        if knowledge
        else None,
    )


NO_MODALITY = ModalityConfig(enabled=False)
NO_KNOWLEDGE = KnowledgeConfig(enabled=False)
LIGHTGCN = NetworkConfig(
    embedding_dim=DIM, modality=NO_MODALITY, knowledge=NO_KNOWLEDGE, fusion="late"
)
ALL_VIEWS = NetworkConfig(
    embedding_dim=DIM,
    interaction=InteractionConfig(layers=3),
    modality=ModalityConfig(layers=2, weight=0.7),
    knowledge=KnowledgeConfig(layers=2, weight=0.5),
    fusion="late",
    user_fusion=0.4,
)
# Every combination of views, by name.
CONFIGS = {
    "interaction": LIGHTGCN,
    "matrix factorisation": replace(LIGHTGCN, interaction=InteractionConfig(layers=0)),
    "modality": replace(LIGHTGCN, modality=ModalityConfig(weight=0.7)),
    "modality mean": replace(LIGHTGCN, modality=ModalityConfig(layers=2, attention=False)),
    "knowledge": replace(LIGHTGCN, knowledge=KnowledgeConfig(weight=0.5)),
    "knowledge 2": replace(LIGHTGCN, knowledge=KnowledgeConfig(layers=2)),
    "user fusion": replace(LIGHTGCN, user_fusion=0.4),
    "all": ALL_VIEWS,
    "all but user fusion": replace(ALL_VIEWS, user_fusion=0.0),
    "early": replace(ALL_VIEWS, fusion="early", user_fusion=0.0),
    "early with user fusion": replace(ALL_VIEWS, fusion="early"),
}


@dataclass(frozen=True)
class World:
    """A data set, a network, and the graphs of one of its epochs."""

    graph: HeterogeneousGraph
    network: SlifMrNetwork
    graphs: Propagation
    assembler: GraphAssembler
    correlation: Edges | None


def world(
    config: NetworkConfig,
    *,
    correlation: bool = True,
    learned: tuple[str, ...] = (),
    seed: int = 0,
) -> World:
    """Builds what the module would, with random parameters that have no two entries alike."""
    graph = replace(catalogue(), learned=learned)
    given = entries() if correlation else CorrelationEntries()
    edges = correlation_of(N_ITEMS, seed=30) if correlation else None
    network = SlifMrNetwork(graph, config, features=features(), entries=given)
    rng = generator(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng))
    assembler = GraphAssembler(
        graph,
        use_modalities=len(network.modality_views) > 0,
        weighted_edges=config.modality.weighted_edges,
        use_user_items=config.user_fusion > 0,
        knowledge_layers=config.knowledge.layers if network.knowledge_view else 0,
        entries=given,
    )
    return World(graph, network, assembler.assemble(edges, None), assembler, edges)
