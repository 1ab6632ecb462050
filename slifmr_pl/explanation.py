"""Why a user gets an item: an exact decomposition of one score.

The model is linear in its embeddings but for two factors: the attention over modalities, and the
length by which the knowledge view is divided. With both fixed at their present values, the vector
of a user (or an item) is a sum of parts: its own embedding, and the messages that its neighbours
pass on in the last layer of propagation. So the score is a sum, too:
⟨u*, i*⟩ = Σ_p ⟨p, i*⟩ = Σ_q ⟨u*, q⟩ with p the parts of u* and q the parts of i*. The regression's
share of a score is a sum over the user's items, whichever side is split.

p = parts, d = embedding size.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.heterogeneous import Propagation
from slifmr_pl.graphs.interaction import InteractionGraph
from slifmr_pl.nn.item_views import entries_of
from slifmr_pl.nn.last_layer import LastLayerMessages
from slifmr_pl.nn.network import Representations, SlifMrNetwork
from slifmr_pl.regression.item_regression import RegressionFactors, append_regression

Kind = str
"""Where a share comes from, see `ScoreShare`; a view of the user's own may give others."""


class ScoreShare(NamedTuple):
    """One summand of a score.

    Attributes:
        kind: Where it comes from. "own": what the user or item has learned of itself; "item": an
            item of the user; "fused": an item of the user, by way of the user's mean of fused
            items; "user": a user of the item; "modality": an item with similar features;
            "missing": the vector learned for items that lack a modality;
            "fact": an entity that the knowledge graph links with the item; "correlation": an item
            that the self-loop has found similar; "regression": an item of the user, by how
            it goes with this one for users, features and facts together; "view": a view of the
            user's own as a whole.
        view: "interaction", "knowledge", a modality, or a view of the user's own.
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
    """One score as a sum: once over the parts of the user, once over those of the item.

    Attributes:
        score: ⟨u*, i*⟩.
        user_parts: Parts of u*, largest share first; they add up to the score.
        item_parts: Parts of i*, likewise.
    """

    score: float
    user_parts: list[ScoreShare]
    item_parts: list[ScoreShare]


class _Summands(NamedTuple):
    """Summands of a vector, before they are multiplied with the other side."""

    kind: Kind
    view: str
    rows: Tensor | None  # int64 [p]; None for one summand without a row
    vectors: Tensor  # float [p, d]
    relations: Tensor | None = None  # int64 [p]


@torch.no_grad()
def explain(
    network: SlifMrNetwork,
    graphs: Propagation,
    user: int,
    item: int,
    regression: RegressionFactors | None = None,
) -> Explanation:
    """Splits the score of a user and an item.

    Args:
        network: With all columns.
        graphs: What it propagates over.
        user: Row.
        item: Row.
        regression: Its factors, where it is part of the score.
    """
    views = network(graphs)
    messages = LastLayerMessages.of(network, graphs)
    u, i = views.users[user].double(), views.items[item].double()
    shared: list[ScoreShare] = []
    if regression is not None:
        shared = _regression_parts(graphs, views, regression, user, item)
    return Explanation(
        float(u @ i) + sum(part.score for part in shared),
        _sorted(shared + _scored(_user_summands(network, graphs, views, messages, user), i)),
        _sorted(shared + _scored(_item_summands(network, graphs, messages, item), u)),
    )


def _sorted(parts: list[ScoreShare]) -> list[ScoreShare]:
    return sorted(parts, key=lambda part: -abs(part.score))


def _regression_parts(
    graphs: Propagation,
    views: Representations,
    regression: RegressionFactors,
    user: int,
    item: int,
) -> list[ScoreShare]:
    own = regression._replace(users=regression.users[user : user + 1])
    dim = views.users.shape[1]
    factor = append_regression(views.users[user : user + 1], views.items, own)[0][0, dim:].double()
    items, _ = entries_of(_blocks(graphs).user_items.forward, user)
    summands = regression.shared_factors[items].double()
    # The factor is the sum over the items, on another scale.
    scale = factor.norm() / summands.sum(0).norm().clamp_min(1e-12)
    shares = (scale * (summands @ regression.items[item].double())).tolist()
    return [
        ScoreShare("regression", "interaction", row, None, share)
        for row, share in zip(items.tolist(), shares, strict=True)
    ]


def _scored(parts: Iterator[_Summands], other: Tensor) -> list[ScoreShare]:
    totals: dict[tuple[Kind, str, int | None, int | None], float] = {}
    for kind, view, rows, vectors, relations in parts:
        names = [None] * len(vectors) if rows is None else rows.tolist()
        related = [None] * len(vectors) if relations is None else relations.tolist()
        for row, relation, score in zip(
            names, related, (vectors.double() @ other).tolist(), strict=True
        ):
            key = kind, view, row, relation
            totals[key] = totals.get(key, 0.0) + score
    return [ScoreShare(*key, score) for key, score in totals.items()]


def _user_summands(
    network: SlifMrNetwork,
    graphs: Propagation,
    views: Representations,
    messages: LastLayerMessages,
    user: int,
) -> Iterator[_Summands]:
    layers = network.config.interaction.layers
    own = network.user_embedding[user] / (layers + 1)
    yield _Summands("own", "interaction", None, own.unsqueeze(0))
    if layers > 0:
        items, values = entries_of(_blocks(graphs).user_items.forward, user)
        yield _Summands("item", "interaction", items, values * messages.items[items])
    if graphs.user_items is not None:
        items, values = entries_of(graphs.user_items.forward, user)
        fused = network.config.user_fusion * values * views.items[items]
        yield _Summands("fused", "interaction", items, fused)


def _item_summands(
    network: SlifMrNetwork, graphs: Propagation, messages: LastLayerMessages, item: int
) -> Iterator[_Summands]:
    layers, blocks = network.config.interaction.layers, _blocks(graphs)
    own = network.item_embedding[item] / (layers + 1)
    yield _Summands("own", "interaction", None, own.unsqueeze(0))
    if layers > 0:
        users, values = entries_of(blocks.item_users.forward, item)
        yield _Summands("user", "interaction", users, values * messages.users[users])
        if blocks.item_items is not None:
            items, values = entries_of(blocks.item_items.forward, item)
            yield _Summands("correlation", "interaction", items, values * messages.items[items])
    # Fused early, the other views enter with the item's own embedding.
    scale = 1 / (layers + 1) if network.fusion.early else 1.0
    yield from _view_summands(network, graphs, scale, item)


def _view_summands(
    network: SlifMrNetwork, graphs: Propagation, scale: float, item: int
) -> Iterator[_Summands]:
    """What each view adds to the item; or all views together, where they are no weighted sum."""
    row = torch.tensor([item], device=network.item_embedding.device)
    context = network.context(graphs, row)
    _, fused = network.fused_views(context)
    if fused.total is None:
        return
    if fused.shares is None:
        yield _Summands("view", type(network.fusion).__name__, None, scale * fused.total)
        return
    unnamed = [view.name for view in network.side_views if view.name not in fused.shares]
    if unnamed:
        raise ConfigError(
            f"{type(network.fusion).__name__} does not say what {', '.join(unnamed)} counts",
            expected="a share for each view, or None for all",
            fix="complete `shares` of the FusedViews that it gives",
        )
    for view in network.side_views:
        share = scale * float(fused.shares[view.name])
        for part in view.contributions(context, item):
            yield _Summands(part.kind, view.name, part.rows, share * part.vectors, part.relations)


def _blocks(graphs: Propagation) -> InteractionGraph:
    assert isinstance(graphs.interaction, InteractionGraph)  # reference graphs are for training
    return graphs.interaction
