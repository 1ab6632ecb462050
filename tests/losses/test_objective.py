from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from slifmr_pl.errors import ConfigError
from slifmr_pl.losses.context import LossContext
from slifmr_pl.losses.objective import LossConfig, Losses, Objective
from slifmr_pl.losses.terms import Alignment, EmbeddingL2, LossData, LossTerm
from slifmr_pl.nn.network import SlifMrNetwork
from slifmr_pl.nn.network_config import NetworkConfig
from tests.graphs.oracles import close, generator
from tests.nn.catalogue import (
    ALL_VIEWS,
    CONFIGS,
    LIGHTGCN,
    MODALITIES,
    World,
    features,
    world,
)

# Weights at which no term of the objective hides behind another.
WEIGHTS = LossConfig(alignment=0.7, l2=0.3)
LOSSES = {
    "bpr": WEIGHTS,
    "softmax": replace(WEIGHTS, ranking="softmax", ranking_temperature=0.5),
    "all pairs": replace(WEIGHTS, alignment_pairs="all", alignment_temperature=0.6),
    "ranking alone": LossConfig(alignment=0.0, l2=0.0),
}
every_loss = pytest.mark.parametrize("config", LOSSES.values(), ids=LOSSES)
every_network = pytest.mark.parametrize("network", CONFIGS.values(), ids=CONFIGS)


USERS = torch.tensor([13, 1, 19, 4, 9])
ITEMS = torch.tensor([0, 30, 68, 11, 1, 2, 45, 31, 69])  # 0, 1 and 2 lack modalities


class Batch(NamedTuple):
    """Users [B], positives [B] and negatives [B, n]."""

    users: Tensor
    positives: Tensor
    negatives: Tensor

    def take(self, rows: Tensor) -> "Batch":
        return Batch(*(part[rows] for part in self))


def batch(size: int, n: int, seed: int = 0) -> Batch:
    """Few users and items, far apart and repeated: also as positive here and negative there."""
    rng = generator(seed)
    return Batch(
        USERS[torch.randint(5, (size,), generator=rng)],
        ITEMS[torch.randint(6, (size,), generator=rng)],
        ITEMS[torch.randint(9, (size, n), generator=rng)],
    )


def build(network: NetworkConfig, config: LossConfig = WEIGHTS) -> "Built":
    built = world(network)
    return Built(built, objective(built, config))


class Built(NamedTuple):
    """A network and its objective."""

    world: World
    objective: Objective

    @property
    def network(self) -> SlifMrNetwork:
        return self.world.network


def objective(built: World, config: LossConfig) -> Objective:
    """With random parameters that have no two entries alike."""
    made = Objective(config, LossData(built.graph, MODALITIES, LIGHTGCN.embedding_dim))
    rng = generator(40)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng))
    made.use_features(features())
    return made


def compute(
    built: Built,
    rows: Batch,
    divisor: float | None = None,
    aligned: Tensor | None = None,
) -> tuple[Losses, tuple[bool, bool]]:
    """The losses, and whether only the batch's own users were asked for, and its own items."""
    asked = []
    handle = built.network.register_forward_pre_hook(lambda _, given: asked.append(given[1:3]))
    losses = built.objective(built.network, built.world.graphs, *rows, divisor, aligned)
    handle.remove()
    ((users, items),) = asked
    return losses, (users is not None, items is not None)


def gradients(built: Built, loss: Tensor) -> dict[str, Tensor | None]:
    parameters = dict(built.network.named_parameters()) | dict(built.objective.named_parameters())
    values = torch.autograd.grad(loss, parameters.values(), allow_unused=True)
    return dict(zip(parameters, values, strict=True))


def assert_same_gradients(
    found: Mapping[str, Tensor | None], expected: Mapping[str, Tensor | None]
) -> None:
    """A parameter that the reference does not touch may have a gradient of zero."""
    for name, gradient in expected.items():
        other = found[name]
        assert other is not None, name
        gradient = torch.zeros_like(other) if gradient is None else gradient
        close(other, gradient, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b) / (a.norm() * b.norm())


def slow_info_nce(pairs: list[tuple[Tensor, Tensor]], temperature: float) -> Tensor:
    """Symmetric InfoNCE, one anchor at a time."""
    if len(pairs) < 2:
        return torch.zeros(())
    total = torch.zeros(())
    for own, (a, b) in enumerate(pairs):
        to_b = torch.stack([cosine(a, other) / temperature for _, other in pairs])
        to_a = torch.stack([cosine(b, other) / temperature for other, _ in pairs])
        total = total - to_b.log_softmax(0)[own] / 2 - to_a.log_softmax(0)[own] / 2
    return total / len(pairs)


