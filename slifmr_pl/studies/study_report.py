"""The table of a study: Markdown, CSV and JSON."""

import csv
import io
import statistics
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from slifmr_pl.runs.atomic_files import write_json, write_whole
from slifmr_pl.runs.reading import read_record
from slifmr_pl.studies.comparison import Comparison
from slifmr_pl.studies.comparison_tables import p_value_text, remarks
from slifmr_pl.studies.tuned_study import Tuned

FILES = ("study.md", "study.csv", "study.json")


def study_rows(tuned: Mapping[str, Tuned], comparison: Comparison) -> list[dict[str, Any]]:
    """One row a model, with plain numbers.

    Of each metric: mean and standard deviation over seeds and, but for the first model, the
    relative difference to it, with p-values that are corrected for all tests: the paired t-test
    over users, and Welch's over runs (None for a single seed). Seconds: of all trials, of a tested
    run, of an epoch of it.
    """
    rows = []
    for name, of_model in tuned.items():
        records = [read_record(run) for run in of_model.runs]
        row: dict[str, Any] = {
            "model": name,
            "trials": len(of_model.trials),
            "validation": of_model.trials[0]["value"],
        }
        for metric, estimate in comparison.estimates[name].items():
            contrast = comparison.contrasts.get(name, {}).get(metric)
            over_runs = None if contrast is None else contrast.over_runs
            row |= {
                metric: estimate.mean,
                f"{metric} std": estimate.std,
                f"{metric} difference": None if contrast is None else contrast.relative,
                f"{metric} p": None if contrast is None else contrast.t_test.holm,
                f"{metric} p over runs": None if over_runs is None else over_runs.holm,
            }
        row |= {
            "tuning seconds": round(sum(trial["seconds"] for trial in of_model.trials), 1),
            "run seconds": statistics.median(record["seconds"] for record in records),
            "epoch seconds": statistics.median(
                record["seconds"] / max(1, record["epochs"]) for record in records
            ),
            "settings": of_model.trials[0]["params"],
        }
        rows.append(row)
    return rows


def write_study(tuned: Mapping[str, Tuned], comparison: Comparison, out: Path) -> str:
    """Writes the three files, and gives the Markdown."""
    rows = study_rows(tuned, comparison)
    markdown = as_markdown(rows, comparison)
    write_whole(out / FILES[0], markdown.encode())
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, rows[0].keys())
    writer.writeheader()
    writer.writerows(rows)
    write_whole(out / FILES[1], text.getvalue().encode())
    trials = {name: of_model.trials for name, of_model in tuned.items()}
    write_json(out / FILES[2], {"rows": rows, "trials": trials, "comparison": asdict(comparison)})
    return markdown


def as_markdown(rows: list[dict[str, Any]], comparison: Comparison) -> str:
    """The table for people, and what they have to know of its numbers."""
    metrics = list(comparison.estimates[rows[0]["model"]])
    first = rows[0]["model"]
    header = ["model", "trials", "validation"]
    for metric in metrics:
        header += [metric, f"against {first}", "p, users", "p, runs"]
    header += ["tuning", "a run", "an epoch"]
    lines = [header, ["---", *["---:"] * (len(header) - 1)]]
    for row in rows:
        cells = [row["model"], str(row["trials"]), f"{row['validation']:.4f}"]
        for metric in metrics:
            spread = "" if row[f"{metric} std"] is None else f" ± {row[f'{metric} std']:.4f}"
            contrast = comparison.contrasts.get(row["model"], {}).get(metric)
            cells.append("not a number" if row[metric] is None else f"{row[metric]:.4f}{spread}")
            if contrast is None:
                cells += ["", "", ""]
                continue
            over_runs = contrast.over_runs
            cells += [
                "" if contrast.relative is None else f"{contrast.relative:+.1%}",
                p_value_text(contrast.t_test),
                "" if over_runs is None else p_value_text(over_runs),
            ]
        cells += [f"{row[f'{what} seconds']:.3g} s" for what in ("tuning", "run", "epoch")]
        lines.append(cells)
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    seeds = len(comparison.runs[first])
    protocol = (
        f"Test: full ranking, {comparison.users} users, {comparison.masks} items masked; "
        f"{seeds} {'seed' if seeds == 1 else 'seeds'}, mean ± standard deviation. "
        "Tuned on the validation part alone; the time of a run includes its validation."
    )
    return table + "\n\n" + "\n".join([protocol, *remarks(comparison)]) + "\n"
