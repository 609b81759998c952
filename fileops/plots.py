"""Pictures of the history: volume and rate over time by site, and flows between sites with their failures by colour.

Written by plotly as one HTML file, which needs no network to be read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fileops.messages import LinkSaid, OperationSaid

#: Intervals on the axis of time: as many as a screen shows apart.
INTERVALS = 60


def intervals(operations: Iterable[OperationSaid]) -> tuple[list[datetime], dict[str, list[int]], float]:
    """The beginnings of equal intervals from the first end to the last, the bytes that were copied to each site in
    each, and an interval's seconds."""
    done = [each for each in operations if each.state == "done" and each.kind == "copy" and each.finished_s is not None]
    if not done:
        return [], {}, 1.0
    ends = [each.finished_s or 0.0 for each in done]
    first, span = min(ends), max(max(ends) - min(ends), 1.0)
    step = span / INTERVALS
    volumes: dict[str, list[int]] = defaultdict(lambda: [0] * INTERVALS)
    for each, end in zip(done, ends, strict=True):
        volumes[each.site][min(int((end - first) / step), INTERVALS - 1)] += each.moved or 0
    moments = [datetime.fromtimestamp(first + step * number, UTC) for number in range(INTERVALS)]
    return moments, dict(sorted(volumes.items())), step


def flows(operations: Iterable[OperationSaid]) -> dict[tuple[str, str], int]:
    """Bytes that were copied from each site to each other."""
    volumes: Counter[tuple[str, str]] = Counter()
    for each in operations:
        if each.state == "done" and each.kind == "copy" and each.source:
            volumes[each.source, each.site] += each.moved or 0
    return dict(sorted(volumes.items()))


def draw(operations: Sequence[OperationSaid], links: Sequence[LinkSaid], path: Path) -> None:
    """Writes the picture of finished operations and of how their links go."""
    moments, volumes, step = intervals(operations)
    figure = make_subplots(
        rows=3,
        cols=1,
        specs=[[{}], [{}], [{"type": "domain"}]],
        subplot_titles=("Volume copied to each site", "Rate at each site", "Flows; the redder, the more copies fail"),
    )
    for site, bytes_ in volumes.items():
        total, summed = 0, []
        for each in bytes_:
            total += each
            summed.append(total)
        figure.add_trace(go.Scatter(x=moments, y=summed, name=site, stackgroup="volume", legendgroup=site), 1, 1)
        rates = [each / step for each in bytes_]
        figure.add_trace(go.Scatter(x=moments, y=rates, name=site, legendgroup=site, showlegend=False), 2, 1)
    figure.add_trace(_sankey(flows(operations), links), 3, 1)
    figure.update_yaxes(title_text="bytes", row=1, col=1)
    figure.update_yaxes(title_text="bytes/s", row=2, col=1)
    figure.update_layout(height=1_100, template="plotly_white", title="File operations")
    figure.write_html(path, include_plotlyjs=True, full_html=True)


def _sankey(volumes: dict[tuple[str, str], int], links: Sequence[LinkSaid]) -> go.Sankey:
    """Sources on the left, destinations on the right; a site may stand on both sides."""
    failing = {(link.source, link.destination): 1 - link.success for link in links}
    left = sorted({source for source, _ in volumes})
    right = sorted({destination for _, destination in volumes})
    return go.Sankey(
        node={"label": [*left, *right]},
        link={
            "source": [left.index(source) for source, _ in volumes],
            "target": [len(left) + right.index(destination) for _, destination in volumes],
            "value": list(volumes.values()),
            "color": [colour(failing.get(link, 0.0)) for link in volumes],
            "customdata": [f"{failing.get(link, 0.0):.0%} fail" for link in volumes],
            "hovertemplate": "%{source.label} → %{target.label}: %{value:.3s}B, %{customdata}<extra></extra>",
        },
    )


def colour(failing: float) -> str:
    """Green where no copy fails, over yellow to red where all do."""
    red, green = min(1.0, 2 * failing), min(1.0, 2 * (1 - failing))
    return f"rgba({int(210 * red)}, {int(160 * green)}, 60, 0.6)"
