import logging
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from slifmr_pl.errors import ConfigError, DivergenceError
from slifmr_pl.graphs.correlation import (
    CorrelationBuilder,
    CorrelationData,
    IntoInteractions,
    IntoKnowledge,
    IntoModalities,
)
from slifmr_pl.graphs.neighbours import Neighbours, NeighbourSearch
from slifmr_pl.nn.self_loop import SelfLoop, SelfLoopConfig
from tests.graphs.oracles import close, dense, generator, normalised

N_ITEMS, DIM = 9, 4


def data(n_items: int) -> CorrelationData:
    return CorrelationData(n_items, torch.ones(n_items, dtype=torch.int64))


CONFIG = SelfLoopConfig(neighbours=3)
DATA = data(N_ITEMS)


def items(seed: int) -> Tensor:
    return torch.randn(N_ITEMS, DIM, generator=generator(seed))


def attention(seed: int) -> Tensor:
    return torch.rand(6, generator=generator(seed))


def buffers(loop: SelfLoop) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in loop.named_buffers()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def reference_lists(features: Tensor, k: int) -> list[dict[int, float]]:
    """The k most similar other items, only those of positive similarity; brute force."""
    unit = features.double() / features.double().norm(dim=1, keepdim=True)
    lists = []
    for i in range(len(features)):
        others = [j for j in range(len(features)) if j != i]
        nearest = sorted(((float(unit[i] @ unit[j]), j) for j in others), reverse=True)[:k]
        lists.append({j: value for value, j in nearest if value > 0})
    return lists


def reference_graph(lists: list[dict[int, float]], *, weighted: bool) -> Tensor:
    matrix = torch.zeros(len(lists), len(lists), dtype=torch.float64)
    for i, row in enumerate(lists):
        for j, value in row.items():
            matrix[i, j] = value if weighted else 1.0
    return normalised(torch.maximum(matrix, matrix.T))


def test_starts_without_edges_and_with_the_attention_given() -> None:
    loop = SelfLoop(CONFIG, DATA, DIM, attention(0))
    assert len(loop.correlation()) == 0
    assert torch.equal(loop.attention(), attention(0))
    assert SelfLoop(CONFIG, DATA, DIM).attention() is None


def test_update_writes_only_what_is_next() -> None:
    loop = SelfLoop(CONFIG, DATA, DIM, attention(0))
    before = buffers(loop)
    loop.build_next(0, items(1), attention(1))
    assert changed(before, buffers(loop)) == {
        "next_neighbours",
        "next_weights",
        "next_attention",
        "feedback",
        "updates",
    }
    assert len(loop.correlation()) == 0
    assert torch.equal(loop.attention(), attention(0))


def test_swap_makes_the_next_graph_current_and_twice_is_once() -> None:
    loop = SelfLoop(CONFIG, DATA, DIM, attention(0))
    loop.build_next(0, items(1), attention(1))
    prepared = buffers(loop)
    loop.promote_next()
    once = buffers(loop)
    assert changed(prepared, once) == {
        "current_neighbours",
        "current_weights",
        "current_attention",
    }
    for name in ("neighbours", "weights", "attention"):
        assert torch.equal(once[f"current_{name}"], prepared[f"next_{name}"])
    loop.promote_next()
    assert not changed(once, buffers(loop))
    # The two do not share memory: the next update leaves the current graph alone.
    current = loop.correlation()
    loop.build_next(1, items(2), attention(2))
    assert torch.equal(dense(loop.correlation()), dense(current))


def test_search_of_the_neighbours_is_as_configured(caplog: pytest.LogCaptureFixture) -> None:
    config = replace(CONFIG, search=NeighbourSearch("approximate", recall=1.0))
    actual, expected = SelfLoop(config, DATA, DIM), SelfLoop(CONFIG, DATA, DIM)
    expected.build_next(0, items(1), None)
    with caplog.at_level(logging.INFO, logger="slifmr_pl"):
        actual.build_next(0, items(1), None)
    assert "approximate" in caplog.text
    assert torch.equal(actual.next_neighbours, expected.next_neighbours)


@pytest.mark.parametrize("weighted", [False, True])
def test_correlation_graph_equals_brute_force(weighted: bool) -> None:
    loop = SelfLoop(replace(CONFIG, weighted=weighted), DATA, DIM)
    loop.build_next(0, items(1), None)
    loop.promote_next()
    lists = reference_lists(items(1), CONFIG.neighbours)
    close(dense(loop.correlation()).double(), reference_graph(lists, weighted=weighted))


