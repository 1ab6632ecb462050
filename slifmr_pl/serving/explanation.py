"""Why a user gets an item: an exact decomposition of one score.

The model is linear in its embeddings but for two factors, the attention over modalities and the
unit length of the knowledge view. Taken at the values that they have, what reaches a user (or an
item) in its last step of propagation is a sum over neighbours, and so is the score
⟨u*, i*⟩ = Σ_p ⟨p, i*⟩ = Σ_q ⟨u*, q⟩ with p the parts of u* and q the parts of i*. The regression's
share of a score is a sum over the user's items, on either side.

p = parts, d = embedding size.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from slifmr_pl.graphs.heterogeneous import CorrelationWeights, Propagation
from slifmr_pl.graphs.sparse.edges import Edges
from slifmr_pl.graphs.sparse.spmm import Csr
from slifmr_pl.nn.encoders import propagate_last, propagate_relations
from slifmr_pl.nn.network import Representations, SlifMrNetwork
from slifmr_pl.regression.closed_form import RegressionFactors, append_regression
from slifmr_pl.serving.last_step import LastStep

Kind = Literal[
    "own", "user", "item", "fused", "correlation", "modality", "missing", "fact", "regression"
]


class Part(NamedTuple):
    """A share of a score.

    Attributes:
        kind: Where it comes from. "own": what the user or item has learned of itself; "item": an
            item of the user; "fused": an item of the user, by way of the user's mean of fused
            items; "user": a user of the item; "modality": an item with similar features;
            "missing": the vector learned for items that lack a modality;
            "fact": an entity that the knowledge graph links with the item; "correlation": an item
            that the self-loop has found similar; "regression": an item of the user, by how
            it goes with this one for users, features and facts together.
        view: "interaction", "knowledge" or a modality.
        row: Row of the user, item or entity; None for "own".
        relation: Row of a fact's directed relation: r, or R + r for the inverse one.
        score: The share, which may be negative.
    """

    kind: Kind
    view: str
    row: int | None
    relation: int | None
    score: float


@dataclass(frozen=True)
class Explanation:
    """One score, twice as a sum.

    Attributes:
        score: ⟨u*, i*⟩.
        user_parts: Parts of u*, largest share first; they add up to the score.
        item_parts: Parts of i*, likewise.
    """

    score: float
    user_parts: list[Part]
    item_parts: list[Part]


class _Vectors(NamedTuple):
    """Parts before they are multiplied with the other side."""

    kind: Kind
    view: str
    rows: Tensor | None  # int64 [p]; None for one part without a row
    vectors: Tensor  # float [p, d]
    relations: Tensor | None = None  # int64 [p]


@torch.no_grad()
def explain(
    network: SlifMrNetwork,
    graphs: Propagation,
    correlation: Edges | None,
    weights: CorrelationWeights,
    user: int,
    item: int,
    regression: RegressionFactors | None = None,
) -> Explanation:
    """Splits the score of a user and an item.

    Args:
        network: With all columns.
        graphs: What it propagates over.
        correlation: C_t, the correlation graph that is part of them; None without.
        weights: How strongly it is.
        user: Row.
        item: Row.
        regression: Its factors, where it is part of the score.
    """
    views = network(graphs)
    last = LastStep.of(network, graphs, views)
    u, i = views.users[user].double(), views.items[item].double()
    shared: list[Part] = []
    if regression is not None:
        shared = _regression_parts(network, graphs, views, regression, user, item)
    return Explanation(
        float(u @ i) + sum(part.score for part in shared),
        _sorted(shared + _scored(_user_parts(network, graphs, views, last, user), i)),
        _sorted(
            shared
            + _scored(_item_parts(network, graphs, views, last, correlation, weights, item), u)
        ),
    )


def _sorted(parts: list[Part]) -> list[Part]:
    return sorted(parts, key=lambda part: -abs(part.score))


def _regression_parts(
    network: SlifMrNetwork,
    graphs: Propagation,
    views: Representations,
    regression: RegressionFactors,
    user: int,
    item: int,
) -> list[Part]:
    own = regression._replace(users=regression.users[user : user + 1])
    dim = views.users.shape[1]
    factor = append_regression(views.users[user : user + 1], views.items, own)[0][0, dim:].double()
    items, _ = _entries(graphs.interaction.user_items.forward, user)
    sent = regression.shared_factors[items].double()
    # The factor is what the items send, on another scale.
    scale = factor.norm() / sent.sum(0).norm().clamp_min(1e-12)
    shares = (scale * (sent @ regression.items[item].double())).tolist()
    return [
        Part("regression", "interaction", row, None, share)
        for row, share in zip(items.tolist(), shares, strict=True)
    ]


def _scored(parts: Iterator[_Vectors], other: Tensor) -> list[Part]:
    totals: dict[tuple[Kind, str, int | None, int | None], float] = {}
    for kind, view, rows, vectors, relations in parts:
        names = [None] * len(vectors) if rows is None else rows.tolist()
        related = [None] * len(vectors) if relations is None else relations.tolist()
        for row, relation, score in zip(
            names, related, (vectors.double() @ other).tolist(), strict=True
        ):
            key = kind, view, row, relation
            totals[key] = totals.get(key, 0.0) + score
    return [Part(*key, score) for key, score in totals.items()]


def _user_parts(
    network: SlifMrNetwork,
    graphs: Propagation,
    views: Representations,
    last: LastStep,
    user: int,
) -> Iterator[_Vectors]:
    layers = network.config.interaction.layers
    own = network.user_embedding[user] / (layers + 1)
    yield _Vectors("own", "interaction", None, own.unsqueeze(0))
    if layers > 0:
        items, values = _entries(graphs.interaction.user_items.forward, user)
        yield _Vectors("item", "interaction", items, values * last.items[items])
    if graphs.user_items is not None:
        items, values = _entries(graphs.user_items.forward, user)
        fused = network.config.user_fusion * values * views.items[items]
        yield _Vectors("fused", "interaction", items, fused)


def _item_parts(
    network: SlifMrNetwork,
    graphs: Propagation,
    views: Representations,
    last: LastStep,
    correlation: Edges | None,
    weights: CorrelationWeights,
    item: int,
) -> Iterator[_Vectors]:
    layers = network.config.interaction.layers
    own = network.item_embedding[item] / (layers + 1)
    yield _Vectors("own", "interaction", None, own.unsqueeze(0))
    if layers > 0:
        users, values = _entries(graphs.interaction.item_users.forward, item)
        yield _Vectors("user", "interaction", users, values * last.users[users])
        if graphs.interaction.item_items is not None:
            items, values = _entries(graphs.interaction.item_items.forward, item)
            yield _Vectors("correlation", "interaction", items, values * last.items[items])
    # Fused early, the other views enter with the item's own embedding.
    scale = 1 / (layers + 1) if network.config.fusion == "early" else 1.0
    if views.modality_attention is not None:
        for name, share in zip(network.sizes.modalities, views.modality_attention, strict=True):
            factor = scale * network.config.modality.weight * float(share[item])
            yield from _modality_parts(
                network, graphs, name, factor, correlation, weights.modality, item
            )
    if views.knowledge is not None:
        factor = scale * network.config.knowledge.weight
        yield from _knowledge_parts(network, graphs, factor, item)


def _modality_parts(
    network: SlifMrNetwork,
    graphs: Propagation,
    name: str,
    factor: float,
    correlation: Edges | None,
    gamma: float,
    item: int,
) -> Iterator[_Vectors]:
    """Edges of S_m,t = (1-γ)·S_m + γ·C_t, each in its two summands; or the learned vector."""
    if name in network.sizes.learned:
        present = network.present[network.sizes.modalities.index(name)]
        if not present[item]:
            vector = network.missing_view[network.sizes.learned.index(name)]
            yield _Vectors("missing", name, None, factor * vector.unsqueeze(0))
            return
    graph, sources = graphs.modalities[name], network.item_embedding.detach()
    if network.config.modality.layers > 1:
        sources = propagate_last(graph, sources, network.config.modality.layers - 1)
    items, values = _entries(graph.forward, item)
    correlated = torch.zeros(network.sizes.n_items, 1, device=values.device)
    if correlation is not None:
        edges = correlation.rows == item
        correlated[correlation.columns[edges], 0] = gamma * correlation.values[edges]
    similar = values - correlated[items]
    parts: tuple[tuple[Kind, Tensor], ...] = (
        ("modality", similar),
        ("correlation", correlated[items]),
    )
    for kind, part in parts:
        edges = part.squeeze(1) != 0
        yield _Vectors(kind, name, items[edges], factor * (part * sources[items])[edges])


def _knowledge_parts(
    network: SlifMrNetwork, graphs: Propagation, factor: float, item: int
) -> Iterator[_Vectors]:
    graph = graphs.knowledge_items
    assert graph is not None
    sources, relation_weight = network.entities(), network.relation_weight
    row = torch.tensor([item], device=sources.device)
    whole = propagate_relations(graphs.knowledge, graph, sources, relation_weight, row)
    factor /= len(relation_weight) * float(whole.norm().clamp_min(1e-12))
    pairs, _ = _entries(graph.forward.pool, item)
    for layer, weight in enumerate(relation_weight):
        for pair in pairs.tolist():
            entities, values = _entries(graph.forward.gather, pair)
            relation = graph.forward.relations[pair]
            vectors = factor * values * weight[relation] * sources[entities]
            yield _Vectors("fact", "knowledge", entities, vectors, relation.expand(len(entities)))
        if graph.correlation is not None:
            items, values = _entries(graph.correlation.forward, item)
            vectors = factor * values * weight[-1] * sources[items]
            yield _Vectors("correlation", "knowledge", items, vectors)
        if layer + 1 < len(relation_weight):
            assert graphs.knowledge is not None
            sources = graphs.knowledge.propagate(sources, weight)


def _entries(matrix: Csr, row: int) -> tuple[Tensor, Tensor]:
    """Columns int64 [e] and values float32 [e, 1] of a row."""
    first, last = matrix.offsets[row : row + 2].tolist()
    return matrix.columns[first:last].long(), matrix.values[first:last].unsqueeze(1)
