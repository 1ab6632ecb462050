"""A comparison as tables that a person reads."""

from rich.console import Console
from rich.table import Table

from slifmr_pl.studies.comparison import Comparison, Contrast, Estimate, Tested

_SETTINGS = 12  # as many differing settings are shown


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Prints the runs, what differs in their settings, the means, and each contrast."""
    for name, runs in comparison.runs.items():
        for run in runs:
            console.print(
                f"{name}: {run['model']}, {run['folder']} (seed {run['seed']})", highlight=False
            )
    console.print(
        f"{comparison.stage}: full ranking, {comparison.users} users, {comparison.masks} items "
        "masked\n",
        highlight=False,
    )
    if comparison.settings:
        console.print(_settings(comparison))
    console.print(_means(comparison))
    for name, contrasts in comparison.contrasts.items():
        console.print(_contrasts(comparison, name, contrasts))
    console.print("\n".join(remarks(comparison)), highlight=False)


def _settings(comparison: Comparison) -> Table:
    table = Table(title="Settings that differ", title_justify="left")
    table.add_column("setting")
    for name in comparison.runs:
        table.add_column(name)
    for key, values in list(comparison.settings.items())[:_SETTINGS]:
        table.add_row(key, *(str(values[name]) for name in comparison.runs))
    more = len(comparison.settings) - _SETTINGS
    if more > 0:
        table.add_row(f"… and {more} more", *("" for _ in comparison.runs))
    return table


def _means(comparison: Comparison) -> Table:
    table = Table(title="Mean [95 % interval over users]", title_justify="left")
    table.add_column("metric")
    for name, runs in comparison.runs.items():
        table.add_column(name if len(runs) == 1 else f"{name}, {len(runs)} runs ± std")
    for metric in next(iter(comparison.estimates.values())):
        cells = [
            estimate_text(metric, of_group[metric]) for of_group in comparison.estimates.values()
        ]
        table.add_row(metric, *cells)
    return table


def _contrasts(comparison: Comparison, name: str, contrasts: dict[str, Contrast]) -> Table:
    first = next(iter(comparison.runs))
    table = Table(title=f"{name} − {first}", title_justify="left")
    table.add_column("metric")
    table.add_column("difference [95 % interval]")
    table.add_column("relative", justify="right")
    over_runs = any(contrast.over_runs for contrast in contrasts.values())
    for test in ("t-test", "Wilcoxon", "randomisation", *(["over runs"] if over_runs else [])):
        table.add_column(f"p, {test}", justify="right")
    for metric, contrast in contrasts.items():
        tests = [contrast.t_test, contrast.wilcoxon, contrast.randomisation]
        tests += [contrast.over_runs] if contrast.over_runs else []
        table.add_row(
            metric,
            f"{contrast.difference:+.4f} [{contrast.low:+.4f}, {contrast.high:+.4f}]",
            "" if contrast.relative is None else f"{contrast.relative:+.1%}",
            *map(p_value_text, tests),
        )
    return table


def remarks(comparison: Comparison) -> list[str]:
    """What a reader has to know of the numbers."""
    notes = []
    if comparison.tests > 1:
        notes.append(f"p-values are corrected for {comparison.tests} tests (Holm).")
    if comparison.contrasts:
        several = all(len(runs) > 1 for runs in comparison.runs.values())
        notes.append(
            f"t-test, Wilcoxon and randomisation: paired, over users ({comparison.resamples} "
            f"resamples, seed {comparison.seed}). "
            + (
                "Over runs: Welch's t-test."
                if several
                else "Whether another seed would agree takes groups of several runs."
            )
        )
    if comparison.left_out:
        notes.append(f"Left out, since not all runs have them: {', '.join(comparison.left_out)}.")
    return notes


def estimate_text(metric: str, estimate: Estimate) -> str:
    """A mean with its spread over runs and its interval, as far as there are any."""
    digits = 1 if metric.startswith("popularity@") else 4
    if estimate.mean is None:
        return "not a number"
    text = f"{estimate.mean:.{digits}f}"
    if estimate.std is not None:
        text += f" ± {estimate.std:.{digits}f}"
    if estimate.low is not None and estimate.high is not None:
        text += f" [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"
    return text


def p_value_text(tested: Tested) -> str:
    """The corrected p-value."""
    return "< 0.0001" if tested.holm < 0.0001 else f"{tested.holm:.4f}"
