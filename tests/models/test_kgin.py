from dataclasses import replace
from itertools import combinations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.triples import DirectedTriples
from slifmr_pl.losses.dependence import distance_correlation
from slifmr_pl.models.kgin import Kgin
from tests.models.references import (
    ITEMS,
    MATRIX,
    assert_loss_and_gradients,
    assert_scores,
    bpr,
    small_batch,
    spread,
    squares,
)
from tests.models.tiny import inputs_of_matrix

# Eight items and three more entities; entity 10 has no fact.
FACTS = [(0, 0, 8), (1, 0, 8), (1, 1, 9), (2, 1, 9), (3, 0, 9), (7, 1, 8), (4, 0, 5)]


def new_model(**settings: object) -> Kgin:
    heads, relations, tails = torch.tensor(FACTS).T
    triples = DirectedTriples.bidirectional(heads, relations, tails, 11, 2)
    inputs = inputs_of_matrix(MATRIX.double().numpy())
    options = {"layers": 3, "intents": 3, "independence": 0.4, "l2": 0.3, "dropout": 0.0}
    model = Kgin(4, **{**options, **settings})  # type: ignore[arg-type]
    model.connect(replace(inputs, graph=replace(inputs.graph, triples=triples)))
    spread(model)
    return model


def vectors(model: Kgin) -> tuple[Tensor, Tensor]:
    """Section 3, fact by fact and user by user."""
    entities = torch.cat([model.items, model.entities])
    users, own = model.users, model.users
    intents = [row.softmax(0) @ model.relations for row in model.intent_logits]
    both_ways = [*FACTS, *((tail, relation + 2, head) for head, relation, tail in FACTS)]
    total_users, total_items = users, model.items
    for _ in range(3):
        next_users = []
        for user in range(len(users)):
            asking = users[user] if model.follows_code else own[user]
            keys = intents if model.keys is None else model.keys
            shares = torch.stack([key @ asking for key in keys]).softmax(0)
            mixed = sum(share * intent for share, intent in zip(shares, intents, strict=True))
            mean = entities[:ITEMS][MATRIX[user] > 0].mean(0)
            next_users.append(mixed * mean + mean if model.follows_code else mixed * mean)
        next_entities = []
        for entity in range(11):
            received = [
                model.relations[relation] * entities[tail]
                for head, relation, tail in both_ways
                if head == entity
            ]
            next_entities.append(torch.stack(received).mean(0) if received else entities[0] * 0)
        users, entities = torch.stack(next_users), torch.stack(next_entities)
        if model.follows_code:
            users, entities = normalize(users, dim=1), normalize(entities, dim=1)
        total_users, total_items = total_users + users, total_items + entities[:ITEMS]
    return total_users, total_items


@pytest.mark.parametrize("follows", ["paper", "code"])
def test_loss_and_gradients_are_those_of_the_paper(follows: str) -> None:
    model, batch = new_model(follows=follows), small_batch()

    def reference() -> Tensor:
        users, items = vectors(model)
        final = (users, items) if follows == "code" else (model.users, model.items)
        if follows == "code":
            pairs = [
                torch.cosine_similarity(a, b, dim=0) ** 2
                for a, b in combinations(model.intent_logits, 2)
            ]
        else:
            intents = [row.softmax(0) @ model.relations for row in model.intent_logits]
            pairs = [distance_correlation(a, b) for a, b in combinations(intents, 2)]
        return bpr(users, items, batch) + 0.4 * sum(pairs) + 0.3 * squares(*final, batch)

    assert_loss_and_gradients(model, batch, reference)


def test_scores_are_those_of_the_paper_whatever_training_leaves_out() -> None:
    model = new_model(dropout=0.5)
    users, items = vectors(model)
    assert_scores(model, users, items)


def test_steps_leave_out_facts_and_interactions() -> None:
    model = new_model(dropout=0.5)
    draw = torch.Generator().manual_seed(0)
    interactions, facts = model.graphs(draw)
    whole_interactions, whole_facts = model.graphs(None)
    assert 0 < int((interactions.forward.values != 0).sum()) < len(whole_interactions)
    ones, tables = torch.ones(4, 4), torch.ones(11, 4)
    means = facts.propagate(tables, ones)
    assert set(means.unique().tolist()) == {0.0, 1.0}  # still the mean of those that are left
    assert means.sum() < whole_facts.propagate(tables, ones).sum()


def test_distance_correlation_is_that_of_its_definition() -> None:
    draw = torch.Generator().manual_seed(1)
    a, b = torch.rand(6, generator=draw).double(), torch.rand(6, generator=draw).double()

    def centred(x: Tensor) -> Tensor:
        d = torch.tensor([[float(abs(p - q)) for q in x] for p in x], dtype=torch.float64)
        return d - d.mean(0, keepdim=True) - d.mean(1, keepdim=True) + d.mean()

    def covariance(x: Tensor, y: Tensor) -> float:
        return float((centred(x) * centred(y)).sum() / 36) ** 0.5

    expected = covariance(a, b) / (covariance(a, a) * covariance(b, b)) ** 0.5
    assert float(distance_correlation(a, b)) == pytest.approx(expected)
    assert float(distance_correlation(a, 3 - 2 * a)) == pytest.approx(1.0)
    assert float(distance_correlation(a, torch.ones(6).double())) < 1e-2


def test_data_without_facts_are_refused() -> None:
    with pytest.raises(ConfigError, match="Kgin without facts"):
        Kgin().build(inputs_of_matrix(MATRIX.double().numpy()))
