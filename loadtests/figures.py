"""Every figure: runs each program in a process of its own and writes what they measured to `results/`.

    python -m loadtests.figures [--quick] [--only NAME …] [--stores DIR]

Results are written after each program. One that breaks takes nothing of the others with it; `--only` runs some again
and puts what they find in place of what they had found. Filled stores are shared, and with `--stores` kept for the next
run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from loadtests import machine, readme
from loadtests.program import SEED, said, workspace
from loadtests.report import Found, OtherMachine, Part, Report, read_found, read_report

RESULTS = Path(__file__).with_name("results")
#: Seconds that one program may take: the slowest, of ten million names or five hundred million replicas, needs a third.
PROGRAM_S = 900
#: Seconds that a program may take to stop its servers when it is told to end.
STOP_S = 60


@dataclass(frozen=True)
class Program:
    """A module of this package."""

    name: str


PROGRAMS = (
    Program("filters"),
    Program("forms"),
    Program("lrc_lookups"),
    Program("lrc_writes"),
    Program("tls_and_tokens"),
    Program("full_update"),
    Program("freshness"),
    Program("catalog_peers"),
    Program("attributes"),
    Program("catalog_curve"),
    Program("update_curves"),
    Program("sites_curve"),
    Program("small_sites"),
    Program("rli_lookups"),
    Program("rls_port"),
    Program("workers"),
    Program("hierarchy"),
    Program("whole_world"),
    Program("mixed"),
    Program("block_totals"),
    Program("inventory_load"),
    Program("detox"),
    Program("dealer"),
    Program("file_operations"),
    Program("consistency_check"),
)
NAMES = [program.name for program in PROGRAMS]


def main(arguments: list[str] | None = None) -> int:
    """Runs the programs; the number that broke."""
    options = _options(arguments)
    results, this = options.results, machine.this_machine()
    name = "toy" if options.toy else "quick" if options.quick else "figures"
    try:
        report = read_report(results / f"{name}.json", this) if options.only else Report(this, ())
    except OtherMachine as wrong:
        said(str(wrong))
        return 1
    chosen = [program for program in PROGRAMS if not options.only or program.name in options.only]
    began, broken = time.monotonic(), 0
    with workspace() as folder:
        for number, program in enumerate(chosen, 1):
            said(f"── {program.name}: {number} of {len(chosen)}, {time.monotonic() - began:.0f} s since the start")
            part = _run(program, folder, options)
            broken += bool(part.broke)
            report = report.having(part, NAMES)
            report.write(results, name)
            if results == RESULTS:
                readme.main()
    said(f"{len(chosen)} programs in {time.monotonic() - began:.0f} s, {broken} broke; written: {results / name}.md")
    return broken


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Every figure, written to loadtests/results/.")
    parser.add_argument("--quick", action="store_true", help="short runs on fewer names, in about twelve minutes")
    parser.add_argument("--toy", action="store_true", help="runs of seconds that only show that the programs work")
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help=f"only these: {', '.join(NAMES)}")
    parser.add_argument("--seed", type=int, default=SEED, help=f"what chance begins with (default {SEED})")
    parser.add_argument("--stores", type=Path, help="where filled stores are kept for the next run (default: nowhere)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where results are written")
    return parser.parse_args(arguments)


def _run(program: Program, folder: Path, options: argparse.Namespace) -> Part:
    """What one program found, however it ended; what it prints goes to the terminal."""
    out = folder / f"{program.name}.json"
    command = [sys.executable, "-m", f"loadtests.{program.name}", "--seed", str(options.seed), "--out", str(out)]
    command += ["--toy"] if options.toy else ["--quick"] if options.quick else []
    command += ["--stores", str((options.stores or folder / "stores").absolute())]
    began = time.monotonic()
    broke = _ended(command)
    if broke:
        said(f"{program.name}: {broke}")
    found = read_found(out) if out.exists() else Found()
    seconds = round(time.monotonic() - began, 1)
    today = datetime.now(UTC).date().isoformat()
    return Part(program.name, today, machine.commit(), options.seed, seconds, found, broke)


def _ended(command: list[str]) -> str:
    """Runs a program to its end; how it broke, or nothing."""
    with subprocess.Popen(command, cwd=machine.ROOT) as running:
        try:
            status = running.wait(PROGRAM_S)
        except BaseException as wrong:
            running.terminate()
            try:
                running.wait(STOP_S)
            except subprocess.TimeoutExpired:
                running.kill()
            if not isinstance(wrong, subprocess.TimeoutExpired):
                raise
            return f"stopped after {PROGRAM_S} s"
    return f"it ended with status {status}" if status else ""


if __name__ == "__main__":
    sys.exit(min(main(), 1))
