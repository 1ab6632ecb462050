"""What was learned of the items: their neighbours before and after, and how their views agree."""

from collections import Counter

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from slifmr_pl.data.dataset import RecommendationData
from slifmr_pl.report.html.figures import figures, scatter
from slifmr_pl.report.html.html import Html, concatenated, element, paragraph, table
from slifmr_pl.report.html.item_cards import ItemCards, cards
from slifmr_pl.report.trained import TrainedRun

_ITEMS = 6  # whose neighbours are shown
_NEIGHBOURS = 6  # of each
_POINTS = 500  # items that a projection draws
_GROUPS = 5  # colours
_COVERED = 0.1  # of the items, by the coloured groups together: less is no grouping
_DOMINANT = 0.9  # a group that holds more of the items tells nothing


def has_neighbourhoods(trained: TrainedRun) -> bool:
    """Whether there are neighbours to show, before training or after it."""
    inputs = trained.module.inputs
    assert inputs is not None
    return bool(inputs.graph.modalities) or trained.module.learned_neighbours() is not None


def neighbourhoods(trained: TrainedRun) -> Html:
    """Cards of sample items with their neighbours in the frozen graphs and after training."""
    inputs, learned = trained.module.inputs, trained.module.learned_neighbours()
    assert inputs is not None
    graphs = {
        f"Before: frozen graph of {name}": (neighbours.indices, neighbours.weights)
        for name, neighbours in inputs.graph.modalities.items()
    }
    parts = []
    if learned is not None:
        shares = _shares(learned.indices, {name: graph[0] for name, graph in graphs.items()})
        if shares:
            parts.append(paragraph(f"Of the neighbours after training, {'; '.join(shares)}."))
        graphs["After: neighbours that the best epoch ended with"] = (
            learned.indices,
            learned.weights,
        )
    else:
        parts.append(paragraph("The best epoch found no neighbours of its own."))
    if not graphs:
        return concatenated(parts)
    with_neighbours = torch.stack(
        [(indices >= 0).any(dim=1) for indices, _ in graphs.values()]
    ).all(0)
    rows = np.flatnonzero(with_neighbours.numpy())
    # From seldom to popular, so that both ends of the catalogue are seen.
    rows = rows[np.argsort(trained.popularity[rows], kind="stable")]
    for item in dict.fromkeys(rows[np.linspace(0, len(rows) - 1, _ITEMS).astype(int)].tolist()):
        own = [trained.cards.card(item, tag=f"{trained.popularity[item]} in training")]
        lists: list[Html] = []
        for name, (indices, weights) in graphs.items():
            near = [
                trained.cards.card(other, tag=f"{weight:.2f}")
                for other, weight in zip(
                    indices[item, :_NEIGHBOURS].tolist(),
                    weights[item, :_NEIGHBOURS].tolist(),
                    strict=True,
                )
                if other >= 0
            ]
            lists += [paragraph(name), cards(near)]
        parts.append(
            element(
                "div",
                element("h3", trained.cards.title(item)),
                element("div", cards(own), element("div", *lists), class_="beside"),
                class_="example",
            )
        )
    return concatenated(parts)


def _shares(after: Tensor, before: dict[str, Tensor]) -> list[str]:
    """How many of the neighbours after training each graph had before."""
    there = after >= 0
    sentences = []
    for name, indices in before.items():
        same = (after[:, :, None] == indices[:, None, :]).any(dim=2) & there
        share = float(same.sum() / there.sum())
        sentences.append(f"{share:.0%} are in the {name.removeprefix('Before: ')}")
    return sentences


