"""The framework paper's whole world, made up: which LFN stands at which sites, and the filters of all sites.

What is synthesised: of 50 million LFNs the first million have names, and the digests of these; the others are digests
drawn at random, evenly as a hash spreads them, because nothing below the name needs it. Each LFN stands at ten of 200
sites, which follow from its digest alone, so that any answer can be checked. Every filter is built from its own digests
by the product's code: 500 million replicas are half a thousand million insertions, and none is left out or shared.

Slots are independent of each other, so that they are built side by side in as many processes as there are cores, into
one file: an array of shape (slots, sites, bytes of a filter).
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from math import gcd
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from loadtests import world
from reploc import bloom, digest
from reploc.digest import Digests, slots_of
from reploc.sender.slot_filters import SlotBuild, build_slot

T = TypeVar("T")

#: Names whose digests are made at once: bounds the memory that their text takes.
_CHUNK = 1 << 18
_HALF = np.uint64(32)
_LOW = np.uint64((1 << 32) - 1)


@dataclass(frozen=True)
class PaperWorld:
    """`names` LFNs, the first `named` of which have names, at `replicas` of `sites` sites each."""

    sites: int
    names: int
    named: int
    replicas: int
    slots: int
    error_rate: float
    seed: int

    def name(self, site: int) -> str:
        return f"site-{site:04d}.example.org"

    def sites_of(self, digests: Digests) -> NDArray[np.int64]:
        """The sites of each LFN, shape (n, replicas): a walk round the sites whose start and step the digest gives."""
        h2 = digests[:, 1]
        steps = np.array([step for step in range(1, self.sites) if gcd(step, self.sites) == 1], dtype=np.uint64)
        first = (h2 >> _HALF) % np.uint64(self.sites)
        step = steps[((h2 & _LOW) % np.uint64(len(steps))).astype(np.intp)]
        turns = np.arange(self.replicas, dtype=np.uint64)
        walked: NDArray[np.int64] = ((first[:, None] + step[:, None] * turns) % np.uint64(self.sites)).astype(np.int64)
        return walked

    @cached_property
    def named_digests(self) -> list[Digests]:
        """The digests of the LFNs with names, slot by slot."""
        parts = [range(at, min(at + _CHUNK, self.named)) for at in range(0, self.named, _CHUNK)]
        digests = np.concatenate([digest.of([world.lfn(number) for number in part]) for part in parts])
        slots = slots_of(digests, self.slots)
        bounds = np.cumsum(np.bincount(slots, minlength=self.slots))[:-1]
        return np.split(digests[np.argsort(slots, kind="stable")], bounds)

    def drawn(self, slot: int) -> Digests:
        """The digests of a slot's LFNs without names."""
        everywhere = np.random.default_rng(self.seed)
        count = everywhere.multinomial(self.names - self.named, np.full(self.slots, 1 / self.slots))[slot]
        digests = np.random.default_rng([self.seed, slot]).integers(0, 1 << 64, size=(count, 2), dtype=np.uint64)
        bits = self.slots.bit_length() - 1
        if bits:
            digests[:, 0] = (digests[:, 0] >> np.uint64(bits)) | np.uint64(slot << (64 - bits))
        return digests


@dataclass(frozen=True)
class WorldFilters:
    """The filters of all sites in a file, with how many names each holds and its checksum, shape (slots, sites)."""

    size_class: int
    counts: NDArray[np.int64]
    checksums: NDArray[np.uint64]
    bits: NDArray[np.uint8]

    def builds(self, site: int) -> Iterator[SlotBuild]:
        """A site's filters as its catalog would have built them."""
        for slot, (counts, checksums) in enumerate(zip(self.counts, self.checksums, strict=True)):
            bits = self.bits[slot, site].tobytes()
            yield SlotBuild(slot, self.size_class, int(counts[site]), int(checksums[site]), bits)


def build(made: PaperWorld, path: Path, progress: Callable[[int], object]) -> WorldFilters:
    """Builds all filters into a file; `progress` is told how many slots are done."""
    named = made.named_digests
    slots = range(made.slots)
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), multiprocessing.get_context("spawn")) as pool:
        counts = np.stack(list(pool.map(_count, repeat(made), slots, named)))
        size_class = bloom.class_for(int(counts.max()), made.error_rate)
        path.touch()
        checksums = np.zeros((made.slots, made.sites), dtype=np.uint64)
        works = pool.map(_build, repeat(made), slots, named, repeat(size_class), repeat(path))
        for slot, built in enumerate(works):
            checksums[slot] = built
            progress(slot + 1)
    shape = (made.slots, made.sites, bloom.geometry(size_class, made.error_rate).bytes)
    return WorldFilters(size_class, counts, checksums, np.memmap(path, dtype=np.uint8, mode="r", shape=shape))


def _count(made: PaperWorld, slot: int, named: Digests) -> NDArray[np.int64]:
    """How many of the slot's names each site holds, shape (sites,)."""
    _, sites = _slot(made, slot, named)
    return np.bincount(sites.reshape(-1), minlength=made.sites)


def _build(made: PaperWorld, slot: int, named: Digests, size_class: int, path: Path) -> NDArray[np.uint64]:
    """Writes the slot's filter of every site to its place in the file; their checksums, shape (sites,)."""
    digests, sites = _slot(made, slot, named)
    flat = sites.astype(np.uint16).reshape(-1)
    order = np.argsort(flat, kind="stable") // made.replicas
    bounds = np.cumsum(np.bincount(flat, minlength=made.sites))[:-1]
    builds = [build_slot(slot, digests[part], size_class, made.error_rate) for part in np.split(order, bounds)]
    bits = b"".join(one.bits for one in builds)
    with path.open("r+b") as file:
        file.seek(slot * len(bits))
        file.write(bits)
    return np.array([one.checksum for one in builds], dtype=np.uint64)


def _slot(made: PaperWorld, slot: int, named: Digests) -> tuple[Digests, NDArray[np.int64]]:
    """All digests of a slot and the sites of each."""
    digests = np.concatenate((named, made.drawn(slot)))
    return digests, made.sites_of(digests)
