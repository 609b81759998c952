"""Filters in one process: building one and asking it, beside pybloom-live's own loops over the same names.

    python -m loadtests.filters [--quick]

Names are text on both sides: ours includes their digests, which a catalog computes once and keeps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pybloom_live import BloomFilter

from loadtests import world
from loadtests.figure import Figure, Result
from loadtests.program import Scale, run
from reploc import bloom, digest
from reploc.bloom import Bits, Geometry
from reploc.digest import Digests

RATE = 1e-5
BUILD = Figure("filter, build from names", "names/s", "more", peer="pybloom-live's add loop")
REBUILD = Figure("filter, build from stored digests", "names/s", "more", peer="pybloom-live's add loop")
ASK = Figure("filter, ask for names", "names/s", "more", peer="pybloom-live's in loop")
STRAYS = Figure("filter, false positives measured", "of those asked", "less", RATE, peer="pybloom-live")

NAMES, QUICK_NAMES, TOY_NAMES = 200_000, 200_000, 4_000
#: A slot of a site of a million names, and one of fifty million.
SIZES = (4_000, 200_000)
#: Names that are not there, asked for: at 1e-5 some twenty are expected to be found, give or take five.
STRANGERS, QUICK_STRANGERS, TOY_STRANGERS = 2_000_000, 500_000, 200_000
#: Strangers whom the peer is asked for; its loop would take minutes for all.
PEER_STRANGERS, TOY_PEER_STRANGERS = 200_000, 10_000
_BATCH = 100_000


@dataclass(frozen=True)
class Trial:
    """The same names in a filter of ours and in the peer's, and how many of them a second the peer took."""

    names: list[str]
    digests: Digests
    shape: Geometry
    bits: Bits
    peer: BloomFilter
    peer_built: float
    peer_asked: float

    @classmethod
    def of(cls, size: int) -> Trial:
        names = [world.lfn(number) for number in range(size)]
        digests = digest.of(names)
        shape = bloom.geometry(bloom.class_for(size, RATE), RATE)
        bits = bloom.build(digests, shape)
        peer = BloomFilter(size, RATE)
        built = size / _seconds(lambda: [peer.add(name) for name in names])
        asked = size / _seconds(lambda: [name in peer for name in names])
        assert bloom.contains(bits, digests, shape).all()
        return cls(names, digests, shape, bits, peer, built, asked)

    def build(self) -> object:
        return bloom.build(digest.of(self.names), self.shape)

    def rebuild(self) -> object:
        return bloom.build(self.digests, self.shape)

    def ask(self) -> object:
        return bloom.contains(self.bits, digest.of(self.names), self.shape)


def measure(scale: Scale) -> Iterator[Result]:
    """Speed at each size beside the peer's, and the false positives measured."""
    for size in [size for size in SIZES if size <= scale.names]:
        trial = Trial.of(size)
        at = f"{size:,} names"
        yield Result(BUILD, at, _rates(trial.build, size, scale), trial.peer_built)
        yield Result(REBUILD, at, _rates(trial.rebuild, size, scale), trial.peer_built)
        yield Result(ASK, at, _rates(trial.ask, size, scale), trial.peer_asked)
        yield _strays(trial, size, scale)


def _strays(trial: Trial, size: int, scale: Scale) -> Result:
    asked = scale.of(STRANGERS, QUICK_STRANGERS, TOY_STRANGERS)
    found = 0
    for first in range(size, size + asked, _BATCH):
        hits = bloom.contains(trial.bits, digest.of(_strangers(first, _BATCH)), trial.shape)
        found += int(np.count_nonzero(hits))
    peers_asked = scale.of(PEER_STRANGERS, PEER_STRANGERS, TOY_PEER_STRANGERS)
    peers = sum(name in trial.peer for name in _strangers(size, peers_asked))
    note = f"{found} of {asked:,}; expected {trial.shape.rate(size):.2g}"
    return Result(STRAYS, f"{size:,} names", (found / asked,), peers / peers_asked, note)


def _strangers(first: int, count: int) -> Sequence[str]:
    return [world.lfn(number) for number in range(first, first + count)]


def _rates(work: Callable[[], object], names: int, scale: Scale) -> tuple[float, ...]:
    """Names a second in each run; a run repeats the work until a fifth of its time is full."""
    rates = []
    for _ in range(scale.runs):
        times, started, seconds = 0, time.perf_counter(), 0.0
        while seconds < scale.run_s / 5:
            work()
            times, seconds = times + 1, time.perf_counter() - started
        rates.append(names * times / seconds)
    return tuple(rates)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    run("Filters beside pybloom-live's.", measure, NAMES, QUICK_NAMES, TOY_NAMES)
