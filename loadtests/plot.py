"""Plots: curves as small SVG files, by matplotlib.

matplotlib and not plotly, which draws the product's own figures: a repository's page shows images only, and plotly
needs a browser to make one. Text stays text, so that a file is a few kilobytes and a reader can search it; the same
curve gives the same bytes, so that a rerun shows in the history as what it changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from loadtests.curve import Curve

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "reploc",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "figure.facecolor": "white",
}
#: Told apart by those who see few colours too (Okabe and Ito's palette).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MARKERS = "osD^vP"


def draw(curve: Curve, path: Path) -> None:
    """Writes the curve as an SVG file."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        axes = figure.subplots()
        for number, line in enumerate(curve.lines):
            xs, ys = zip(*line.points, strict=True)
            colour, marker = _COLOURS[number % len(_COLOURS)], _MARKERS[number % len(_MARKERS)]
            axes.plot(xs, ys, label=line.label, color=colour, marker=marker, markersize=5, linewidth=1.6)
        kind = "linear" if curve.linear else "log"
        axes.set(xscale=kind, yscale=kind, xlabel=curve.x, ylabel=curve.y)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.set_title(curve.title, fontsize=11, loc="left")
        axes.legend(frameon=False, fontsize=9)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
