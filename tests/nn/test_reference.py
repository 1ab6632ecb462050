"""Propagation in ordinary autograd, against the one with hand-written gradients."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from slifmr_pl.errors import ConfigError
from slifmr_pl.explanation import explain
from slifmr_pl.graphs.correlation import (
    CorrelationData,
    CorrelationEntries,
    CorrelationEntry,
    Injection,
    Target,
)
from slifmr_pl.graphs.heterogeneous import GraphAssembler, Propagation
from slifmr_pl.graphs.item_graphs import item_edges
from slifmr_pl.graphs.sparse.edges import Edges
from slifmr_pl.nn.fusion import AttentiveFusion, FusedViews, ItemView
from slifmr_pl.nn.network import Representations, SlifMrNetwork
from slifmr_pl.nn.network_config import InteractionConfig, NetworkConfig
from slifmr_pl.nn.views import NetworkData, View, ViewContext
from tests.graphs.oracles import close, correlation_of, generator
from tests.nn.catalogue import ALL_VIEWS, CONFIGS, N_ITEMS, World, catalogue, world

USERS, ITEMS = torch.tensor([1, 3, 19]), torch.tensor([0, 2, 3, 69])


def assembled(built: World, *, reference: bool, attention: Tensor | None = None) -> Propagation:
    given = built.assembler
    assembler = GraphAssembler(
        built.graph,
        use_modalities=len(built.network.modality_views) > 0,
        use_user_items=built.network.config.user_fusion > 0,
        knowledge_layers=given.knowledge_layers,
        entries=given.entries,
        reference=reference,
    )
    return assembler.assemble(built.correlation, attention)


def tables(views: Representations) -> Iterator[Tensor]:
    yield from (views.users, views.items, views.interaction, views.ego_users, views.ego_items)
    yield from views.views.values()
    if views.modality_attention is not None:
        yield views.modality_attention


def assert_equal(built: World, fused: Propagation, plain: Propagation, dropout: bool) -> None:
    """Values and gradients, of some rows and of all."""
    parameters = dict(built.network.named_parameters())
    for rows in ((None, None), (USERS, ITEMS)):
        results = []
        for graphs in (fused, plain):
            views = built.network(graphs, *rows, generator(5) if dropout else None)
            outputs = list(tables(views))
            total = sum(
                (table * torch.randn(table.shape, generator=generator(seed))).sum()
                for seed, table in enumerate(outputs)
            )
            gradients = torch.autograd.grad(total, parameters.values(), allow_unused=True)
            results.append((outputs, gradients))
        for a, b in zip(*(outputs for outputs, _ in results), strict=True):
            close(a, b, rtol=1e-4, atol=1e-5)
        for name, a, b in zip(parameters, *(g for _, g in results), strict=True):
            assert (a is None) == (b is None), name
            if a is not None:
                close(a, b, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_values_and_gradients_are_those_of_the_fused_propagation(
    config: NetworkConfig, dropout: float
) -> None:
    interaction = replace(config.interaction, edge_dropout=dropout)
    built = world(replace(config, interaction=interaction))
    triples = built.graph.triples
    assert triples is not None
    attention = torch.rand(len(triples), generator=generator(12))
    both = [assembled(built, reference=way, attention=attention) for way in (False, True)]
    assert_equal(built, both[0], both[1], dropout > 0)


def test_edge_dropout_is_of_training_alone_and_follows_its_generator() -> None:
    config = replace(CONFIGS["early"], interaction=InteractionConfig(2, edge_dropout=0.5))
    built = world(config)
    whole = built.network(built.graphs).users
    first, again = (built.network(built.graphs, generator=generator(1)).users for _ in range(2))
    other = built.network(built.graphs, generator=generator(2)).users
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert not torch.allclose(first, whole)
    plain = world(replace(config, interaction=InteractionConfig(2)))
    assert torch.equal(plain.network(plain.graphs).users, whole)


class Gated(CorrelationEntry):
    """C_t in the items' corner and in modalities, each edge by a learned gate of its source."""

    learned = True

    def __init__(self, gamma: float = 0.5) -> None:
        super().__init__()
        self.gamma = gamma

    def build(self, data: CorrelationData) -> None:
        self.gate = nn.Parameter(torch.zeros(data.n_items))

    def enters(self, target: Target) -> bool:
        return target.kind in ("interaction", "modality", "knowledge")

    def inject(self, target: Target, correlation: Edges) -> Injection:
        gate = self.gate.sigmoid()
        values = self.gamma * correlation.values * gate[correlation.columns]
        edges = Edges(correlation.rows, correlation.columns, values, correlation.shape)
        return Injection(edges, keep=0.5 if target.kind == "modality" else 1.0)


def gated_world(config: NetworkConfig) -> tuple[World, Gated]:
    entries = CorrelationEntries([Gated()])
    graph, correlation = catalogue(), correlation_of(N_ITEMS, seed=30)
    entries.build(graph.correlation_data)
    network = SlifMrNetwork(graph, config, entries=entries)
    rng = generator(0)
    with torch.no_grad():
        for parameter in (*network.parameters(), *entries.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=rng))
    assembler = GraphAssembler(
        graph,
        use_user_items=config.user_fusion > 0,
        knowledge_layers=config.knowledge.layers,
        entries=entries,
    )
    built = World(graph, network, assembler.assemble(correlation, None), assembler, correlation)
    (gated,) = entries
    assert isinstance(gated, Gated)
    return built, gated


@pytest.mark.parametrize("name", ["all", "early"])
def test_directed_edges_propagate_alike_both_ways(name: str) -> None:
    built, _ = gated_world(CONFIGS[name])
    assert_equal(built, *(assembled(built, reference=way) for way in (False, True)), dropout=False)