def slow_alignment(built: Built, config: LossConfig, positives: Tensor) -> Tensor:
    """L_sc over the different positives: views as lists {item: vector} of what is there."""
    network = built.network
    full = network(built.world.graphs)
    items = sorted(set(positives.tolist()))
    views: list[dict[int, Tensor]] = [{item: full.interaction[item] for item in items}]
    if full.knowledge is not None:
        views.append({item: full.knowledge[item] for item in items})
    projections = next(
        (term.projections for term in built.objective.all_terms if isinstance(term, Alignment)), {}
    )
    for name, (values, present) in features().items():
        if name in projections:
            layer = projections[name]
            views.append(
                {
                    item: layer.weight @ (values[item] / values[item].norm()) + layer.bias
                    for item in items
                    if present[item]
                }
            )
    chosen = combinations(views, 2)
    if config.alignment_pairs == "anchor":
        chosen = iter([(views[0], other) for other in views[1:]])
    losses = [
        slow_info_nce(
            [(a[item], b[item]) for item in items if item in a and item in b],
            config.alignment_temperature,
        )
        for a, b in chosen
    ]
    return torch.stack(losses).mean() if losses else torch.zeros(())


def slow_losses(built: Built, config: LossConfig, rows: Batch) -> Losses:
    """The objective, one row and one negative at a time."""
    full = built.network(built.world.graphs)
    ego_users, ego_items = built.network.user_embedding, built.network.item_embedding
    ranking, l2 = torch.zeros(()), torch.zeros(())
    for user, positive, negatives in zip(*rows, strict=True):
        score = full.users[user] @ full.items[positive]
        others = torch.stack([full.users[user] @ full.items[item] for item in negatives])
        if config.ranking == "bpr":
            ranking = ranking - torch.sigmoid(score - others).log().mean()
        else:
            logits = torch.cat([score.unsqueeze(0), others]) / config.ranking_temperature
            ranking = ranking - logits.log_softmax(0)[0]
        l2 = l2 + ego_users[user].square().sum() / 2 + ego_items[positive].square().sum() / 2
        for item in negatives:
            l2 = l2 + ego_items[item].square().sum() / 2 / len(negatives)
    ranking, l2 = ranking / len(rows.users), l2 / len(rows.users)
    terms = {"ranking": ranking, "l2": l2}
    total = ranking + config.l2 * l2
    if config.alignment > 0:
        terms["alignment"] = slow_alignment(built, config, rows.positives)
        total = total + config.alignment * terms["alignment"]
    return Losses(total, terms)


