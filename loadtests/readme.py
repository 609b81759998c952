"""The figures in pages for readers: what stands between two marks, made from the results, so that it was measured.

    python -m loadtests.readme

In the README every figure that has a bar, and every plot; in docs/security.md what TLS, rules and tokens cost. A test
holds both to the results that are committed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from loadtests import machine
from loadtests.figure import Result, bound, shown
from loadtests.program import said
from loadtests.report import Report, read_any

README = machine.ROOT / "README.md"
SECURITY = machine.ROOT / "docs" / "security.md"
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


def security(report: Report, run: str) -> str:
    """What stands between the marks of the page on security: all that was measured of its cost."""
    lines = ["| what | at | measured | where the time goes |", "|---|---|---:|---|"]
    for part in report.parts:
        if part.program == "tls_and_tokens":
            lines = [f"Commit {part.commit}, {part.date}" + ("; a quick run." if run != "figures" else "."), "", *lines]
            lines += [
                f"| {one.figure.name} | {one.scale} | {shown(one.value)} {one.figure.unit} | {one.note} |"
                for one in part.found.results
            ]
    return "\n".join(lines)


#: Each page with what makes its section.
PAGES = ((README, section), (SECURITY, security))


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
    """Rewrites the sections; 1 where there are no results."""
    found = newest()
    if found is None:
        said("there are no results: make figures")
        return 1
    for page, made in PAGES:
        page.write_text(rewritten(page.read_text(encoding="utf-8"), made(*found)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