def test_feedback_is_the_moving_average_of_the_items() -> None:
    loop = SelfLoop(replace(CONFIG, momentum=0.75), data(2), 1)
    for epoch, (value, expected) in enumerate([(4.0, 4.0), (8.0, 5.0), (-3.0, 3.0)]):
        loop.build_next(epoch, torch.tensor([[value], [2 * value]]), None)
        assert loop.feedback.flatten().tolist() == [expected, 2 * expected]
        assert int(loop.updates) == epoch + 1


def test_graph_is_built_from_the_feedback_not_from_the_items_of_one_epoch() -> None:
    loop = SelfLoop(replace(CONFIG, momentum=0.5), DATA, DIM)
    loop.build_next(0, items(1), None)
    loop.build_next(1, items(2), None)
    loop.promote_next()
    lists = reference_lists((items(1) + items(2)) / 2, CONFIG.neighbours)
    assert lists != reference_lists(items(2), CONFIG.neighbours)
    close(dense(loop.correlation()).double(), reference_graph(lists, weighted=False))


@pytest.mark.parametrize(
    ("warmup", "period", "expected"),
    [
        (1, 1, [1, 2, 3, 4, 5, 6, 7]),  # first epochs that propagate over a new graph
        (3, 1, [3, 4, 5, 6, 7]),
        (1, 3, [1, 4, 7]),
        (2, 4, [2, 6]),
    ],
)
def test_graph_changes_from_warmup_on_once_a_period(
    warmup: int, period: int, expected: list[int]
) -> None:
    config = replace(CONFIG, warmup=warmup, period=period, momentum=0.0)
    loop = SelfLoop(config, DATA, DIM, attention(0))
    renewed, announced = [], []
    for epoch in range(8):
        before = loop.current_neighbours.clone()
        loop.promote_next()
        if not torch.equal(before, loop.current_neighbours):
            renewed.append(epoch)
        assert (len(loop.correlation()) > 0) == (epoch >= warmup)
        if loop.build_next(epoch, items(epoch), attention(epoch)) is not None:
            announced.append(epoch + 1)
        # Feedback and attention go on between rebuilds.
        assert int(loop.updates) == epoch + 1
        assert torch.equal(loop.feedback, items(epoch))
        assert torch.equal(loop.next_attention, attention(epoch))
    assert renewed == expected
    assert [epoch for epoch in announced if epoch < 8] == expected


def test_state_dict_restores_every_bit_and_training_goes_on_alike() -> None:
    loop = SelfLoop(CONFIG, DATA, DIM, attention(0))
    loop.build_next(0, items(1), attention(1))
    loop.promote_next()
    loop.build_next(1, items(2), attention(2))
    again = SelfLoop(CONFIG, DATA, DIM, attention(7))
    again.load_state_dict({name: value.clone() for name, value in loop.state_dict().items()})
    assert set(loop.state_dict()) == set(buffers(loop))
    for _ in range(2):
        assert not changed(buffers(loop), buffers(again))
        assert torch.equal(dense(loop.correlation()), dense(again.correlation()))
        for one in (loop, again):
            one.promote_next()
            one.build_next(2, items(3), attention(3))
    assert not any(buffer.layout != torch.strided for buffer in buffers(loop).values())


def test_statistics_equal_brute_force() -> None:
    loop = SelfLoop(replace(CONFIG, momentum=0.0), DATA, DIM)
    edges: list[set[tuple[int, int]]] = [set()]
    for epoch in range(2):
        features = items(epoch)
        lists = reference_lists(features, CONFIG.neighbours)
        pairs = {(i, j) for i, row in enumerate(lists) for j in row}
        edges.append(pairs | {(j, i) for i, j in pairs})
        statistics = loop.build_next(epoch, features, None)
        assert statistics is not None
        similarities = [value for row in lists for value in row.values()]
        assert statistics.edges == len(edges[-1])
        assert statistics.overlap == pytest.approx(
            len(edges[-1] & edges[-2]) / len(edges[-1] | edges[-2])
        )
        assert statistics.similarity == pytest.approx(sum(similarities) / len(similarities))
    assert 0 < statistics.overlap < 1


