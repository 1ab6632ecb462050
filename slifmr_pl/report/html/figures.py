"""Figures as inline SVG: text stays text, and takes the colour of the page, light or dark."""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from slifmr_pl.config.optional import library
from slifmr_pl.report.html.html import Html, element

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]

# Colours that colour-blind readers can tell apart (Okabe & Ito 2008), readable on black and white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9")
OTHERS = "#999999"
_MARKERS = ("o", "s", "^", "D", "v", "P")
_DASHES = ("-", "--", "-.", ":")
_INK = "#010203"  # stands for the page's own text colour
# A phone shows a figure of this width (inches) about as large as it is drawn.
_SIZE = (4.6, 2.9)
_LONGEST = 28  # characters of a name in a figure


@dataclass(frozen=True)
class Bar:
    """One bar, with the ends of its interval where it has one."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None


def require_matplotlib() -> None:
    """Refuses to begin a page whose figures could not be drawn.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    library("matplotlib.figure", "report", "the page")


def curves(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    caption: str,
    alt: str,
    *,
    x: str,
    y: str = "",
    at: float | None = None,
    log: bool = False,
) -> Html:
    """Lines over a common axis.

    Args:
        series: Abscissae and ordinates by name.
        caption: What is shown.
        alt: What can be seen, in words.
        x: Name of the axis.
        y: Name of the other.
        at: Where to draw a vertical line, such as the best epoch.
        log: Whether both axes are logarithmic.
    """

    def plot(axes: "Axes") -> None:
        for number, (name, (xs, ys)) in enumerate(series.items()):
            axes.plot(
                xs,
                ys,
                _DASHES[number // len(COLOURS) % len(_DASHES)],
                color=COLOURS[number % len(COLOURS)],
                marker=_MARKERS[number % len(_MARKERS)],
                markersize=3 if len(xs) < 40 else 0,
                label=_short(name),
            )
        if at is not None:
            axes.axvline(at, color=_INK, linewidth=0.8, linestyle=":")
        if log:
            axes.loglog()
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter("{x:g}")
                axis.set_minor_formatter("")
        axes.set(xlabel=x, ylabel=y)
        if len(series) > 1:
            axes.legend(ncols=2 if len(series) > 4 else 1)

    return _figure(plot, caption, alt)


def bars(items: Sequence[Bar], caption: str, alt: str, *, x: str) -> Html:
    """Horizontal bars from the top down, with intervals as thin lines."""

    def plot(axes: "Axes") -> None:
        rows = np.arange(len(items))
        axes.barh(rows, [item.value for item in items], color=COLOURS[0], height=0.62)
        for row, item in zip(rows, items, strict=True):
            if item.low is not None and item.high is not None:
                axes.plot([item.low, item.high], [row, row], color=_INK, linewidth=1.4)
        axes.set_yticks(rows, [_short(item.label) for item in items])
        axes.invert_yaxis()
        axes.set(xlabel=x)
        axes.grid(visible=False, axis="y")

    height = max(1.3, 0.7 + 0.3 * len(items))
    return _figure(plot, caption, alt, (_SIZE[0], height))


def histograms(
    series: Mapping[str, Floats], caption: str, alt: str, *, x: str, edges: Floats
) -> Html:
    """Shares of values in common bins, as stepped lines.

    Args:
        series: Values by name.
        caption: What is shown.
        alt: What can be seen, in words.
        x: Name of the axis.
        edges: Of the bins, ascending.
    """

    def plot(axes: "Axes") -> None:
        for number, (name, values) in enumerate(series.items()):
            counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
            shares = counts / max(len(values), 1)
            axes.stairs(shares, edges, color=COLOURS[number], label=_short(name), linewidth=1.5)
            axes.stairs(shares, edges, color=COLOURS[number], fill=True, alpha=0.15)
        axes.set(xlabel=x, ylabel="share", ylim=(0, None))
        if len(series) > 1:
            axes.legend()

    return _figure(plot, caption, alt)


def scatter(
    points: Floats,
    groups: Mapping[str, npt.NDArray[np.bool_]],
    caption: str,
    alt: str,
    *,
    within: float,
) -> Html:
    """Points of a plane whose axes have no unit.

    Args:
        points: Float64 ``[n, 2]``.
        groups: Points ``[n]`` of each group by name, drawn in this order; the first, grey, holds
            what belongs to no other.
        caption: What is shown.
        alt: What can be seen, in words.
        within: The plane is drawn from minus this to this, in both directions.
    """

    def plot(axes: "Axes") -> None:
        for number, (name, mask) in enumerate(groups.items()):
            axes.scatter(
                points[mask, 0],
                points[mask, 1],
                s=9,
                color=COLOURS[number - 1] if number else OTHERS,
                marker=_MARKERS[number - 1] if number else ".",
                alpha=0.75 if number else 0.45,
                linewidths=0,
                label=_short(name),
            )
        axes.set(
            xticks=[], yticks=[], aspect="equal", xlim=(-within, within), ylim=(-within, within)
        )
        axes.grid(visible=False)
        if len(groups) > 1:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, markerscale=1.6)

    return _figure(plot, caption, alt, (4.6, 4.4))


def figures(*content: Html) -> Html:
    """Figures side by side, as far as there is room."""
    return element("div", *content, class_="figures")


def _figure(
    plot: Callable[["Axes"], None], caption: str, alt: str, size: tuple[float, float] = _SIZE
) -> Html:
    require_matplotlib()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with warnings.catch_warnings(), rc_context(_STYLE):  # type: ignore[arg-type]  # its keys are a list of literals
        figure = Figure(figsize=size, layout="constrained")
        plot(figure.subplots())
        drawn = io.StringIO()
        # The text stays text: the reader's fonts have what those of this machine lack.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(drawn, format="svg", metadata=_NO_METADATA, transparent=True)
    return element("figure", element("figcaption", caption), _inline(drawn.getvalue(), alt))


def _short(name: str) -> str:
    """A name that leaves room for the figure; tables have the whole one."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _inline(svg: str, alt: str) -> Html:
    """An SVG document as an element of a page: no ids that others have, no colour of its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    referred = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
    svg = re.sub(
        r' id="([^"]*)"', lambda match: match[0] if match[1] in referred else "", svg
    ).replace(_INK, "currentColor")
    label = element("svg", role="img", aria_label=alt).removesuffix("></svg>")
    return Html(svg.replace("<svg", label, 1))


_NO_METADATA: dict[str, Any] = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "slifmr",  # the same data make the same page
    "font.size": 9,
    "font.family": "sans-serif",
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _INK,
    "grid.alpha": 0.15,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "text.parse_math": False,  # a name with two dollar signs is a name
    "lines.linewidth": 1.5,
}
