"""A report: the results of one run with machine, commit, seed and date, as JSON and as a Markdown table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from loadtests.figure import Result, bound, shown
from loadtests.machine import Machine

HEAD = "| what | scale | measured | bar | | beside | spread and notes |\n|---|---|---:|---:|---|---|---|"


@dataclass(frozen=True)
class Report:
    """One run of one or more programs. `date` is UTC, as in 2026-01-31."""

    date: str
    commit: str
    seed: int
    machine: Machine
    results: tuple[Result, ...]

    def markdown(self) -> str:
        machine = self.machine
        rows = [_row(result) for result in self.results]
        return "\n".join(
            [
                "# Figures",
                "",
                "Written by `make figures`. Each value is the median of its runs; a bar is that of the design, for the "
                "scale that it names.",
                "",
                f"{self.date} · commit {self.commit} · seed {self.seed} · {machine.processor}, {machine.cores} cores, "
                f"{machine.memory_gib} GiB · {machine.kernel} · {machine.python}",
                "",
                HEAD,
                *rows,
                "",
            ]
        )

    def write(self, folder: Path, name: str) -> list[Path]:
        """Writes NAME.json and NAME.md into the folder; their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        json, markdown = folder / f"{name}.json", folder / f"{name}.md"
        json.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")
        markdown.write_text(self.markdown(), encoding="utf-8")
        return [json, markdown]


def read_results(path: Path) -> tuple[Result, ...]:
    """The results that a program wrote."""
    return msgspec.json.decode(path.read_bytes(), type=tuple[Result, ...])


def write_results(path: Path, results: Iterable[Result]) -> None:
    path.write_bytes(msgspec.json.encode(tuple(results)))


def _row(result: Result) -> str:
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