def test_unchanged_items_give_an_overlap_of_one() -> None:
    loop = SelfLoop(CONFIG, DATA, DIM)
    loop.build_next(0, items(1), None)
    statistics = loop.build_next(1, items(1), None)
    assert statistics is not None
    assert statistics.overlap == 1


def test_items_that_are_all_opposite_give_no_edges() -> None:
    loop = SelfLoop(CONFIG, data(2), 1)
    statistics = loop.build_next(0, torch.tensor([[1.0], [-1.0]]), None)
    assert statistics is not None
    assert (statistics.edges, statistics.overlap, statistics.similarity) == (0, 1, 0)
    loop.promote_next()
    assert len(loop.correlation()) == 0


def test_without_a_loop_attention_is_refreshed_and_there_is_no_graph() -> None:
    loop = SelfLoop(replace(CONFIG, enabled=False), DATA, DIM, attention(0))
    assert loop.correlation() is None
    assert loop.config.all_entries == []
    assert loop.build_next(0, None, attention(1)) is None
    loop.promote_next()
    assert torch.equal(loop.attention(), attention(1))
    for name, buffer in loop.named_buffers():
        assert buffer.numel() == 0 or "attention" in name or (name == "updates" and buffer == 0)


def test_entries_of_a_loop_that_is_on_are_made_of_its_gammas() -> None:
    config = SelfLoopConfig(gamma_interaction=0.1, gamma_modality=0.2, gamma_knowledge=0.5)
    expected = [IntoInteractions(0.1), IntoModalities(0.2), IntoKnowledge(0.5)]
    assert [e.settings for e in config.all_entries] == [e.settings for e in expected]


def test_update_leaves_no_gradient_history() -> None:
    loop = SelfLoop(CONFIG, DATA, DIM)
    loop.build_next(0, items(1).requires_grad_(), None)
    assert not loop.feedback.requires_grad
    assert not loop.next_weights.requires_grad


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("neighbours", 0),
        ("gamma_interaction", -0.1),
        ("gamma_modality", -0.1),
        ("gamma_modality", 1.1),
        ("gamma_knowledge", -0.1),
        ("gamma_knowledge", float("nan")),
        ("momentum", 1.0),
        ("momentum", -0.1),
        ("warmup", 0),
        ("period", 0),
        ("least_support", -1),
    ],
)
def test_values_that_no_loop_can_have_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"self_loop\.{name} is {value}"):
        SelfLoopConfig(**{name: value})


def test_diverged_training_is_named_as_such() -> None:
    loop = SelfLoop(SelfLoopConfig(neighbours=2), data(4), dim=3)
    with pytest.raises(DivergenceError, match="diverged"):
        loop.build_next(0, torch.full((4, 3), torch.nan), None)
    assert (loop.next_neighbours == -1).all()


class Unsized(CorrelationBuilder):
    def build(self, representations: Tensor, data: CorrelationData) -> Neighbours:
        raise NotImplementedError


class Sized(Unsized):
    def __init__(self, neighbours: int = 3) -> None:
        self.neighbours = neighbours


def test_a_builder_is_made_anew_and_says_how_many_neighbours_it_gives() -> None:
    given = Sized()
    loop = SelfLoop(SelfLoopConfig(builder=given), data(6), dim=3)
    assert loop.builder is not given
    assert loop.current_neighbours.shape == (6, 3)
    for wrong in (Unsized(), Sized(0)):
        with pytest.raises(ConfigError, match=r"neighbours is (None|0)"):
            SelfLoop(SelfLoopConfig(builder=wrong), data(6), dim=3)


def test_items_without_support_have_no_part_in_the_graph() -> None:
    features = items(3)
    support = torch.tensor([0, 4, 1, 0, 2, 9, 3, 1, 5])
    for least in (0, 1, 3):
        loop = SelfLoop(replace(CONFIG, least_support=least), CorrelationData(9, support), DIM)
        loop.build_next(0, features, None)
        kept = (support >= least).nonzero().flatten()
        lists = reference_lists(features[kept], CONFIG.neighbours)
        expected = {
            int(kept[i]): {int(kept[j]) for j in found} for i, found in enumerate(lists) if found
        }
        found = {
            i: set(row[row >= 0].tolist())
            for i, row in enumerate(loop.next_neighbours)
            if (row >= 0).any()
        }
        assert found == expected
