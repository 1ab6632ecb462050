from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from slifmr_pl.nn.network import Representations
from slifmr_pl.nn.network_config import (
    FusionPlace,
    InteractionConfig,
    ModalityConfig,
    NetworkConfig,
)
from tests.graphs.oracles import close, dense, generator, interaction_matrix, normalised
from tests.nn.catalogue import (
    ALL_VIEWS,
    CONFIGS,
    GAMMA,
    LIGHTGCN,
    N_ENTITIES,
    N_ITEMS,
    N_USERS,
    World,
    catalogue,
    entries,
    features,
    world,
)

every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
USER_ROWS, ITEM_ROWS = torch.tensor([1, 3, N_USERS - 1]), torch.tensor([0, 2, 3, N_ITEMS - 1])


def tables(views: Representations) -> dict[str, Tensor]:
    named = {field.name: getattr(views, field.name) for field in fields(views)}
    named |= named.pop("views")
    return {name: table for name, table in named.items() if table is not None}


def functional(views: Representations, users: Tensor | None, items: Tensor | None) -> Tensor:
    """A random linear functional of the rows: its gradient differs for every row and column."""
    total = torch.zeros(())
    for seed, (name, table) in enumerate(tables(views).items()):
        rows = users if name.endswith("users") else items
        if name == "modality_attention":
            table = table.T
        if rows is not None and len(table) != len(rows):
            table = table[rows]
        total = total + (table * torch.randn(table.shape, generator=generator(seed))).sum()
    return total


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_lightgcn_configuration_equals_the_papers_matrix_formula(layers: int) -> None:
    config = replace(LIGHTGCN, interaction=InteractionConfig(layers=layers))
    built = world(config, correlation=False)
    network, graph = built.network, catalogue()
    assert set(dict(network.named_parameters())) == {"user_embedding", "item_embedding"}
    a = interaction_matrix(graph.users, graph.items, N_USERS, N_ITEMS)
    ego = torch.cat([network.user_embedding, network.item_embedding]).double()
    powers = [torch.linalg.matrix_power(a, power) @ ego for power in range(layers + 1)]
    expected = torch.stack(powers).mean(0)
    views = network(built.graphs)
    close(views.users.double(), expected[:N_USERS])
    close(views.items.double(), expected[N_USERS:])
    assert views.items is views.interaction
    assert views.knowledge is None
    assert views.modality_attention is None


def test_no_layers_are_plain_matrix_factorisation() -> None:
    built = world(CONFIGS["matrix factorisation"])
    views = built.network(built.graphs)
    assert torch.equal(views.users, built.network.user_embedding)
    assert torch.equal(views.items, built.network.item_embedding)


def dense_reference(built: World) -> tuple[Tensor, Tensor]:
    """u* and i* of a network with every view, from matrices written out; float64."""
    network, graph, config = built.network, catalogue(), built.network.config
    assert built.correlation is not None
    c = dense(built.correlation).double()
    parameter = {name: value.detach().double() for name, value in network.named_parameters()}
    e_items = parameter["item_embedding"]

    side = torch.zeros_like(e_items)
    views, scores = [], []
    for name, lists in graph.modalities.items():
        s = torch.zeros(N_ITEMS, N_ITEMS)
        for item, neighbours in enumerate(lists.indices.tolist()):
            s[item, [index for index in neighbours if index >= 0]] = 1.0
        s = normalised(torch.maximum(s, s.T))
        s = (1 - GAMMA) * s + GAMMA * c
        h = torch.linalg.matrix_power(s, config.modality.layers) @ e_items
        weight, bias, v = (
            parameter[f"fusion.modalities.score.{part}"]
            for part in ("0.weight", "0.bias", "2.weight")
        )
        score = (torch.tanh(h @ weight.T + bias) @ v.T).squeeze(1)
        views.append(h)
        scores.append(score.masked_fill(~graph.present[name], -torch.inf))
    attention = torch.stack(scores).softmax(0).nan_to_num(0.0)
    side += config.modality.weight * (attention.unsqueeze(2) * torch.stack(views)).sum(0)

    assert graph.triples is not None
    n_relations = graph.triples.n_relations
    g = torch.zeros(n_relations + 1, N_ENTITIES, N_ENTITIES, dtype=torch.float64)
    heads = graph.triples.heads.tolist()
    for h, r, t in zip(heads, graph.triples.relations, graph.triples.tails, strict=True):
        g[r, h, t] = 1 / heads.count(h)
    g[n_relations, :N_ITEMS, :N_ITEMS] = GAMMA * c
    e = torch.cat([e_items, parameter["views.2.entity_embedding"]])
    outputs = []
    for w in parameter["views.2.relation_weight"]:
        e = torch.einsum("rht,td,rd->hd", g, e, w)
        outputs.append(e[:N_ITEMS])
    view = torch.stack(outputs).mean(0)
    lengths = view.square().sum(1, keepdim=True).sqrt()
    side += config.knowledge.weight * view / lengths.where(lengths > 0, 1.0)

    early = config.fusion == "early"
    corner = GAMMA * c
    a = interaction_matrix(graph.users, graph.items, N_USERS, N_ITEMS, corner)
    ego = torch.cat([parameter["user_embedding"], e_items + early * side])
    powers = range(config.interaction.layers + 1)
    nodes = torch.stack([torch.linalg.matrix_power(a, power) @ ego for power in powers]).mean(0)
    users, items = nodes[:N_USERS], nodes[N_USERS:] + (not early) * side

    y = torch.zeros(N_USERS, N_ITEMS, dtype=torch.float64)
    y[graph.users, graph.items] = 1
    mean = (y / y.sum(1, keepdim=True).clamp_min(1)) @ items
    return users + config.user_fusion * mean, items