@every_loss
@pytest.mark.parametrize("network", [ALL_VIEWS, LIGHTGCN], ids=["all views", "interaction"])
@pytest.mark.parametrize(
    ("size", "n", "restricted"),
    [
        (4, 5, (True, True)),  # at most 4 of 20 users and 24 of 70 items
        (12, 1, (False, True)),
        (9, 5, (True, False)),
        (18, 1, (False, False)),
    ],
)
def test_losses_and_gradients_equal_a_loop_over_rows(
    config: LossConfig, network: NetworkConfig, size: int, n: int, restricted: tuple[bool, bool]
) -> None:
    built, rows = build(network, config), batch(size, n)
    losses, was_restricted = compute(built, rows)
    assert was_restricted == restricted
    expected = slow_losses(built, config, rows)
    assert losses.terms.keys() == expected.terms.keys()
    for name, value in expected.named().items():
        actual = losses.named()[name]
        close(actual, value, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    assert ("alignment" in losses.terms) == (config.alignment > 0)
    assert_same_gradients(gradients(built, losses.total), gradients(built, expected.total))


@every_network
@pytest.mark.parametrize("n", [1, 5])
def test_all_rows_and_rows_of_the_batch_give_the_same(network: NetworkConfig, n: int) -> None:
    built, rows = build(network), batch(4, n)
    # A batch that holds every row four times has the same means, and too many rows to select.
    repeated = rows.take(torch.arange(4).repeat(4))
    few, few_restricted = compute(built, rows)
    many, many_restricted = compute(built, repeated)
    assert few_restricted == (True, True)
    assert many_restricted == (False, n == 1)
    for name, expected in many.named().items():
        close(few.named()[name], expected)
    assert_same_gradients(gradients(built, few.total), gradients(built, many.total))


@every_network
@every_loss
@pytest.mark.parametrize("positives", ["mixed", "no modality", "one modality"])
def test_every_parameter_gets_a_gradient_in_every_step(
    network: NetworkConfig, config: LossConfig, positives: str
) -> None:
    built, rows = build(network, config), batch(4, 2)
    if positives != "mixed":
        item = {"no modality": 0, "one modality": 1}[positives]
        rows = rows._replace(positives=torch.full_like(rows.positives, item))
    losses, _ = compute(built, rows)
    for name, gradient in gradients(built, losses.total).items():
        assert gradient is not None, name
        assert gradient.isfinite().all(), name


@every_network
@every_loss
def test_empty_slice_costs_nothing_and_still_has_gradients(
    network: NetworkConfig, config: LossConfig
) -> None:
    built = build(network, config)
    losses, _ = compute(built, batch(0, 3), divisor=2.0)
    assert not any(loss.item() for loss in losses.named().values())
    for name, gradient in gradients(built, losses.total).items():
        assert gradient is not None, name
        assert not gradient.any(), name


@every_loss
@pytest.mark.parametrize("cuts", [(4,), (1,), (0,), (2, 2), (3, 8)], ids=str)
@pytest.mark.parametrize("size", [9, 18])  # some rows of the tables are wanted, or all
def test_losses_and_gradients_of_uneven_slices_average_to_those_of_the_batch(
    config: LossConfig, cuts: tuple[int, ...], size: int
) -> None:
    built, rows = build(ALL_VIEWS, config), batch(size, 5)
    whole, _ = compute(built, rows)
    parts = [rows.take(part) for part in torch.arange(size).tensor_split(cuts)]
    slices = [
        compute(built, part, divisor=size / len(parts), aligned=rows.positives)[0] for part in parts
    ]
    for name, value in whole.named().items():
        mean = sum(one.named()[name] for one in slices) / len(parts)
        close(mean, value, rtol=1e-4, atol=1e-5)
    of_slices = [gradients(built, one.total) for one in slices]
    average = {name: sum(one[name] for one in of_slices) / len(parts) for name in of_slices[0]}
    assert_same_gradients(average, gradients(built, whole.total))


def test_items_to_align_that_are_not_in_the_slice_are_asked_for() -> None:
    built, rows = build(LIGHTGCN), batch(1, 1)
    asked = []
    built.network.register_forward_pre_hook(lambda _, given: asked.append(given[2]))
    aligned = torch.tensor([68, 11, 11])
    compute(built, rows, None, aligned)
    expected = torch.cat([rows.positives, rows.negatives.flatten(), aligned]).unique()
    assert torch.equal(asked[0], expected)
    without = objective(built.world, replace(WEIGHTS, alignment=0.0))
    without(built.network, built.world.graphs, *rows, None, aligned)
    assert torch.equal(asked[1], torch.cat([rows.positives, rows.negatives.flatten()]).unique())


def test_l2_counts_a_rows_negatives_together_once() -> None:
    built = build(LIGHTGCN)
    users, items = built.network.user_embedding, built.network.item_embedding
    rows = Batch(torch.tensor([3]), torch.tensor([1]), torch.tensor([[2, 2, 5, 7]]))
    losses, _ = compute(built, rows)
    squares = items.square().sum(1)
    negatives = (2 * squares[2] + squares[5] + squares[7]) / 4
    close(losses.terms["l2"], (users[3].square().sum() + squares[1] + negatives) / 2)


def test_alignment_counts_an_item_once_however_often_it_is_a_positive() -> None:
    built, rows = build(ALL_VIEWS), batch(4, 1)
    rows = rows._replace(positives=torch.tensor([3, 4, 5, 6]))
    losses, _ = compute(built, rows)
    again, _ = compute(built, rows.take(torch.tensor([0, 0, 0, 1, 2, 3, 3])))
    assert losses.terms["alignment"] > 0
    close(again.terms["alignment"], losses.terms["alignment"])


def test_features_of_missing_modalities_do_not_matter() -> None:
    built, rows = build(ALL_VIEWS), batch(9, 1)
    given = features()
    assert any(not given[name].present[rows.positives].all() for name in given)
    changed = {
        name: feature._replace(
            values=torch.where(feature.present.unsqueeze(1), feature.values, 1000.0)
        )
        for name, feature in given.items()
    }
    losses = []
    for values in (given, changed):
        built.objective.use_features(values)
        losses.append(compute(built, rows)[0])
    assert torch.equal(losses[0].total, losses[1].total)
    first, second = (gradients(built, loss.total) for loss in losses)
    for name, gradient in first.items():
        assert torch.equal(gradient, second[name]), name


def test_alignment_without_a_second_view_is_zero() -> None:
    built = world(LIGHTGCN)
    alone = Objective(WEIGHTS, LossData(built.graph, {}, LIGHTGCN.embedding_dim))
    losses = alone(built.network, built.graphs, *batch(4, 1))
    assert losses.terms["alignment"] == 0


def test_parts_are_reported_unweighted_and_detached() -> None:
    losses, _ = compute(build(ALL_VIEWS), batch(4, 1))
    close(
        losses.total,
        losses.terms["ranking"]
        + WEIGHTS.alignment * losses.terms["alignment"]
        + WEIGHTS.l2 * losses.terms["l2"],
    )
    assert losses.total.requires_grad
    assert not any(term.requires_grad for term in losses.terms.values())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ranking", "hinge"),
        ("ranking_temperature", 0.0),
        ("alignment", -0.1),
        ("alignment", float("nan")),
        ("alignment_temperature", -1.0),
        ("alignment_pairs", "none"),
        ("l2", -1e-4),
        ("alignment_items", 1),
    ],
)
def test_values_that_no_objective_can_have_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"loss\.{name} is {value!r}"):
        LossConfig(**{name: value})


