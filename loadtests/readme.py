"""The README's figures: the section between two marks, made from the results, so that it says what was measured.

    python -m loadtests.readme

Every figure that has a bar, and every plot. A test holds the README to the results that are committed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from loadtests import machine
from loadtests.figure import Result, bound, shown
from loadtests.program import said
from loadtests.report import Report, read_any

README = machine.ROOT / "README.md"
RESULTS = Path(__file__).with_name("results")
#: The runs that may be shown, the best first.
RUNS = ("figures", "quick")
BEGIN, END = "<!-- figures: made by loadtests/readme.py -->", "<!-- end of figures -->"


def section(report: Report, run: str) -> str:
    """What stands between the marks."""
    this, results = report.machine, [result for result in report.results if result.figure.bar is not None]
    commits = ", ".join(dict.fromkeys(part.commit for part in report.parts))
    lines = [
        f"{this.processor}, {this.cores} cores, {this.memory_gib} GiB, {this.python}; commit {commits}"
        + ("; a quick run, on fewer names than the bars are for." if run != "figures" else "."),
        "",
        "| what | at | measured | bar | | beside |",
        "|---|---|---:|---:|---|---|",
        *map(_row, results),
    ]
    for curve in report.curves:
        lines += ["", f"![{curve.title}](loadtests/results/{run}-{curve.name}.svg)"]
    return "\n".join(lines)


def _row(result: Result) -> str:
    figure = result.figure
    return (
        f"| {figure.name} | {result.scale} | {shown(result.value)} {figure.unit} | {bound(figure)} | {result.verdict} "
        f"| {result.against_peer} |"
    )


def newest() -> tuple[Report, str] | None:
    """The results to show, and the name of their run; None where there are none."""
    for run in RUNS:
        if (report := read_any(RESULTS / f"{run}.json")) is not None:
            return report, run
    return None


def rewritten(text: str, between: str) -> str:
    """A text with something else between its marks."""
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n{between}\n{END}{tail}"


def main() -> int:
    """Rewrites the section; 1 where there are no results."""
    found = newest()
    if found is None:
        said("there are no results: make figures")
        return 1
    README.write_text(rewritten(README.read_text(encoding="utf-8"), section(*found)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
