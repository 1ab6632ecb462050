"""The report of one run."""

from collections.abc import Callable
from pathlib import Path

import yaml

from slifmr_pl.errors import UserFacingError
from slifmr_pl.report.html.html import Html, code, concatenated, details, note, paragraph, table
from slifmr_pl.report.html.page import Section, page
from slifmr_pl.report.inspection.inspection_page import notes_section, sizes_section
from slifmr_pl.report.item_section import alignment, has_neighbourhoods, neighbourhoods
from slifmr_pl.report.run import Run, reason
from slifmr_pl.report.trained import TrainedRun, load_trained
from slifmr_pl.report.training import rebuilds, self_loop, training
from slifmr_pl.report.users import by_activity, by_popularity, sample_users
from slifmr_pl.runs.run_folders import CONFIG_FILE, RECORD_FILE
from slifmr_pl.runs.time_left import Countdown


def as_page(
    run: Run, root: Path | None = None, say: Callable[[str], None] = lambda line: None
) -> Html:
    """The page; what is missing is said where it would be.

    Args:
        run: What was left behind.
        root: Where the data folder is now; None where the configuration says.
        say: Is told what is done, and how much is left.
    """
    trained, why = None, ""
    say("Reading the data and the best checkpoint")
    try:
        trained = load_trained(run, root)
    except UserFacingError as error:
        why = reason(error)

    def of_trained(section: Callable[[TrainedRun], Html]) -> Callable[[], Html]:
        return lambda: note("Cannot be shown: ", why) if trained is None else section(trained)

    parts: dict[str, Callable[[], Html]] = {
        "Result": lambda: _result(run),
        "Training": lambda: training(run),
    }
    absent = []
    if rebuilds(run.history):
        parts["The self-loop"] = lambda: self_loop(run, trained)
    else:
        absent.append("The self-loop: no correlation graph was built.")
    for title, section, applies, otherwise in (
        (
            "Neighbours before and after",
            neighbourhoods,
            has_neighbourhoods,
            "there are no graphs of items, and training found no neighbours.",
        ),
        (
            "Views of the items",
            alignment,
            lambda there: len(there.views) > 1,
            "the model has no several views of an item.",
        ),
    ):
        if trained is None or applies(trained):
            parts[title] = of_trained(section)
        else:
            absent.append(f"{title}: {otherwise}")
    parts |= {
        "Users by activity": of_trained(lambda there: by_activity(run, there)),
        "Items by popularity": of_trained(by_popularity),
        "Users and their recommendations": of_trained(sample_users),
        "Data": of_trained(_data),
        "Settings, and how to reproduce": lambda: _settings(run),
    }
    if absent:
        parts["Left out"] = lambda: concatenated(paragraph(one) for one in absent)
    sections, countdown = [], Countdown(len(parts))
    for title, make in parts.items():
        sections.append(Section(title, make()))
        say(f"{countdown.done()}  {title}")
    name = "" if trained is None else f"{type(trained.module).__name__}, "
    return page(f"Run {run.name}", name + _lead(run), sections)


def _lead(run: Run) -> str:
    record = run.record
    if record is None:
        return f"{run.folder}."
    seconds = record.get("seconds")
    took = f", {seconds:,.0f} seconds" if seconds else ""
    return (
        f"{run.folder}: {record['outcome']} after {record.get('epochs')} epochs{took}, "
        f"seed {record.get('seed')}, begun {record.get('started')}."
    )


def _result(run: Run) -> Html:
    evaluation, best = run.evaluation, (run.record or {}).get("best")
    parts = []
    if best is not None:
        score = "" if best["score"] is None else f" {best['score']:.4f}"
        parts.append(paragraph(f"Best epoch: {run.best_epoch}, with {best['monitor']}{score}."))
    if evaluation is None:
        return concatenated([*parts, note("There is no test result: ", run.missing["test"])])
    names = list(dict.fromkeys(name.partition("@")[0] for name in evaluation.metrics))
    cutoffs = sorted({int(name.partition("@")[2]) for name in evaluation.metrics})
    rows = [
        (
            name,
            *(
                f"{evaluation.metrics[f'{name}@{k}']:.{1 if name == 'popularity' else 4}f}"
                if f"{name}@{k}" in evaluation.metrics
                else ""
                for k in cutoffs
            ),
        )
        for name in names
    ]
    caption = (
        f"Test of the best checkpoint: full ranking, {len(evaluation.users):,} users, "
        f"{evaluation.masks} items masked"
    )
    return concatenated([*parts, table(caption, ("metric", *(f"@{k}" for k in cutoffs)), rows)])


def _data(trained: TrainedRun) -> Html:
    return concatenated([sizes_section(trained.findings), notes_section(trained.findings)])


def _settings(run: Run) -> Html:
    commands = [
        f"slifmr reproduce {run.folder}  # train again, compare every number",
        f"slifmr fit --config {run.folder / CONFIG_FILE}",
    ]
    record = run.record or {}
    if record.get("best"):
        commands.append(
            f"slifmr test --config {run.folder / CONFIG_FILE} "
            f"--ckpt_path {run.folder / record['best']['checkpoint']}"
        )
    parts = [code("\n".join(commands))]
    if run.settings is not None:
        text = yaml.safe_dump(run.settings, sort_keys=False, allow_unicode=True)
        parts.append(details(f"All settings ({CONFIG_FILE})", code(text)))
    else:
        parts.append(note("The settings are missing: ", run.missing["settings"]))
    if run.record is not None:
        kept = {
            key: run.record[key]
            for key in ("command", "resumed_from", "trainer", "environment", "git", "data")
            if run.record.get(key) is not None
        }
        text = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
        parts.append(details(f"Versions, hardware, code and data ({RECORD_FILE})", code(text)))
    else:
        parts.append(note("The record is missing: ", run.missing["record"]))
    return concatenated(parts)
