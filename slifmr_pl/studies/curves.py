"""Curves of a robustness study."""

from collections.abc import Sequence
from pathlib import Path
from statistics import stdev

import numpy as np

from slifmr_pl.config.optional import library
from slifmr_pl.studies.robustness import Point, mean_points


def draw(points: Sequence[Point], labels: dict[str, str], metric: str, path: Path) -> None:
    """Draws a panel for each aspect and a line for each model, with ± one standard deviation.

    Args:
        points: What was measured.
        labels: Of the axis, by aspect.
        metric: For example `recall@20`.
        path: Picture to write; its suffix chooses the format.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    library("matplotlib", "report", "a plot", "give --no-plot")
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(point.aspect for point in points))
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4 * columns, 3.2 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel, name in zip(panels, names, strict=False):
        lines: dict[str, dict[str, list[float]]] = {}
        of_aspect = [point for point in points if point.aspect == name]
        for (_, model, level), values in mean_points(of_aspect, metric).items():
            lines.setdefault(model, {})[level] = values
        for model, levels in lines.items():
            means = np.array([np.mean(values) for values in levels.values()])
            spread = np.array([stdev(v) if len(v) > 1 else 0.0 for v in levels.values()])
            places = np.arange(len(means))
            panel.plot(places, means, marker="o", markersize=3, label=model)
            panel.fill_between(places, means - spread, means + spread, alpha=0.15)
            panel.set_xticks(places, list(levels))
        panel.set_xlabel(labels[name])
        panel.set_ylabel(metric)
        panel.grid(visible=True, alpha=0.3)
    for panel in panels[len(names) :]:
        panel.set_axis_off()
    handles, models = panels[0].get_legend_handles_labels()
    figure.legend(handles, models, loc="outside lower center", ncols=max(1, len(models)))
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without a date and with names of its own, the same figures make the same file.
    with rc_context({"svg.hashsalt": "robustness"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
