"""How the training went: losses, metrics, and the life of the self-loop."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from slifmr_pl.report.html.figures import curves, figures, histograms
from slifmr_pl.report.html.html import Html, concatenated, note, paragraph, table
from slifmr_pl.report.run import Run, Series
from slifmr_pl.report.trained import TrainedRun

_SHOWN = ("recall", "ndcg", "coverage", "popularity")


@dataclass(frozen=True)
class Rebuild:
    """What one epoch did to the correlation graph.

    Attributes:
        epoch: The epoch that ended.
        edges: Directed edges of the new graph.
        kept: Those that the graph before had.
        dropped: Edges of the graph before that are gone.
        similarity: Mean cosine similarity of the neighbours.
    """

    epoch: int
    edges: int
    kept: int
    dropped: int
    similarity: float


def training(run: Run) -> Html:
    """Losses and validation metrics over the epochs."""
    if not run.history:
        return note("There are no curves: ", run.missing.get("history", "nothing was logged."))
    losses = {
        name.removeprefix("train/"): series
        for name, series in run.history.items()
        if name.startswith("train/")
    }
    cutoff = run.monitor.partition("@")[2]
    parts = []
    if losses:
        parts.append(
            curves(losses, "Mean losses of the training batches", _in_words(losses), x="epoch")
        )
    for metric in dict.fromkeys([run.monitor.removeprefix("val/"), *_at(cutoff)]):
        series = run.history.get(f"val/{metric}")
        if series is not None:
            parts.append(
                curves(
                    {metric: series},
                    f"{metric} on the validation part",
                    _in_words({metric: series}),
                    x="epoch",
                    at=run.best_epoch,
                )
            )
    best = run.best_epoch
    chosen = [] if best is None else [paragraph(f"The dotted line is at epoch {best}, the best.")]
    return concatenated([*chosen, figures(*parts)])


def rebuilds(history: Mapping[str, Series]) -> list[Rebuild]:
    """What each rebuild did, from the edges and their overlap (Jaccard) that were logged.

    A run that was resumed does not know the graph before its first rebuild, and starts with its
    second.
    """
    if not {"self_loop/edges", "self_loop/overlap", "self_loop/similarity"} <= history.keys():
        return []
    epochs, edges = history["self_loop/edges"]
    overlaps = history["self_loop/overlap"][1]
    similarities = history["self_loop/similarity"][1]
    rebuilt = []
    rows = zip([0.0, *edges], epochs, edges, overlaps, similarities, strict=False)
    for number, (before, epoch, after, overlap, similarity) in enumerate(rows):
        if number == 0 and overlap > 0:
            continue
        # J = kept / (before + after - kept), solved for what was kept.
        kept = round(overlap * (before + after) / (1 + overlap))
        rebuilt.append(Rebuild(int(epoch), int(after), kept, int(before) - kept, similarity))
    return rebuilt


def self_loop(run: Run, trained: TrainedRun | None) -> Html:
    """Edges kept and replaced, similarities; of a run with `rebuilds`."""
    life = rebuilds(run.history)
    epochs = [float(rebuild.epoch) for rebuild in life]
    last = life[-1]
    parts = [
        curves(
            {
                "kept": (epochs, [float(rebuild.kept) for rebuild in life]),
                "new": (epochs, [float(rebuild.edges - rebuild.kept) for rebuild in life]),
                "dropped": (epochs, [float(rebuild.dropped) for rebuild in life]),
            },
            "Edges of the correlation graph, by what the rebuild did to them",
            f"After the last rebuild {last.kept} of {last.edges} edges were kept.",
            x="epoch",
            y="edges",
        ),
        curves(
            {"similarity": (epochs, [rebuild.similarity for rebuild in life])},
            "Mean cosine similarity of the correlation graph's neighbours",
            f"From {life[0].similarity:.2f} to {last.similarity:.2f}.",
            x="epoch",
        ),
    ]
    if trained is not None:
        parts.append(_similarities(trained))
    steps = sorted({round(step) for step in np.linspace(0, len(life) - 1, 12)})
    rows = [
        (
            f"{life[step].epoch}",
            f"{life[step].edges:,}",
            f"{life[step].kept:,}",
            f"{life[step].edges - life[step].kept:,}",
            f"{life[step].dropped:,}",
            f"{life[step].similarity:.3f}",
        )
        for step in steps
    ]
    header = ("after epoch", "edges", "kept", "new", "dropped", "mean similarity")
    return concatenated([figures(*parts), table("Rebuilds of the correlation graph", header, rows)])


def _similarities(trained: TrainedRun) -> Html:
    inputs, learned = trained.module.inputs, trained.module.learned_neighbours()
    assert inputs is not None
    graphs = {"correlation": learned} if learned is not None else {}
    graphs |= {f"{name}, frozen": graph for name, graph in inputs.graph.modalities.items()}
    series = {
        name: neighbours.weights[neighbours.indices >= 0].cpu().numpy().astype(np.float64)
        for name, neighbours in graphs.items()
    }
    if not series:
        return note("The best epoch had no correlation graph yet.")
    means = ", ".join(f"{name} {values.mean():.2f}" for name, values in series.items())
    return histograms(
        series,
        "Similarity of neighbours: correlation graph of the best epoch, and frozen graphs",
        f"Means: {means}.",
        x="cosine similarity",
        edges=np.linspace(0, 1, 21),
    )


def _at(cutoff: str) -> list[str]:
    return [f"{name}@{cutoff}" for name in _SHOWN]


def _in_words(series: Mapping[str, Series]) -> str:
    return (
        "; ".join(
            f"{name} from {values[0]:.4g} to {values[-1]:.4g}"
            for name, (_, values) in series.items()
        )
        + "."
    )
