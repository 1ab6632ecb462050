"""What every metric means, exactly: the one place that documentation, command line and tests use.

Notation: R relevant items of a user, h_r = 1 if the item at rank r is relevant and 0 if not,
I items in the catalogue, n_i training interactions of item i.
"""

from dataclasses import dataclass
from typing import NamedTuple


class Example(NamedTuple):
    """A list of one user, and the value of the metric for it.

    Attributes:
        hits: h_1, h_2 and so on; ranks beyond are misses.
        relevant: R.
        k: Cut-off.
        value: The metric, to four decimals.
        note: What the example shows.
    """

    hits: tuple[int, ...]
    relevant: int
    k: int
    value: float
    note: str


@dataclass(frozen=True)
class MetricDefinition:
    """One metric at a cut-off k.

    Attributes:
        name: As in `NAME@K`.
        title: Its full name.
        formula: Of one user or, beyond accuracy, of all users together.
        edges: What holds at the edges.
        per_user: Whether it is the mean over users of a value of each user.
        higher_is_better: False where neither direction is better by itself.
        examples: Hand-computed values, for metrics of single users.
    """

    name: str
    title: str
    formula: str
    edges: str
    per_user: bool
    higher_is_better: bool
    examples: tuple[Example, ...] = ()


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

DEFINITIONS = (
    MetricDefinition(
        "recall",
        "Recall",
        "Σ_{r≤k} h_r / R",
        "Divided by all relevant items, so it stays below 1 where R > k.",
        per_user=True,
        higher_is_better=True,
        examples=(
            Example((1, 0, 1, 0), 3, 3, 0.6667, "two of three relevant items"),
            Example((1, 1), 5, 2, 0.4, "no list of two holds five"),
        ),
    ),
    MetricDefinition(
        "precision",
        "Precision",
        "Σ_{r≤k} h_r / k",
        "Divided by k, also where fewer than k items can be recommended.",
        per_user=True,
        higher_is_better=True,
        examples=(
            Example((1, 0, 1, 0), 3, 3, 0.6667, "two of three places"),
            Example((1, 0), 1, 5, 0.2, "k beyond the list"),
        ),
    ),
    MetricDefinition(
        "ndcg",
        "Normalised discounted cumulative gain (Järvelin & Kekäläinen, TOIS 2002)",
        "Σ_{r≤k} h_r / log2(r + 1), divided by Σ_{r≤min(R, k)} 1 / log2(r + 1)",
        "The ideal ranking holds min(R, k) hits, so a perfect list has exactly 1 for every k.",
        per_user=True,
        higher_is_better=True,
        examples=(
            Example((1, 0, 1, 0), 3, 3, 0.7039, "1.5 of 2.1309"),
            Example((1, 1), 5, 2, 1.0, "a perfect list"),
        ),
    ),
    MetricDefinition(
        "map",
        "Mean average precision",
        "Σ_{r≤k} h_r · precision@r, divided by min(R, k)",
        "Others divide by R (ranx, trec_eval), which is smaller where R > k.",
        per_user=True,
        higher_is_better=True,
        examples=(
            Example((1, 0, 1, 0), 3, 3, 0.5556, "(1 + 2/3) / 3"),
            Example((1, 1), 5, 2, 1.0, "a perfect list"),
        ),
    ),
    MetricDefinition(
        "mrr",
        "Mean reciprocal rank",
        "1 / r of the first hit among the first k",
        "0 where there is no hit among the first k.",
        per_user=True,
        higher_is_better=True,
        examples=(
            Example((0, 0, 1, 1), 2, 4, 0.3333, "first hit at rank 3"),
            Example((0, 0, 1, 1), 2, 2, 0.0, "no hit among the first two"),
        ),
    ),
    MetricDefinition(
        "hit",
        "Hit rate",
        "1 if Σ_{r≤k} h_r > 0, else 0",
        "With one relevant item a user, the same as recall.",
        per_user=True,
        higher_is_better=True,
        examples=(
            Example((0, 0, 1, 1), 2, 4, 1.0, "two hits count once"),
            Example((0, 0, 1, 1), 2, 2, 0.0, "no hit among the first two"),
        ),
    ),
    MetricDefinition(
        "coverage",
        "Catalogue coverage",
        "items within the first k of at least one user, divided by I",
        "Depends on the number of users; compare it on the same users only.",
        per_user=False,
        higher_is_better=False,
    ),
    MetricDefinition(
        "novelty",
        "Mean self-information (Zhou et al., PNAS 2010)",
        "mean of −log2(max(n_i, 1) / Σ_j n_j) over all recommended (user, item) pairs within k",
        "An item without training interactions counts as seen once. Not a number where every "
        "item is masked for everyone.",
        per_user=False,
        higher_is_better=False,
    ),
    MetricDefinition(
        "popularity",
        "Popularity bias",
        "mean of n_i over all recommended (user, item) pairs within k",
        "Not a number where every item is masked for everyone.",
        per_user=False,
        higher_is_better=False,
    ),
)


def as_markdown() -> str:
    """All rules and definitions as a Markdown page."""
    lines = [
        "# Metrics",
        "",
        "Of one user: R relevant items; h_r = 1 if the item at rank r is relevant, 0 if not.",
        "Of the catalogue: I items; n_i training interactions of item i.",
        "Written by `python -m slifmr_pl metrics`.",
        "",
        "## Rules",
        "",
        *(f"- **{name}:** {text}" for name, text in RULES.items()),
        "",
        "## Means over users",
        "",
        *_sections(per_user=True),
        "## Beyond accuracy, over all users together",
        "",
        *_sections(per_user=False),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _sections(per_user: bool) -> list[str]:
    lines = []
    for metric in DEFINITIONS:
        if metric.per_user is not per_user:
            continue
        better = "Higher is better." if metric.higher_is_better else "More is not better by itself."
        lines += [
            f"### {metric.name}@k: {metric.title}",
            "",
            f"    {metric.formula}",
            "",
            f"{better} {metric.edges}",
            "",
            *(
                f"- h = {list(example.hits)}, R = {example.relevant}, k = {example.k}: "
                f"**{example.value:g}** ({example.note})"
                for example in metric.examples
            ),
            *([""] if metric.examples else []),
        ]
    return lines
