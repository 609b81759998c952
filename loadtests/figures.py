"""Every figure: runs each program in a process of its own and writes what they measured to `results/`.

    python -m loadtests.figures [--quick] [--only NAME …]

The programs that need a large catalog share one store: first it is read, then it is written to.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from loadtests import machine
from loadtests.figure import Result
from loadtests.program import SEED, said, workspace
from loadtests.report import Report, read_results

RESULTS = Path(__file__).with_name("results")
#: Seconds that one program may take: the slowest fills a store of ten million mappings.
PROGRAM_S = 900


@dataclass(frozen=True)
class Program:
    """A module of this package; programs with one `store` share it, and must be told the same number of names."""

    name: str
    store: str = ""


PROGRAMS = (
    Program("filters"),
    Program("lrc_lookups", "catalog"),
    Program("lrc_writes", "catalog"),
    Program("full_update", "site"),
    Program("freshness"),
    Program("rli_lookups"),
    Program("mixed"),
)


def main() -> int:
    """Runs the programs; the number that broke."""
    parser = argparse.ArgumentParser(description="Every figure, written to loadtests/results/.")
    parser.add_argument("--quick", action="store_true", help="short runs on fewer names, within five minutes")
    parser.add_argument("--only", nargs="+", choices=[program.name for program in PROGRAMS], help="only these programs")
    parser.add_argument("--seed", type=int, default=SEED, help=f"what chance begins with (default {SEED})")
    options = parser.parse_args()
    results: list[Result] = []
    broken = 0
    with workspace() as folder:
        for program in PROGRAMS:
            if options.only and program.name not in options.only:
                continue
            said(f"── {program.name}")
            found = _run(program, folder, quick=options.quick, seed=options.seed)
            broken += found is None
            results += found or ()
    report = Report(
        datetime.now(UTC).date().isoformat(), machine.commit(), options.seed, machine.this_machine(), tuple(results)
    )
    for path in report.write(RESULTS, "quick" if options.quick else "figures"):
        said(f"written: {path.relative_to(machine.ROOT)}")
    return broken


def _run(program: Program, folder: Path, *, quick: bool, seed: int) -> tuple[Result, ...] | None:
    """The results of one program, None where it broke; what it prints goes to the terminal."""
    out = folder / f"{program.name}.json"
    command = [sys.executable, "-m", f"loadtests.{program.name}", "--seed", str(seed), "--out", str(out)]
    command += ["--quick"] if quick else []
    command += ["--store", str(folder / program.store)] if program.store else []
    with subprocess.Popen(command, cwd=machine.ROOT) as running:
        try:
            status = running.wait(PROGRAM_S)
        except BaseException as wrong:
            said(f"{program.name} is told to stop: {wrong!r}")
            running.terminate()
            status = running.wait()
            if not isinstance(wrong, subprocess.TimeoutExpired):
                raise
    if status:
        said(f"{program.name} broke with status {status}")
        return None
    return read_results(out)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
