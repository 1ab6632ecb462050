"""`robustness`: test metrics over degraded training data."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slifmr_pl.cli.commands.arguments import (
    add_configurations,
    at_least,
    configuration,
    console,
    metric_names,
    names,
    threads_of,
)

if TYPE_CHECKING:
    from rich.table import Table

HELP = "train models on degraded data, and draw how their metrics fall"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the models, what is made worse, and the place of the results."""
    parser.description = (
        "Trains and tests models on training data made worse, step by step; validation and test "
        "stay as they are. Started again, it goes on with what is missing."
    )
    parser.epilog = "What each aspect is, and how it is measured: docs/robustness.md."
    add_configurations(parser)
    parser.add_argument(
        "--model",
        type=_model,
        action="append",
        default=[],
        metavar="NAME=FILE,FILE",
        help="another model: these files or presets on top of CONFIG; give it again for the next",
    )
    parser.add_argument(
        "--name", default="SLIF-MR", help="of the model of CONFIG alone; default: %(default)s"
    )
    parser.add_argument(
        "--aspects",
        type=names,
        metavar="A,B",
        help="of interactions, training, knowledge, cold, missing-MODALITY and activity; "
        "default: all",
    )
    parser.add_argument(
        "--metrics",
        type=metric_names,
        default=["recall@20", "ndcg@20"],
        metavar="METRIC@K,METRIC@K",
        help="what is written; the first is printed and drawn; default: recall@20,ndcg@20",
    )
    parser.add_argument("--seeds", type=at_least(0), nargs="+", default=[1, 2, 3], metavar="SEED")
    parser.add_argument(
        "--out", type=Path, metavar="PATH", help="default: runs/robustness/NAME, of the last CONFIG"
    )
    parser.add_argument("--no-plot", action="store_true", help="needs no matplotlib")


def run(options: argparse.Namespace) -> int:
    """Measures, prints and draws."""
    import csv

    from slifmr_pl.runs.atomic_files import write_json
    from slifmr_pl.studies.curves import draw
    from slifmr_pl.studies.robustness import Model, Study, aspects, measure, records

    base = tuple(options.configs)
    others = [Model(name, (*base, *files)) for name, files in options.model]
    out = options.out or Path("runs", "robustness", base[-1].stem)
    study = Study(
        models=(Model(options.name, base), *others),
        settings=dict(options.set),
        seeds=tuple(options.seeds),
        out=out,
        jobs=options.jobs,
        threads=threads_of(options.jobs),
        metrics=tuple(options.metrics),
    )
    screen = console()
    points = measure(study, options.aspects, lambda line: screen.print(line, highlight=False))
    rows = records(points, study.metrics)
    write_json(out / "robustness.json", rows)
    with (out / "robustness.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    for aspect in dict.fromkeys(row["aspect"] for row in rows):
        of_aspect = [row for row in rows if row["aspect"] == aspect]
        screen.print(_table(aspect, of_aspect, study.metrics[0]))
    written = ["robustness.csv", "robustness.json"]
    if not options.no_plot:
        modalities = [a.removeprefix("missing-") for a in {p.aspect for p in points}]
        labels = {aspect.name: aspect.label for aspect in aspects(modalities)}
        labels["activity"] = "training interactions of a user"
        draw(points, labels, study.metrics[0], out / "robustness.svg")
        written.append("robustness.svg")
    screen.print(f"Written to {out}: {', '.join(written)}", highlight=False)
    return 0


def _table(aspect: str, rows: list[dict[str, Any]], metric: str) -> "Table":
    from rich.table import Table

    levels = list(dict.fromkeys(row["level"] for row in rows))
    table = Table(title=f"{aspect}: {metric}", title_justify="left")
    table.add_column("model")
    for level in levels:
        table.add_column(level, justify="right")
    for model in dict.fromkeys(row["model"] for row in rows):
        cells = {row["level"]: row for row in rows if row["model"] == model}
        table.add_row(model, *(_cell(cells[level], metric) for level in levels))
    return table


def _cell(row: dict[str, Any], metric: str) -> str:
    spread = row[f"{metric} std"]
    return f"{row[metric]:.4f}" + ("" if spread is None else f" ± {spread:.4f}")


def _model(text: str) -> tuple[str, tuple[Path, ...]]:
    name, _, files = text.partition("=")
    paths = tuple(configuration(file) for file in names(files))
    if not name or "/" in name or not paths:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE,FILE")
    return name, paths
