"""The report of several runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from slifmr_pl.errors import RunError
from slifmr_pl.report.html.figures import Bar, bars, curves, figures
from slifmr_pl.report.html.html import Html, concatenated, note, paragraph, table
from slifmr_pl.report.html.page import Section, page
from slifmr_pl.report.run import Run, reason
from slifmr_pl.studies.comparable import Group
from slifmr_pl.studies.comparison import Comparison, Contrast, compare
from slifmr_pl.studies.comparison_tables import estimate_text, p_value_text, remarks

_BARS = 4  # metrics that are drawn


@dataclass(frozen=True)
class Compared:
    """Runs of one configuration, under one name."""

    name: str
    runs: Sequence[Run]


def comparison_page(groups: Sequence[Compared], metrics: Sequence[str] | None = None) -> Html:
    """The page; what cannot be compared is said, and the rest is shown.

    Args:
        groups: Two or more; the first is what the others are compared with.
        metrics: Names like `recall@20`; default those at the cut-off of the monitored metric.
    """
    first = groups[0].runs[0]
    cutoff = first.monitor.partition("@")[2]
    sections = [Section("Runs", _runs(groups))]
    try:
        comparison = compare(_tested(groups), metrics)
    except RunError as error:
        sections.append(Section("Test", note("Cannot be compared: ", reason(error))))
    else:
        shown = list(metrics or _at(cutoff, comparison))
        sections += [
            Section("Test", _test(comparison, shown)),
            Section("Differences", _differences(comparison)),
        ]
        if comparison.settings:
            sections.append(Section("Settings that differ", _settings(comparison)))
    sections.append(Section("Training", _training(groups, first.monitor)))
    names = ", ".join(group.name for group in groups)
    return page("Comparison of runs", f"{names}; {groups[0].name} is the baseline.", sections)


def _tested(groups: Sequence[Compared]) -> list[Group]:
    for group in groups:
        for run in group.runs:
            if run.evaluation is None:
                raise RunError(
                    f"{run.folder} has no test result: {run.missing['test']}",
                    expected="runs that were tested",
                    fix="test it with its best checkpoint",
                )
    return [
        Group(group.name, tuple(run.evaluation for run in group.runs if run.evaluation))
        for group in groups
    ]


def _at(cutoff: str, comparison: Comparison) -> list[str]:
    names = list(next(iter(comparison.estimates.values())))
    return [name for name in names if name.endswith(f"@{cutoff}")] or names


def _runs(groups: Sequence[Compared]) -> Html:
    rows = []
    for group in groups:
        for run in group.runs:
            record = run.record or {}
            best = record.get("best") or {}
            score = best.get("score")
            rows.append(
                (
                    group.name,
                    run.name,
                    str(run.folder),
                    str(record.get("seed", "unknown")),
                    str(record.get("outcome", "unknown")),
                    "unknown" if run.best_epoch is None else str(run.best_epoch),
                    "unknown" if score is None else f"{score:.4f} {best['monitor']}",
                )
            )
    header = ("", "name", "folder", "seed", "outcome", "best epoch", "best value")
    return table("What is compared", header, rows, numbers=False)


def _test(comparison: Comparison, shown: Sequence[str]) -> Html:
    drawn = [
        bars(
            [
                Bar(name, of_group[metric].mean or 0.0, of_group[metric].low, of_group[metric].high)
                for name, of_group in comparison.estimates.items()
            ],
            f"{metric}, with 95 % intervals over users",
            "; ".join(
                f"{name} {estimate_text(metric, of_group[metric])}"
                for name, of_group in comparison.estimates.items()
            ),
            x=metric,
        )
        for metric in shown[:_BARS]
    ]
    header = [
        name if len(runs) == 1 else f"{name}, {len(runs)} runs ± std"
        for name, runs in comparison.runs.items()
    ]
    rows = [
        (
            metric,
            *(
                estimate_text(metric, of_group[metric])
                for of_group in comparison.estimates.values()
            ),
        )
        for metric in next(iter(comparison.estimates.values()))
    ]
    caption = (
        f"Mean [95 % interval over users]: full ranking, {comparison.users:,} users, "
        f"{comparison.masks} items masked"
    )
    return concatenated([figures(*drawn), table(caption, ("metric", *header), rows)])


def _differences(comparison: Comparison) -> Html:
    if not comparison.contrasts:
        return paragraph("No metric is a mean over users.")
    baseline = next(iter(comparison.runs))
    parts = [
        table(
            f"{name} − {baseline}",
            ("metric", "difference [95 % interval]", "relative", "p, t-test", "p, randomisation"),
            [_contrast(metric, contrast) for metric, contrast in contrasts.items()],
        )
        for name, contrasts in comparison.contrasts.items()
    ]
    return concatenated([*parts, *map(paragraph, remarks(comparison))])


def _contrast(metric: str, contrast: Contrast) -> tuple[str, ...]:
    return (
        metric,
        f"{contrast.difference:+.4f} [{contrast.low:+.4f}, {contrast.high:+.4f}]",
        "" if contrast.relative is None else f"{contrast.relative:+.1%}",
        p_value_text(contrast.t_test),
        p_value_text(contrast.randomisation),
    )


def _settings(comparison: Comparison) -> Html:
    rows = [
        (key, *(str(values[name]) for name in comparison.runs))
        for key, values in comparison.settings.items()
    ]
    return table("By group", ("setting", *comparison.runs), rows, numbers=False)


def _training(groups: Sequence[Compared], monitor: str) -> Html:
    drawn, without = [], []
    wanted = (monitor, "train/loss", "self_loop/overlap")
    for name in wanted:
        series = {
            group.name if len(group.runs) == 1 else f"{group.name}, seed {seed}": run.history[name]
            for group in groups
            for run in group.runs
            for seed in [(run.record or {}).get("seed")]
            if name in run.history
        }
        if series:
            ends = [f"{run} ends at {values[-1]:.4g}" for run, (_, values) in series.items()]
            drawn.append(curves(series, name, "; ".join(ends), x="epoch"))
    for group in groups:
        for run in group.runs:
            if not run.history:
                text = run.missing.get("history", "nothing was logged")
                without.append(note(f"No curves of {run.folder}: ", text))
    return concatenated([figures(*drawn), *without])
