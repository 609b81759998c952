"""The frame of a program: its options, and what it does with what it measured."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtests.figure import Result
from loadtests.report import write_results

SEED = 20260101

#: Seconds that one measurement of a rate lasts, and how many there are: long enough for a steady state, few enough
#: that all programs together are done in a quarter of an hour.
RUN_S, QUICK_RUN_S = 5.0, 2.0
RUNS, QUICK_RUNS = 3, 2


@dataclass(frozen=True)
class Scale:
    """How much a program does. `names` is what the program makes of it: LFNs of a site, or of the world."""

    names: int
    quick: bool
    seed: int
    store: Path | None = None
    #: How long a scenario lasts; None for as long as it would by itself.
    seconds: int | None = None

    @property
    def run_s(self) -> float:
        return QUICK_RUN_S if self.quick else RUN_S

    @property
    def runs(self) -> int:
        return QUICK_RUNS if self.quick else RUNS


Measure = Callable[[Scale], Iterator[Result]]


def run(what: str, measure: Measure, names: int, quick_names: int) -> None:
    """Runs a program from its command line: prints each figure as it comes, and exits 1 when something went wrong."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--quick", action="store_true", help=f"a short run, on {quick_names:,} names")
    parser.add_argument("--names", type=int, help=f"LFNs of the world that is made up (default {names:,})")
    parser.add_argument("--seed", type=int, default=SEED, help=f"what chance begins with (default {SEED})")
    parser.add_argument("--store", type=Path, help="a filled store of so many names, kept here between programs")
    parser.add_argument("--seconds", type=int, help="how long a scenario lasts")
    parser.add_argument("--out", type=Path, help="also write the results here, as JSON")
    options = parser.parse_args()
    # A program that is told to stop ends as one that broke: its servers are stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    count = options.names or (quick_names if options.quick else names)
    results = []
    for result in measure(Scale(count, options.quick, options.seed, options.store, options.seconds)):
        print(result.line(), flush=True)
        results.append(result)
    if options.out:
        write_results(options.out, results)


@contextmanager
def workspace() -> Iterator[Path]:
    """A directory for stores and logs that goes when the program ends."""
    with tempfile.TemporaryDirectory(prefix="reploc-loadtest-") as folder:
        yield Path(folder)


def said(text: str) -> None:
    """Tells on standard error what a program is doing."""
    print(text, file=sys.stderr, flush=True)
