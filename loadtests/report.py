"""A report: what each program measured, with machine, commit, seed and date, as JSON, as Markdown tables and as plots.

A program's part is put in place of the one that it had, so that one program can be run again by itself. Parts of one
report are all of one machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from loadtests import promises
from loadtests.curve import Curve
from loadtests.figure import Result, bound, shown
from loadtests.machine import Machine

HEAD = "| what | scale | measured | bar | | beside | spread and notes |\n|---|---|---:|---:|---|---|---|"


class OtherMachine(Exception):
    """A report that is there was measured on another machine."""


@dataclass(frozen=True)
class Found:
    """What one program measured."""

    results: tuple[Result, ...] = ()
    curves: tuple[Curve, ...] = ()


@dataclass(frozen=True)
class Part:
    """One run of one program. `date` is UTC, as in 2026-01-31; `broke` says how it ended where it did not succeed."""

    program: str
    date: str
    commit: str
    seed: int
    seconds: float
    found: Found
    broke: str = ""

    def markdown(self, plots: str) -> list[str]:
        """The part's section; `plots` begins the name of each plot's file."""
        lines = [
            f"## {self.program}",
            "",
            f"{self.date} · commit {self.commit} · seed {self.seed} · took {self.seconds:.0f} s",
        ]
        if self.broke:
            lines += ["", f"**Not measured to its end: {self.broke}.**"]
        if self.found.results:
            lines += ["", HEAD, *map(row, self.found.results)]
        for curve in self.found.curves:
            lines += ["", f"![{curve.title}]({plots}{curve.name}.svg)", "", *curve.table()]
            lines += ["", curve.note] if curve.note else []
        return [*lines, ""]


@dataclass(frozen=True)
class Report:
    """The parts of one machine, in the order of the programs."""

    machine: Machine
    parts: tuple[Part, ...]

    @property
    def results(self) -> tuple[Result, ...]:
        return tuple(result for part in self.parts for result in part.found.results)

    @property
    def curves(self) -> tuple[Curve, ...]:
        return tuple(curve for part in self.parts for curve in part.found.curves)

    def having(self, part: Part, order: Iterable[str]) -> Report:
        """The report with a part in place of the one of its program; parts stand in the order of the programs."""
        places = {program: place for place, program in enumerate(order)}
        others = [one for one in self.parts if one.program != part.program]
        parts = sorted([*others, part], key=lambda one: places.get(one.program, len(places)))
        return replace(self, parts=tuple(parts))

    def markdown(self, plots: str) -> str:
        """All parts; `plots` begins the name of each plot's file."""
        machine = self.machine
        return "\n".join(
            [
                "# Figures",
                "",
                "Written by `make figures`. Each value is the median of its runs; a bar is that of the design, for the "
                "scale that it names.",
                "",
                f"{machine.processor}, {machine.cores} cores, {machine.memory_gib} GiB · {machine.kernel} · "
                f"{machine.python}",
                "",
                *promises.table({part.program: part.found.results for part in self.parts}),
                "",
                *(line for part in self.parts for line in part.markdown(plots)),
            ]
        )

    def write(self, folder: Path, name: str) -> None:
        """Writes NAME.json, NAME.md and a plot for each curve into the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        _put(folder / f"{name}.json", msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")
        _put(folder / f"{name}.md", self.markdown(f"{name}-").encode())
        if self.curves:
            # The library of plots is needed, and takes its time to load, only where there is something to draw.
            from loadtests.plot import draw

            for curve in self.curves:
                draw(curve, folder / f"{name}-{curve.name}.svg")


def read_any(path: Path) -> Report | None:
    """The report that is there, of whatever machine. Raises msgspec.ValidationError: it is of another form."""
    return msgspec.json.decode(path.read_bytes(), type=Report) if path.exists() else None


def read_report(path: Path, machine: Machine) -> Report:
    """The report that is there, or one without parts. Raises OtherMachine."""
    report = read_any(path)
    if report is None:
        return Report(machine, ())
    if report.machine != machine:
        raise OtherMachine(
            f"{path} was measured on {report.machine}; this is {machine}: run all programs, without --only"
        )
    return report


def read_found(path: Path) -> Found:
    """What a program wrote."""
    return msgspec.json.decode(path.read_bytes(), type=Found)


def write_found(path: Path, found: Found) -> None:
    _put(path, msgspec.json.encode(found))


def row(result: Result) -> str:
    """A result as a row below `HEAD`."""
    figure = result.figure
    bar = f"{bound(figure)} ({figure.at})" if figure.at and figure.at != result.scale else bound(figure)
    notes = " · ".join(part for part in (result.spread, result.note) if part)
    cells = [
        figure.name,
        result.scale,
        f"{shown(result.value)} {figure.unit}",
        bar,
        result.verdict,
        result.against_peer,
        notes,
    ]
    return f"| {' | '.join(cells)} |"


def _put(path: Path, content: bytes) -> None:
    """Writes a file aside and puts it in place, so that a run that is broken off leaves the last whole one."""
    aside = path.with_name(path.name + ".part")
    aside.write_bytes(content)
    aside.replace(path)
