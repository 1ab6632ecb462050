"""Why in one sentence: the user's items that raise a score, and what ties them to the item."""

from collections import defaultdict
from typing import NamedTuple

import torch

from slifmr_pl.data.catalogue import Catalogue
from slifmr_pl.explanation import Explanation, ScoreShare
from slifmr_pl.graphs.heterogeneous import HeterogeneousGraph

_OF_THE_USER = ("item", "fused", "regression")  # shares that are named by an item of the user


class Reason(NamedTuple):
    """An item of the user that raises a score.

    Attributes:
        item: Its row.
        score: What it adds, directly and by the regression.
        ties: What it has in common with the scored item, in words; none where only further nodes
            connect the two.
    """

    item: int
    score: float
    ties: list[str]


def reasons(
    explanation: Explanation, graph: HeterogeneousGraph, catalogue: Catalogue, item: int, most: int
) -> list[Reason]:
    """The items of the user that raise a score most.

    Args:
        explanation: Of the score.
        graph: What the model was trained on.
        catalogue: Raw ids of its rows.
        item: Row of the scored item.
        most: How many at most.
    """
    totals: dict[int, float] = defaultdict(float)
    for part in explanation.user_parts:
        if part.kind in _OF_THE_USER and part.row is not None:
            totals[part.row] += part.score
    best = sorted(totals, key=lambda row: (-totals[row], row))[:most]
    return [
        Reason(row, totals[row], _ties(explanation.item_parts, graph, catalogue, item, row))
        for row in best
        if totals[row] > 0
    ]


def _ties(
    parts: list[ScoreShare],
    graph: HeterogeneousGraph,
    catalogue: Catalogue,
    item: int,
    other: int,
) -> list[str]:
    """What an item shares with another, where it raises the score; and who has both."""
    raising = [part for part in parts if part.score > 0]
    of_other = _facts(graph, other)
    relations = catalogue.relations.ids
    found = []
    for part in raising:
        relation, tail = part.relation, part.row
        if relation is None or relation >= len(relations) or (relation, tail) not in of_other:
            continue
        assert tail is not None
        to_item = tail < graph.n_items
        (name,) = catalogue.entities.decode([tail])
        found.append(
            f"both {relations[relation]} {name}" if to_item else f"same {relations[relation]}"
        )
    for part in (part for part in raising if part.row == other):
        if part.kind == "fact" and part.relation is not None:
            found.append(f"linked by {relations[part.relation % len(relations)]}")
        elif part.kind == "modality":
            found.append(f"similar {part.view}")
        elif part.kind == "correlation":
            found.append("similar by the self-loop")
    of_both = [graph.users[graph.items == row] for row in (item, other)]
    n_both = int(torch.isin(of_both[0], of_both[1]).sum())
    if n_both:
        found.append(f"{n_both} users have both" if n_both > 1 else "1 user has both")
    return list(dict.fromkeys(found))


def _facts(graph: HeterogeneousGraph, item: int) -> set[tuple[int, int | None]]:
    """Relation and tail of each triple that an item is the head of."""
    triples = graph.triples
    if triples is None:
        return set()
    own = triples.heads == item
    return set(zip(triples.relations[own].tolist(), triples.tails[own].tolist(), strict=True))
