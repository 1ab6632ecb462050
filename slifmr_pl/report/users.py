"""Whom and what the model serves well: activity, popularity, and sample users."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from slifmr_pl.report.html.figures import Bar, bars, figures
from slifmr_pl.report.html.html import Html, concatenated, element, note, paragraph, table
from slifmr_pl.report.html.item_cards import cards
from slifmr_pl.report.run import Run
from slifmr_pl.report.trained import LIST, TrainedRun
from slifmr_pl.runs.reading import Evaluation

Integers = npt.NDArray[np.int64]
_GROUPS = 5
_USERS = 12
_SHOWN = 10  # items of a list, and of a history
_NORMAL = 1.96  # standard errors to either end of a 95 % interval


def by_activity(run: Run, trained: TrainedRun) -> Html:
    """Test metrics of users with few and with many training interactions."""
    evaluation = run.evaluation
    if evaluation is None:
        return note("There are no metrics of single users: ", run.missing["test"])
    users = trained.data.users.encode(evaluation.users)
    activity = trained.history.counts[users]
    names = _metrics(run, evaluation)
    groups = fifths(activity)
    drawn, rows = [], []
    for name in names:
        values = evaluation.values[:, evaluation.columns.index(name)]
        entries = [_bar(_range(activity[group]), values[group]) for group in groups]
        drawn.append(
            bars(
                entries,
                f"{name} by training interactions of the user, with 95 % intervals",
                _in_words(entries),
                x=name,
            )
        )
    for group in groups:
        means = [
            f"{evaluation.values[group, evaluation.columns.index(name)].mean():.4f}"
            for name in names
        ]
        rows.append((_range(activity[group]), f"{len(group):,}", *means))
    header = ("training interactions", "users", *names)
    return concatenated([figures(*drawn), table("Users by activity", header, rows)])


def by_popularity(trained: TrainedRun) -> Html:
    """Which items are asked for, recommended, and found."""
    data, popularity, lists = trained.data, trained.popularity, trained.lists
    if not len(data.test):
        return note("The test part is empty.")
    users = np.repeat(np.arange(len(lists)), trained.relevant.counts)
    tested = trained.relevant.items
    is_hit = (lists[users] == tested[:, None]).any(axis=1)
    served = lists[trained.relevant.counts > 0]
    recommended = np.bincount(served[served >= 0], minlength=len(popularity))
    in_test = np.bincount(tested, minlength=len(popularity))
    hits = np.bincount(tested[is_hit], minlength=len(popularity))
    rows, entries = [], []
    for group in fifths(popularity):
        asked = int(in_test[group].sum())
        share = hits[group].sum() / asked if asked else 0.0
        error = _NORMAL * np.sqrt(share * (1 - share) / asked) if asked else 0.0
        label = _range(popularity[group])
        entries.append(Bar(label, share, max(0.0, share - error), share + error))
        rows.append(
            (
                label,
                f"{len(group):,}",
                f"{popularity[group].sum() / popularity.sum():.1%}",
                f"{asked / len(tested):.1%}",
                f"{recommended[group].sum() / max(recommended.sum(), 1):.1%}",
                f"{share:.1%}" if asked else "none asked for",
            )
        )
    figure = bars(
        entries,
        f"Test interactions found in the first {LIST}, by training interactions of the item",
        _in_words(entries),
        x="share found",
    )
    header = ("training interactions", "items", "of training", "of test", "of lists", "found")
    return concatenated([figures(figure), table("Items by popularity", header, rows)])


def sample_users(trained: TrainedRun) -> Html:
    """Histories and recommendations of some users, with a filter."""
    tested = np.flatnonzero(trained.relevant.counts > 0)
    if not len(tested):
        tested = np.arange(len(trained.data.users))
    drawn = np.sort(np.random.default_rng(0).permutation(tested)[:_USERS])
    examples = [_example(trained, user) for user in drawn.tolist()]
    form = element(
        "form",
        element(
            "label",
            "Search ",
            element("input", type="search", name="text", placeholder="user or title"),
        ),
        element(
            "label",
            element("input", type="checkbox", name="found"),
            " only with a test item in the list",
        ),
        element("output"),
        class_="filter",
        data_of="users",
    )
    text = (
        f"{len(drawn)} users drawn at random. Marked recommendations are in the user's test part; "
        f"known items ({trained.masks}) are left out, as in the test."
    )
    return concatenated([paragraph(text), form, element("div", *examples, id="users")])


def fifths(values: Integers) -> list[Integers]:
    """Indices in five groups of rising value, equally large as far as equal values allow."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, _GROUPS + 1)[1:-1], method="higher"))
    group = np.searchsorted(edges, values, side="left")
    return [
        members for row in range(len(edges) + 1) if len(members := np.flatnonzero(group == row))
    ]


def _example(trained: TrainedRun, user: int) -> Html:
    make, history = trained.cards, trained.history
    start, stop = history.offsets[user : user + 2]
    known = history.items[start:stop]
    # What all have says little of a user; what few have comes first.
    rare = known[np.argsort(trained.popularity[known], kind="stable")][:_SHOWN].tolist()
    is_hit = trained.is_hit(user)[:_SHOWN].tolist()
    ranked = trained.lists[user, :_SHOWN].tolist()
    recommended = [(item, hit) for item, hit in zip(ranked, is_hit, strict=True) if item >= 0]
    name = trained.data.users.decode([user])[0]
    titles = [make.title(item) for item in [*rare, *(item for item, _ in recommended)]]
    hits = sum(is_hit)
    summary = (
        f"{len(known)} training interactions, {trained.relevant.counts[user]} in the test part, "
        f"{hits} of them among the first {len(recommended)}"
    )
    few = f"History, the {len(rare)} least popular" if len(rare) < len(known) else "History"
    return element(
        "div",
        element("h3", f"User {name}"),
        element("p", summary, class_="soft"),
        paragraph(few),
        cards([make.card(item) for item in rare]),
        paragraph("Recommended"),
        cards(
            [
                make.card(
                    item, tag=f"{rank} · in the test part" if hit else str(rank), highlighted=hit
                )
                for rank, (item, hit) in enumerate(recommended, 1)
            ]
        ),
        class_="example",
        data_text=" ".join([name, *titles]).lower(),
        data_tags="found" if hits else "none",
    )


def _metrics(run: Run, evaluation: Evaluation) -> list[str]:
    """The monitored metric and NDCG at the same cut-off, as far as users have them."""
    monitored = run.monitor.removeprefix("val/")
    wanted = dict.fromkeys([monitored, f"ndcg@{monitored.partition('@')[2]}"])
    return [name for name in wanted if name in evaluation.columns] or [evaluation.columns[0]]


def _bar(label: str, values: npt.NDArray[np.float64]) -> Bar:
    mean = float(values.mean())
    if len(values) < 2:
        return Bar(label, mean)
    error = _NORMAL * float(values.std(ddof=1)) / np.sqrt(len(values))
    return Bar(label, mean, max(0.0, mean - error), mean + error)


def _range(values: Integers) -> str:
    least, most = int(values.min()), int(values.max())
    return f"{least:,}" if least == most else f"{least:,}–{most:,}"


def _in_words(entries: Sequence[Bar]) -> str:
    return "; ".join(f"{entry.label}: {entry.value:.3f}" for entry in entries) + "."
