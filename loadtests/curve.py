"""A curve: how a cost grows with a number, as lines of points that a table lists and a plot draws."""

from __future__ import annotations

from dataclasses import dataclass

from loadtests.figure import shown


@dataclass(frozen=True)
class Line:
    """One line of a plot: what it is of, and its points (x, y), x ascending."""

    label: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Curve:
    """Lines over one pair of axes, logarithmic ones unless `linear`.

    `name` is that of its file; `note` says what a reader must know.
    """

    name: str
    title: str
    x: str
    y: str
    lines: tuple[Line, ...]
    note: str = ""
    linear: bool = False

    def line(self) -> str:
        """The curve for a terminal."""
        each = "; ".join(
            f"{line.label} " + ", ".join(f"{shown(y)} at {shown(x)}" for x, y in line.points) for line in self.lines
        )
        return f"{self.title}: {self.y} by {self.x}: {each}"

    def table(self) -> list[str]:
        """The curve as a Markdown table, a row for each x that any line has."""
        values = [dict(line.points) for line in self.lines]
        rows = []
        for x in sorted({x for line in values for x in line}):
            cells = [shown(line[x]) if x in line else "" for line in values]
            rows.append(f"| {x:,.0f} | {' | '.join(cells)} |")
        head = " | ".join(f"{line.label} ({self.y})" for line in self.lines)
        return [f"| {self.x} | {head} |", "|---:" * (len(self.lines) + 1) + "|", *rows]
