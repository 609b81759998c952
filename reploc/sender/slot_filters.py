"""The sender's live filters: the bits of each slot as they are told to nodes, their sequences, and how they came to be.

A filter is built from the digests of its slot, then kept up to date by the names that are added; every change of its
bits raises its sequence and is kept for a while as a difference (`reploc/sender/difference_log.py`). A bit that was set
is only cleared by the next build.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reploc import bloom
from reploc.difference import NO_BITS, Difference
from reploc.digest import Digests
from reploc.sender.difference_log import DifferenceLog, bits_max
from reploc.sender.form import Changes, counted, distinct
from reploc.sender.news import News
from reploc.sender.placing import Placing
from reploc.wire import Summary

Slots = NDArray[np.intp]

_THREE, _SEVEN = np.uint64(3), np.uint64(7)


@dataclass(frozen=True)
class SlotBuild:
    """The filter of one slot as it was built from the catalog: packed bits of geometry(size_class)."""

    slot: int
    size_class: int
    names: int
    checksum: int
    bits: bytes


def build_slot(slot: int, digests: Digests, size_class: int, error_rate: float) -> SlotBuild:
    """The filter of a slot that holds exactly these names. Raises SummaryInvalid for a class that cannot be."""
    bits = bloom.build(digests, bloom.geometry(size_class, error_rate))
    return SlotBuild(slot, size_class, len(digests), bloom.checksum(bits), bits.tobytes())


class SlotFilters:
    """The filters of all slots, none of which is built at first."""

    def __init__(self, placing: Placing, error_rate: float) -> None:
        slots = placing.slots
        self._placing = placing
        self._error_rate = error_rate
        #: The class that the next builds are for; `fit` chooses it.
        self.size_class = -1
        #: The class that each slot was built with, -1 where it was not built yet, shape (slots,).
        self.class_of: NDArray[np.int16] = np.full(slots, -1, dtype=np.int16)
        #: A slot that is not built yet has the sequence that its first build will have, so that no node that lacks it
        #: takes itself for current.
        self.sequences: NDArray[np.uint64] = np.ones(slots, dtype=np.uint64)
        self._bits: list[bloom.Bits] = [np.zeros(0, dtype=np.uint8)] * slots
        self._names = [0] * slots
        self._checksums = [0] * slots
        self._logs: list[DifferenceLog] = [DifferenceLog(1, 0)] * slots

    @property
    def built(self) -> NDArray[np.bool_]:
        """Which slots are built, shape (slots,)."""
        built: NDArray[np.bool_] = self.class_of >= 0
        return built

    @property
    def stale(self) -> NDArray[np.bool_]:
        """Which slots are to be built from the catalog: those of another class than the one chosen."""
        stale: NDArray[np.bool_] = self.class_of != self.size_class
        return stale

    def fit(self, fullest: int) -> None:
        """Chooses the size class for so many names in the fullest slot. SummaryInvalid: no filter takes them."""
        current = None if self.size_class < 0 else self.size_class
        self.size_class = bloom.class_for(fullest, self._error_rate, current)

    def rate(self, fullest: int) -> float:
        """The expected false-positive rate of the fullest slot, which has so many names."""
        return bloom.geometry(self.size_class, self._error_rate).rate(fullest)

    def changes(self, news: News) -> Changes:
        """The digests that came, and the slots of those that went: their bits are cleared by a build alone."""
        moves = self._placing.moves(news)
        came, went = moves.came.slots, moves.went.slots
        return Changes(moves.came.digests, came, went, counted(came, went, len(self.sequences)))

    def replace(self, build: SlotBuild) -> None:
        """Takes a build in place of what is there; where the bits differ the sequence rises."""
        slot, bits = build.slot, np.frombuffer(build.bits, dtype=np.uint8)
        if self.class_of[slot] == build.size_class:
            self._become(slot, bits)
        else:
            self.sequences[slot] += np.uint64(self.class_of[slot] >= 0)
            self.class_of[slot] = build.size_class
            self._bits[slot] = bits.copy()
            self._forget(slot)
        self._names[slot] = build.names
        self._checksums[slot] = build.checksum

    def _become(self, slot: int, bits: bloom.Bits) -> None:
        """The filter of the same class that has these bits."""
        before = self._bits[slot]
        changed = np.flatnonzero(np.unpackbits(before ^ bits, bitorder="little")).astype(np.uint64)
        if not len(changed):
            return
        is_set = _read(bits, changed)
        self._bits[slot] = bits.copy()
        self._next(slot, Difference(changed[is_set].astype(np.uint32), changed[~is_set].astype(np.uint32)))

    def add(self, digests: Digests, slots: Slots) -> None:
        """Sets the bits of names in slots that are built, shapes (n, 2) and (n,). A sequence rises where a bit does."""
        for slot, count in zip(*np.unique(slots, return_counts=True), strict=True):
            self._names[slot] += int(count)
        classes = self.class_of[slots]
        for size_class in np.unique(classes).tolist():
            mine = classes == size_class
            shape = bloom.geometry(size_class, self._error_rate)
            first = slots[mine].astype(np.uint64) * np.uint64(shape.bits)
            numbers = distinct(bloom.bit_numbers(digests[mine], shape) + first[:, None])
            owners = distinct(first)
            for start, part in zip(owners, np.split(numbers, np.searchsorted(numbers, owners[1:])), strict=True):
                self._set(int(start) // shape.bits, part - start)

    def _set(self, slot: int, numbers: NDArray[np.uint64]) -> None:
        fresh = numbers[~_read(self._bits[slot], numbers)]
        if not len(fresh):
            return
        masks = np.uint8(1) << (fresh & _SEVEN).astype(np.uint8)
        np.bitwise_or.at(self._bits[slot], (fresh >> _THREE).astype(np.intp), masks)
        self._checksums[slot] = (self._checksums[slot] + bloom.checksum_of(fresh)) % (1 << 64)
        self._next(slot, Difference(fresh.astype(np.uint32), NO_BITS))

    def _next(self, slot: int, difference: Difference) -> None:
        self.sequences[slot] += np.uint64(1)
        self._logs[slot].append(difference)

    def _forget(self, slot: int) -> None:
        shape = bloom.geometry(int(self.class_of[slot]), self._error_rate)
        self._logs[slot] = DifferenceLog(int(self.sequences[slot]), bits_max(shape))

    def restart(self) -> None:
        """Begins a new epoch: sequences start anew."""
        self.sequences[:] = 1
        for slot in np.flatnonzero(self.built).tolist():
            self._forget(slot)

    def summary(self, slot: int, base: int) -> Summary:
        """What takes a node that holds a built slot at sequence `base` to its own: an increment where one is known.

        Otherwise, and from base 0, the whole filter.
        """
        difference = self._logs[slot].since(base) if base else None
        if difference is None:
            shape = bloom.geometry(int(self.class_of[slot]), self._error_rate)
            base, body = 0, bloom.to_container(self._bits[slot], shape, self._names[slot])
        else:
            body = difference.to_bytes(self._names[slot])
        return Summary(slot, "bloom", base, int(self.sequences[slot]), self._checksums[slot], body)

    def content(self, slot: int) -> tuple[int, bytes]:
        """The size class and the bits of a built slot, as nodes are told of them."""
        return int(self.class_of[slot]), self._bits[slot].tobytes()


def _read(bits: bloom.Bits, numbers: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether each bit is set, shape (n,)."""
    found = bits[(numbers >> _THREE).astype(np.intp)] >> (numbers & _SEVEN).astype(np.uint8)
    is_set: NDArray[np.bool_] = (found & 1).astype(bool)
    return is_set
