"""Which metrics there are, and what every one of them means: the page that is printed.

Notation: R relevant items of a user, h_r = 1 if the item at rank r is relevant and 0 if not,
I items in the catalogue, n_i training interactions of item i.
"""

import inspect
from collections.abc import Iterator, Sequence

from slifmr_pl.config import plugins
from slifmr_pl.metrics.accuracy import (
    AveragePrecision,
    HitRate,
    Ndcg,
    Precision,
    Recall,
    ReciprocalRank,
)
from slifmr_pl.metrics.beyond_accuracy import Coverage, Novelty, Popularity
from slifmr_pl.metrics.metric import RankingMetric, UserMetric

BUILT_IN: tuple[type[RankingMetric], ...] = (
    Recall,
    Precision,
    Ndcg,
    AveragePrecision,
    ReciprocalRank,
    HitRate,
    Coverage,
    Novelty,
    Popularity,
)
"""The metrics that every evaluation reports, in this order."""

RULES = {
    "Candidates": (
        "Every item of the catalogue competes for every user, items without training "
        "interactions too. Nothing is sampled."
    ),
    "Masking": (
        "Known items of a user are left out of the ranking: the training items in `validate`; "
        "in `test`, `data.test_masks` says whether the validation items too (`train+valid`, the "
        "default) or not (`train`)."
    ),
    "Ties": (
        "Of items with equal scores, the one whose id sorts first (by code point) ranks first. "
        "The order of rows in the files plays no part."
    ),
    "Users without relevant items": (
        "They have no recall, so they are left out of every metric, and counted in "
        "`n_users_without_relevant`."
    ),
    "k beyond the list": (
        "Where fewer than k items are left to recommend, the ranks beyond are misses."
    ),
    "Means": "Every user counts the same, however many relevant items there are (float64).",
    "Refused": (
        "Scores that are not finite, an item recommended or relevant twice, items outside the "
        "catalogue."
    ),
}

_BETTER = {
    True: "Higher is better.",
    False: "Lower is better.",
    None: "More is not better by itself.",
}


def built_in_metrics() -> list[RankingMetric]:
    """The metrics that every evaluation reports."""
    return [kind() for kind in BUILT_IN]


def available_metrics() -> list[type[RankingMetric]]:
    """The built-in metrics, and those of the plug-ins that are loaded."""
    packages = {name.partition(".")[0] for name in plugins.loaded()}
    more = {
        kind
        for kind in _subclasses(RankingMetric)
        if kind.__module__.partition(".")[0] in packages and not inspect.isabstract(kind)
    }
    return [*BUILT_IN, *sorted(more, key=lambda kind: (kind.__module__, kind.__qualname__))]


def _subclasses(kind: type[RankingMetric]) -> Iterator[type[RankingMetric]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def as_markdown(metrics: Sequence[type[RankingMetric]] = BUILT_IN) -> str:
    """All rules, and the definitions of metrics, as a Markdown page."""
    of_users = [metric for metric in metrics if issubclass(metric, UserMetric)]
    lines = [
        "# Metrics",
        "",
        "Of one user: R relevant items; h_r = 1 if the item at rank r is relevant, 0 if not.",
        "Of the catalogue: I items; n_i training interactions of item i.",
        "Written by `slifmr metrics`.",
        "",
        "## Rules",
        "",
        *(f"- **{name}:** {text}" for name, text in RULES.items()),
        "",
        "## Means over users",
        "",
        *(line for metric in of_users for line in _section(metric)),
        "## Beyond accuracy, over all users together",
        "",
        *(line for metric in metrics if metric not in of_users for line in _section(metric)),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _section(metric: type[RankingMetric]) -> list[str]:
    title = metric.title or metric.__name__
    examples = [
        f"- h = {list(example.hits)}, R = {example.relevant}, k = {example.k}: "
        f"**{example.value:g}** ({example.note})"
        for example in metric.examples
    ]
    return [
        f"### {metric.name or metric.__name__}@k: {title}",
        "",
        *([f"    {metric.formula}", ""] if metric.formula else []),
        f"{_BETTER[metric.higher_is_better]} {metric.edges}".rstrip(),
        "",
        *([*examples, ""] if examples else []),
    ]
