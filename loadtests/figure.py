"""A figure: what is measured, in which unit, the bar that it must reach, and the peer that it stands beside.

A figure is a value that stands in its program; a `Result` is one measurement of it. Only numbers of one run are
compared: a peer's number was measured in the same run, on the same machine, or it is not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Literal

Better = Literal["more", "less"]


@dataclass(frozen=True)
class Figure:
    """What is measured. `bar` is None where the design sets none; `at` is the scale that the bar is set for."""

    name: str
    unit: str
    better: Better
    bar: float | None = None
    at: str = ""
    peer: str = ""

    def reached_by(self, value: float) -> bool | None:
        """Whether a value reaches the bar; None where there is none."""
        if self.bar is None:
            return None
        return value >= self.bar if self.better == "more" else value <= self.bar


@dataclass(frozen=True)
class Result:
    """One measurement of a figure at a scale. `runs` are the values whose median counts; `peer` is in the same unit.

    `note` says what a reader must know to judge it, and what limited it where that was seen.
    """

    figure: Figure
    scale: str
    runs: tuple[float, ...]
    peer: float | None = None
    note: str = ""

    @property
    def value(self) -> float:
        return median(self.runs)

    @property
    def verdict(self) -> str:
        """`reached`, `missed`, or nothing where there is no bar."""
        reached = self.figure.reached_by(self.value)
        return "" if reached is None else "reached" if reached else "missed"

    @property
    def against_peer(self) -> str:
        """The peer's number and how many times better ours is (not beside a zero); nothing where there is no peer."""
        if self.peer is None:
            return ""
        said = f"{self.figure.peer}: {shown(self.peer)} {self.figure.unit}"
        if not self.value or not self.peer:
            return said
        times = self.value / self.peer if self.figure.better == "more" else self.peer / self.value
        return f"{said} ({shown(times)}×)"

    def line(self) -> str:
        """The figure for a terminal: value, bar, peer, spread."""
        figure = self.figure
        parts = [f"{figure.name}, {self.scale}: {shown(self.value)} {figure.unit}"]
        if figure.bar is not None:
            at = f" for {figure.at}" if figure.at and figure.at != self.scale else ""
            parts.append(f"bar {bound(figure)}{at}: {self.verdict}")
        parts += [part for part in (self.against_peer, self.spread, self.note) if part]
        return " · ".join(parts)

    @property
    def spread(self) -> str:
        """The least and the greatest of several runs."""
        if len(self.runs) < 2:
            return ""
        return f"{len(self.runs)} runs from {shown(min(self.runs))} to {shown(max(self.runs))}"


def bound(figure: Figure) -> str:
    """The bar with its direction, as in `≥ 15,000`; empty where there is none."""
    if figure.bar is None:
        return ""
    return f"{'≥' if figure.better == 'more' else '≤'} {shown(figure.bar)}"


def shown(value: float) -> str:
    """A number with as many digits as it deserves: three significant ones, or all before the point."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) < 0.001:
        return f"{value:.2g}"
    return f"{value:.3g}"