def alignment(trained: TrainedRun) -> Html:
    """The views of the items in one plane, and how near the views of one item are."""
    views = {
        name: torch.nn.functional.normalize(view.double(), dim=1).numpy()
        for name, view in trained.views.items()
    }
    name, labels = grouping(trained.data, trained.cards)
    picked = np.random.default_rng(0).permutation(len(trained.data.items))[:_POINTS]
    groups = _groups([labels[row] for row in picked])
    plane = principal_plane(np.concatenate(list(views.values())))
    points = {name: (view @ plane)[picked] for name, view in views.items()}
    furthest = max(float(np.abs(drawn).max()) for drawn in points.values())
    coloured = (
        f"coloured by {name}, the {len(groups) - 1} largest groups"
        if groups
        else "in one colour: neither a text column nor a relation sorts them into a few groups"
    )
    drawn = [
        scatter(
            points[view_name],
            groups or {"items": np.ones(len(picked), np.bool_)},
            view_name.capitalize(),
            f"{len(picked)} items as points of a plane, {coloured}.",
            within=1.05 * furthest,
        )
        for view_name in views
    ]
    rows = []
    names = list(views)
    for first, one in enumerate(names):
        for two in names[first + 1 :]:
            same, other = similarities(views[one], views[two])
            rows.append((f"{one} and {two}", f"{same:.3f}", f"{other:.3f}", f"{same - other:.3f}"))
    header = ("views", "of one item", "of different items", "difference")
    text = (
        "Each view of the items, in the one plane that shows most of the differences (the first "
        "two principal components of all views together). Where a group keeps its place from "
        f"one picture to the next, the views agree on it. {coloured.capitalize()}."
    )
    return concatenated(
        [
            paragraph(text),
            figures(*drawn),
            table("Mean cosine similarity of two views", header, rows),
        ]
    )


def similarities(one: npt.NDArray[np.float64], two: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Mean products of the same rows, and of different rows, of two views ``[n, d]``."""
    n = len(one)
    same = float((one * two).sum())
    every = float(one.sum(axis=0) @ two.sum(axis=0))
    return same / n, (every - same) / max(n * (n - 1), 1)


def principal_plane(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The two directions in which rows ``[n, d]`` differ most, ``[d, 2]``; signs are settled."""
    centred = rows - rows.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    plane = vectors[:, : -min(3, vectors.shape[1] + 1) : -1]
    largest = np.abs(plane).argmax(axis=0)
    signed: npt.NDArray[np.float64] = plane * np.sign(plane[largest, np.arange(plane.shape[1])])
    return signed


def grouping(data: RecommendationData, cards: ItemCards) -> tuple[str, list[str]]:
    """What sorts the items best into a few groups: a text column, or a relation's tails.

    Returns:
        Its name, and a label for each item, empty where it says nothing; all are empty where
        nothing sorts the items.
    """
    candidates: dict[str, list[str]] = {}
    if data.item_table is not None:
        own = {"item_id", cards.title_column, cards.picture_column}
        for name in data.item_table.column_names:
            if name not in own:
                candidates[name] = data.item_table[name].to_pylist()
    triples, n_items = data.triples, len(data.items)
    for row, name in enumerate(data.relations.decode(np.arange(len(data.relations)))):
        chosen = (triples.relations == row) & (triples.heads < n_items)
        heads, first = np.unique(triples.heads[chosen], return_index=True)
        labels = [""] * n_items
        tails = data.entities.decode(triples.tails[chosen][first])
        for item, label in zip(heads.tolist(), tails, strict=True):
            labels[item] = label
        candidates[name] = labels
    best, covered = ("nothing", [""] * n_items), _COVERED
    for name, labels in candidates.items():
        counts = Counter(label for label in labels if label).most_common(_GROUPS)
        share = sum(count for _, count in counts) / n_items
        if len(counts) > 1 and counts[0][1] <= _DOMINANT * n_items and share > covered:
            best, covered = (name, labels), share
    return best


def _groups(labels: list[str]) -> dict[str, npt.NDArray[np.bool_]]:
    largest = [label for label, _ in Counter(filter(None, labels)).most_common(_GROUPS)]
    column = np.array(labels, dtype=object)
    groups = {"others": ~np.isin(labels, largest)} if largest else {}
    return groups | {label: column == label for label in largest}
