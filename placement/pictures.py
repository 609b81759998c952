"""Pictures as files: HTML by plotly, which needs no network, or SVG and PNG by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from reploc.errors import ConfigInvalid

PERCENT = 100.0
#: Colours that those who see few colours tell apart (Okabe and Ito), of bars from the bottom, and of lines.
_COLOURS = ("#0072b2", "#56b4e9", "#e69f00", "#d55e00")


@dataclass(frozen=True)
class Picture:
    """What is drawn: bars stacked over names, or lines over times, and horizontal marks; y in `y_title`."""

    title: str
    y_title: str
    names: Sequence[Any]
    bars: dict[str, list[float]]
    lines: dict[str, list[float]]
    marks: Sequence[float]


def draw(picture: Picture, path: Path) -> None:
    """Writes a picture in the form that the file's name ends in. Raises ConfigInvalid: it has another ending."""
    if path.suffix == ".html":
        _figure(picture).write_html(path, include_plotlyjs=True, full_html=True)
    elif path.suffix in (".svg", ".png"):
        _draw_flat(picture, path)
    else:
        raise ConfigInvalid(f"{path}: expected a name that ends in .html, .svg or .png")


def _figure(picture: Picture) -> Any:
    figure = go.Figure()
    for (part, values), colour in zip(picture.bars.items(), _COLOURS, strict=False):
        figure.add_bar(name=part, x=list(picture.names), y=values, marker_color=colour)
    for (name, values), colour in zip(picture.lines.items(), _COLOURS, strict=False):
        figure.add_scatter(name=name, x=list(picture.names), y=values, mode="lines", line_color=colour)
    for mark in picture.marks:
        figure.add_hline(y=mark, line_dash="dash", line_width=1, annotation_text=f"{mark:g} %")
    figure.update_layout(barmode="stack", title=picture.title, yaxis_title=picture.y_title, template="plotly_white")
    return figure


def _draw_flat(picture: Picture, path: Path) -> None:
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as missing:
        raise ConfigInvalid(f"{path}: SVG and PNG need matplotlib", hint="install reploc[plots]") from missing
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "reploc"}):
        wide = max(7.0, 0.22 * len(picture.names)) if picture.bars else 8.0
        figure = Figure(figsize=(wide, 4.5), layout="constrained")
        axes = figure.subplots()
        base = [0.0] * len(picture.names)
        for (part, values), colour in zip(picture.bars.items(), _COLOURS, strict=False):
            axes.bar(list(picture.names), values, bottom=base, color=colour, label=part)
            base = [low + value for low, value in zip(base, values, strict=True)]
        for (name, values), colour in zip(picture.lines.items(), _COLOURS, strict=False):
            axes.plot(list(picture.names), values, color=colour, label=name)
        for mark in picture.marks:
            axes.axhline(mark, color="black", linestyle="--", linewidth=0.8)
        axes.set(ylabel=picture.y_title)
        axes.set_title(picture.title, loc="left", fontsize=11)
        axes.tick_params(axis="x", labelrotation=90 if picture.bars else 30, labelsize=7)
        axes.legend(frameon=False, fontsize=9)
        metadata = {"Date": None, "Creator": None} if path.suffix == ".svg" else None
        figure.savefig(path, format=path.suffix[1:], metadata=metadata)