def test_gates_of_edges_learn_through_every_graph_that_they_enter() -> None:
    built, gated = gated_world(ALL_VIEWS)
    graphs = assembled(built, reference=True)
    weights = torch.randn(N_ITEMS, built.network.config.embedding_dim, generator=generator(3))

    def value() -> Tensor:
        return (built.network(assembled(built, reference=True)).items * weights).sum()

    (gradient,) = torch.autograd.grad((built.network(graphs).items * weights).sum(), [gated.gate])
    assert (gradient != 0).all()
    # Against a difference quotient, in one direction at a time.
    for item in (0, 5, 40):
        with torch.no_grad():
            before = gated.gate[item].clone()
            gated.gate[item] = before + 1e-2
            above = value()
            gated.gate[item] = before - 1e-2
            below = value()
            gated.gate[item] = before
        assert float((above - below) / 2e-2) == pytest.approx(float(gradient[item]), rel=2e-2)


def test_fused_graphs_of_learned_edges_carry_no_gradient() -> None:
    built, gated = gated_world(ALL_VIEWS)
    views = built.network(built.graphs)
    (gradient,) = torch.autograd.grad(views.items.sum(), [gated.gate], allow_unused=True)
    assert gradient is None


class Twins(View):
    """Neighbours of the first modality again, of which training drops some edges."""

    aligned = True

    def __init__(self, share: float = 0.5, weight: float = 0.3) -> None:
        super().__init__()
        self.share = share
        self.weight = weight

    def build(self, data: NetworkData) -> None:
        lists = next(iter(data.graph.modalities.values()))
        self.register_buffer("indices", lists.indices)
        self.register_buffer("similarities", lists.weights)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, context: ViewContext) -> Tensor:
        from slifmr_pl.graphs.neighbours import Neighbours

        lists = Neighbours(self.indices, self.similarities)
        graph = context.item_graph(self, lambda: item_edges(lists))
        return self.scale * context.propagate(context.drop_edges(graph, self.share), context.items)


@pytest.mark.parametrize("fusion", ["early", "late"])
def test_a_view_of_ones_own_enters_the_fused_item_with_its_weight(fusion: str) -> None:
    config = replace(ALL_VIEWS, fusion=fusion, user_fusion=0.0)
    without, with_view = world(config), world(replace(config, views=[Twins()]))
    given = dict(without.network.named_parameters())
    with torch.no_grad():
        for name, parameter in with_view.network.named_parameters():
            if name in given:
                parameter.copy_(given[name])
    view = with_view.network.side_views[-1]
    assert view.name == "Twins"
    context = with_view.network.context(with_view.graphs)
    expected = without.network(without.graphs)
    actual = with_view.network(with_view.graphs)
    if fusion == "late":
        close(actual.items, expected.items + 0.3 * view(context), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(actual.items, expected.items)
    assert torch.equal(actual.views["Twins"], view(context))
    assert actual.views["knowledge"].shape == actual.views["Twins"].shape
    # What C_t adds to graphs of one's own: nothing, unless an entry says so.
    assert set(with_view.graphs.item_graphs) == {"Twins"}


def test_edges_that_a_view_drops_are_dropped_by_the_step_alone() -> None:
    built = world(replace(ALL_VIEWS, views=[Twins()], user_fusion=0.0))
    whole = built.network(built.graphs)
    first, again = (built.network(built.graphs, generator=generator(4)) for _ in range(2))
    assert torch.equal(first.items, again.items)
    assert not torch.allclose(first.views["Twins"], whole.views["Twins"])
    assert torch.equal(first.views["knowledge"], whole.views["knowledge"])


def injected(keep: float, shape: tuple[int, int], kind: str) -> None:
    class Entry(CorrelationEntry):
        def enters(self, target: Target) -> bool:
            return True

        def inject(self, target: Target, correlation: Edges) -> Injection:
            same = correlation.rows, correlation.columns, correlation.values
            return Injection(Edges(*same, shape), keep)

    CorrelationEntries([Entry()]).inject(Target(kind), correlation_of(N_ITEMS, seed=30))


def test_what_an_entry_must_not_give_is_refused() -> None:
    whole = (N_ITEMS, N_ITEMS)
    injected(0.5, whole, "modality")
    injected(1.0, whole, "interaction")
    for kind in ("interaction", "knowledge"):
        with pytest.raises(ConfigError, match=rf"Entry.inject keeps 0.5 of the {kind} graph"):
            injected(0.5, whole, kind)
    with pytest.raises(ConfigError, match=r"edges of shape \[70, 71\]"):
        injected(1.0, (N_ITEMS, N_ITEMS + 1), "modality")


class Forgetful(AttentiveFusion):
    def forward(self, views: Sequence[ItemView], context: ViewContext) -> FusedViews:
        fused = super().forward(views, context)
        return fused._replace(shares={"image": 1.0})


def test_a_fusion_that_does_not_say_what_a_view_counts_is_not_explained() -> None:
    built = world(replace(ALL_VIEWS, fusion=Forgetful()))
    with pytest.raises(ConfigError, match="Forgetful does not say what text, knowledge counts"):
        explain(built.network, built.graphs, 3, 5)


class Forgotten(Gated):
    learned = False


def test_edges_that_would_never_be_trained_are_refused() -> None:
    entries = CorrelationEntries([Forgotten()])
    entries.build(catalogue().correlation_data)
    with pytest.raises(ConfigError, match=r"Forgotten\.inject gave edges that depend"):
        entries.inject(Target("interaction"), correlation_of(N_ITEMS, seed=30))
