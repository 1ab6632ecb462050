"""Networks whose columns are shared out over processes, against the whole ones."""

import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.sparse.column_parallel import EmbeddingColumns, unit_rows
from slifmr_pl.losses.objective import LossConfig, Losses, Objective
from slifmr_pl.losses.terms import LossData
from slifmr_pl.nn.network import SlifMrNetwork
from slifmr_pl.nn.network_config import NetworkConfig
from tests.graphs.oracles import close
from tests.nn.catalogue import (
    ALL_VIEWS,
    CONFIGS,
    DIM,
    LIGHTGCN,
    MODALITIES,
    World,
    entries,
    features,
    world,
)
from tests.processes import in_process_group, in_processes

SOME_ROWS = torch.tensor([3, 7, 3]), torch.tensor([4, 69, 0]), torch.tensor([[9], [4], [1]])
ALL_ROWS = torch.arange(19), torch.arange(19) * 3, torch.arange(57).view(19, 3)
CASES = {
    "bpr, some rows": (LossConfig(alignment=0.7, l2=0.3), SOME_ROWS),
    "softmax, all rows": (
        LossConfig(ranking="softmax", alignment=0.7, alignment_pairs="all", l2=0.3),
        ALL_ROWS,
    ),
}


def own_columns() -> EmbeddingColumns:
    return EmbeddingColumns(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


def build(config: NetworkConfig) -> World:
    return world(config, learned=("text",))


def losses_and_gradients(
    built: World, loss: LossConfig, batch: tuple[Tensor, Tensor, Tensor]
) -> tuple[Losses, dict[str, Tensor]]:
    torch.manual_seed(5)  # of the projections
    objective = Objective(loss, LossData(built.graph, MODALITIES, DIM))
    objective.use_features(features())
    losses = objective(built.network, built.graphs, *batch)
    parameters = dict(built.network.named_parameters()) | dict(objective.named_parameters())
    gradients = torch.autograd.grad(losses.total, parameters.values())
    return losses, dict(zip(parameters, gradients, strict=True))


def named(case: str) -> Callable[[str], str]:
    return lambda text: f"{case}: {text}"


def compare_with_the_whole() -> int:
    columns, compared = own_columns(), 0
    for name, config in CONFIGS.items():
        whole, parts = build(config), build(config)
        parts.network.keep_columns(columns)
        for case, (loss, batch) in CASES.items():
            expected, gradients = losses_and_gradients(whole, loss, batch)
            losses, found_gradients = losses_and_gradients(parts, loss, batch)
            for term, other in expected.named().items():
                close(
                    losses.named()[term], other, rtol=1e-5, atol=1e-5, msg=named(f"{name}, {case}")
                )
            for parameter, gradient in gradients.items():
                if parameter in parts.network.column_parameters:
                    gradient = columns.own(gradient)
                message = named(f"{name}, {case}, {parameter}")
                close(found_gradients[parameter], gradient, rtol=1e-4, atol=1e-5, msg=message)
                compared += 1
        with torch.no_grad():
            expected_views = whole.network(whole.graphs)
            views = parts.network.gathered(parts.network(parts.graphs))
        for key, value in vars(expected_views).items():
            if isinstance(value, Tensor):
                close(getattr(views, key), value, msg=named(f"{name}, {key}"))
        for key, value in expected_views.views.items():
            close(views.views[key], value, msg=named(f"{name}, {key}"))
    return compared


@pytest.mark.parametrize("processes", [2, 3])
def test_losses_gradients_and_views_are_those_of_the_whole_network(processes: int) -> None:
    compared = in_processes(processes, in_process_group, compare_with_the_whole)
    assert len(set(compared)) == 1
    assert compared[0] > 80


def attention_of(built: World) -> Tensor:
    view = built.network.knowledge_view
    assert view is not None
    assert built.assembler.triples is not None
    return view.attention(
        built.assembler.triples, built.network.item_embedding, built.network.columns
    )


def attention_of_columns() -> list[float]:
    built = build(ALL_VIEWS)
    built.network.keep_columns(own_columns())
    attention: list[float] = attention_of(built).tolist()
    return attention


def test_knowledge_attention_looks_at_all_columns() -> None:
    expected = attention_of(build(ALL_VIEWS))
    first, second = in_processes(2, in_process_group, attention_of_columns)
    assert first == second
    close(torch.tensor(first), expected)


def gradient_of_zeros() -> bool:
    parts = torch.zeros(2, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(unit_rows(parts, own_columns()).sum(), parts)
    return bool(gradient.isfinite().all())


def test_rows_of_zeros_have_no_gradient_that_is_not_finite() -> None:
    assert in_processes(2, in_process_group, gradient_of_zeros) == [True, True]


def test_a_seed_gives_the_columns_of_the_whole_tables() -> None:
    whole = build(ALL_VIEWS)
    networks = []
    for columns in (EmbeddingColumns(), EmbeddingColumns(0, 2), EmbeddingColumns(1, 2)):
        torch.manual_seed(3)
        networks.append(
            SlifMrNetwork(whole.graph, whole.network.config, entries=entries(), columns=columns)
        )
    shared = networks[0].column_parameters
    assert len(shared) == 5  # users, items, a vector of what is missing, entities, relations
    expected, *halves = (dict(network.named_parameters()) for network in networks)
    for name, parameter in expected.items():
        if name in shared:
            assert torch.equal(torch.cat([half[name] for half in halves], dim=-1), parameter)
        else:
            assert all(torch.equal(half[name], parameter) for half in halves)


def test_columns_that_cannot_be_shared_out_evenly_are_refused() -> None:
    with pytest.raises(ConfigError, match=f"{DIM} embedding columns for 4 processes"):
        build(LIGHTGCN).network.keep_columns(EmbeddingColumns(0, 4))
    with pytest.raises(ConfigError, match="a multiple of 4"):
        SlifMrNetwork(build(LIGHTGCN).graph, LIGHTGCN, columns=EmbeddingColumns(0, 4))


def test_columns_that_were_dropped_do_not_come_back() -> None:
    network = build(LIGHTGCN).network
    network.keep_columns(EmbeddingColumns(0, 2))
    network.keep_columns(EmbeddingColumns(0, 2))
    with pytest.raises(ConfigError, match="columns of process 0 of 2"):
        network.keep_columns(EmbeddingColumns())
