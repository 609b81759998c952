"""The frame of a program: its options, its scale, and what it does with what it measured."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from loadtests.curve import Curve
from loadtests.figure import Result
from loadtests.report import Found, write_found

T = TypeVar("T")

SEED = 20260101

#: Seconds that one measurement of a rate lasts, and how many there are: long enough for a steady state, few enough
#: that to make up the worlds takes longer. Toy runs only show that a program works.
RUN_S, QUICK_RUN_S, TOY_RUN_S = 5.0, 1.0, 0.2
RUNS, QUICK_RUNS, TOY_RUNS = 3, 2, 1


@dataclass(frozen=True)
class Scale:
    """How much a program does. `names` is what the program makes of it: LFNs of a site, or of the world.

    `quick` is short and on fewer names; `toy` shorter still, in seconds, and is quick too.
    """

    names: int
    quick: bool
    seed: int
    #: Where filled stores are kept between programs; None for a store that goes with the program.
    stores: Path | None = None
    #: How long a scenario lasts; None for as long as it would by itself.
    seconds: int | None = None
    toy: bool = False

    @property
    def run_s(self) -> float:
        return self.of(RUN_S, QUICK_RUN_S, TOY_RUN_S)

    @property
    def runs(self) -> int:
        return self.of(RUNS, QUICK_RUNS, TOY_RUNS)

    def of(self, full: T, quick: T, toy: T) -> T:
        """The one of three values that is meant for this scale."""
        return toy if self.toy else quick if self.quick else full


Measure = Callable[[Scale], Iterator[Result | Curve]]


def run(what: str, measure: Measure, names: int, quick_names: int, toy_names: int | None = None) -> None:
    """Runs a program from its command line: prints each figure as it comes, and exits 1 when something went wrong."""
    options = _options(what, names, quick_names)
    # A program that is told to stop ends as one that broke: its servers are stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    by_size = (toy_names or quick_names) if options.toy else quick_names if options.quick else names
    quick = options.quick or options.toy
    scale = Scale(options.names or by_size, quick, options.seed, options.stores, options.seconds, options.toy)
    found = Found()
    for one in measure(scale):
        print(one.line(), flush=True)
        found = (
            Found((*found.results, one), found.curves)
            if isinstance(one, Result)
            else Found(found.results, (*found.curves, one))
        )
        # Written each time, so that what a program measured before it broke is not lost.
        if options.out:
            write_found(options.out, found)


def _options(what: str, names: int, quick_names: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--quick", action="store_true", help=f"a short run, on {quick_names:,} names")
    parser.add_argument("--toy", action="store_true", help="a run of seconds that only shows that the program works")
    parser.add_argument("--names", type=int, help=f"LFNs of the world that is made up (default {names:,})")
    parser.add_argument("--seed", type=int, default=SEED, help=f"what chance begins with (default {SEED})")
    parser.add_argument(
        "--stores", type=Path, help="filled stores are kept in this directory between programs and runs"
    )
    parser.add_argument("--seconds", type=int, help="how long a scenario lasts")
    parser.add_argument("--out", type=Path, help="also write what was found here, as JSON")
    return parser.parse_args()


@contextmanager
def workspace() -> Iterator[Path]:
    """A directory for stores and logs that goes when the program ends."""
    with tempfile.TemporaryDirectory(prefix="reploc-loadtest-") as folder:
        yield Path(folder)


def said(text: str) -> None:
    """Tells on standard error what a program is doing."""
    print(text, file=sys.stderr, flush=True)