class Curious(LossTerm):
    def forward(self, batch: LossContext) -> Tensor:
        return batch.contrast(*list(batch.views().values())[:2], 0.2)


def test_a_term_that_looks_at_views_has_to_say_so() -> None:
    built = build(ALL_VIEWS)
    asks = objective(built.world, replace(WEIGHTS, alignment=0.0, terms=[Curious()]))
    with pytest.raises(ConfigError, match="no term sets `aligns`"):
        asks(built.network, built.world.graphs, *batch(4, 1))


class Nosy(LossTerm):
    aligns = True

    def forward(self, batch: LossContext) -> Tensor:
        return batch.features("sound").vectors.sum()


def test_features_of_a_modality_that_is_not_there_are_named() -> None:
    built = build(ALL_VIEWS)
    asks = objective(built.world, replace(WEIGHTS, alignment=0.0, terms=[Nosy()]))
    with pytest.raises(ConfigError, match="asks for features of sound"):
        asks(built.network, built.world.graphs, *batch(4, 1))


def test_names_of_terms_are_compared_before_anything_is_built() -> None:
    with pytest.raises(ConfigError, match="ranking, alignment, l2, l2"):
        LossConfig(terms=[EmbeddingL2()])


@pytest.mark.parametrize("most", [2, 5, 100, None])
def test_as_many_positives_are_aligned_as_the_configuration_says(most: int | None) -> None:
    config = replace(WEIGHTS, alignment_items=most)
    built, rows = build(ALL_VIEWS, config), batch(9, 1)
    losses, _ = compute(built, rows)
    close(losses.terms["alignment"], slow_alignment(built, config, rows.positives[:most]))
    whole = torch.cat([rows.positives, torch.tensor([68, 11])])
    again, _ = compute(built, rows, None, whole)
    close(again.terms["alignment"], slow_alignment(built, config, whole[:most]))


class Witness(LossTerm):
    """Notes what its scores were computed by."""

    seen: list[str]

    def forward(self, batch: LossContext) -> Tensor:
        node = batch.positive_scores.grad_fn
        while node is not None and node.name() in ("SliceBackward0", "SelectBackward0"):
            node = node.next_functions[0][0]
        assert node is not None
        type(self).seen.append(node.name())
        return batch.mean(batch.positive_scores)


def test_the_reference_scores_in_ordinary_autograd() -> None:
    rows = batch(9, 3)
    Witness.seen = []
    config = replace(WEIGHTS, terms=[Witness()])
    fused, plain = (
        build(replace(ALL_VIEWS, propagation=mode), config) for mode in ("fused", "reference")
    )
    fused_losses, _ = compute(fused, rows)
    plain_losses, _ = compute(plain, rows)
    close(plain_losses.total, fused_losses.total)
    assert_same_gradients(
        gradients(plain, plain_losses.total), gradients(fused, fused_losses.total)
    )
    assert Witness.seen == ["_RowScoresBackward", "SumBackward1"]