@pytest.mark.parametrize("fusion", ["late", "early"])
def test_all_views_together_equal_the_dense_formula(fusion: FusionPlace) -> None:
    built = world(replace(ALL_VIEWS, fusion=fusion))
    users, items = dense_reference(built)
    views = built.network(built.graphs)
    close(views.users.double(), users, rtol=1e-4, atol=1e-5)
    close(views.items.double(), items, rtol=1e-4, atol=1e-5)


@every_config
@pytest.mark.parametrize(
    ("users", "items"),
    [
        (USER_ROWS, ITEM_ROWS),
        (torch.tensor([5, 5, 0]), torch.tensor([7, 0, 7])),
        (USER_ROWS[:0], ITEM_ROWS[:0]),
    ],
    ids=["sorted", "repeated", "none"],
)
def test_wanted_rows_equal_the_full_forward_indexed_with_its_gradients(
    config: NetworkConfig, users: Tensor, items: Tensor
) -> None:
    built = world(config)
    parameters = dict(built.network.named_parameters())
    full = built.network(built.graphs)
    part = built.network(built.graphs, users, items)
    expected, actual = tables(full), tables(part)
    assert actual.keys() == expected.keys()
    for name, table in actual.items():
        if name == "modality_attention":
            close(table, expected[name][:, items])
        else:
            close(table, expected[name][users if name.endswith("users") else items])
    wanted = torch.autograd.grad(functional(full, users, items), parameters.values())
    gradients = torch.autograd.grad(functional(part, users, items), parameters.values())
    for name, a, b in zip(parameters, gradients, wanted, strict=True):
        close(a, b, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


@every_config
def test_switched_off_views_leave_no_parameters(config: NetworkConfig) -> None:
    names = {name for name, _ in world(config).network.named_parameters()}
    assert any(name.startswith("fusion") for name in names) == (
        config.modality.enabled and config.modality.attention
    )
    for table in ("relation_weight", "entity_embedding"):
        assert any(name.endswith(table) for name in names) == config.knowledge.enabled


@pytest.mark.parametrize("attention", [True, False])
def test_item_without_any_modality_gets_a_modality_view_of_zero(attention: bool) -> None:
    config = replace(LIGHTGCN, modality=ModalityConfig(weight=5.0, attention=attention))
    built = world(config)  # with a correlation graph, which has edges for item 0 too
    views = built.network(built.graphs)
    assert built.correlation is not None
    assert (built.correlation.rows == 0).any()
    assert torch.equal(views.items[0], views.interaction[0])
    assert not torch.equal(views.items[3], views.interaction[3])


def test_attention_is_zero_exactly_where_a_modality_is_missing() -> None:
    built = world(CONFIGS["modality"])
    attention = built.network(built.graphs).modality_attention
    present = torch.stack([feature.present for feature in features().values()])
    assert torch.equal(attention > 0, present)
    close(attention.sum(0), present.any(0).float())


def test_learned_vector_is_the_view_of_all_items_that_lack_a_modality() -> None:
    built = world(CONFIGS["modality"], learned=("text",))
    network, masked = built.network, world(CONFIGS["modality"])
    text = network.modality_views[1]
    assert text.name == "text"
    assert text.missing is not None
    with torch.no_grad():
        masked.network.item_embedding.copy_(network.item_embedding)
    view = text(network.context(built.graphs))
    plain = masked.network.modality_views[1](masked.network.context(masked.graphs))
    present = features()["text"].present
    assert torch.equal(view[~present], text.missing.expand(2, -1))
    assert torch.equal(view[present], plain[present])
    assert not torch.equal(plain[~present], view[~present])
    views = network(built.graphs)
    assert views.modality_attention is not None
    assert (views.modality_attention[1] > 0).all()  # an item that lacks it counts, too
    assert (views.modality_attention[0] > 0).equal(features()["image"].present)
    (gradient,) = torch.autograd.grad(views.items.square().sum(), [text.missing])
    assert (gradient != 0).all()


def test_relations_start_by_passing_their_tails_on() -> None:
    built = world(CONFIGS["knowledge"])
    fresh = type(built.network)(built.graph, built.network.config, entries=entries())
    view = fresh.knowledge_view
    assert view is not None
    assert torch.equal(view.relation_weight, torch.ones_like(view.relation_weight))
    assert len(view.entity_embedding) == N_ENTITIES - N_ITEMS
    items = fresh.item_embedding
    assert torch.equal(view.entities(items), torch.cat([items, view.entity_embedding]))
