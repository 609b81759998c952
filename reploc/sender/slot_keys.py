"""The forms that are sets of keys: fingerprints of LFNs, and lists of whole names.

Both are exact about what came and what went, so that a deletion is an increment like any other. A key may stand for
several LFNs of a slot, as two LFNs may share a fingerprint, and goes with the last of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from reploc.digest import Digests
from reploc.key_sets import FingerprintSet, NameSet, checksum_of_fingerprints, checksum_of_names
from reploc.sender.form import Changes, Flags, Items, Slots, by_slot, counted
from reploc.sender.key_log import KeyLog
from reploc.sender.news import News
from reploc.sender.placing import Placing
from reploc.wire import Kind, Summary

K = TypeVar("K", int, str)

_NO_SLOTS: Slots = np.zeros(0, dtype=np.intp)


@dataclass(frozen=True)
class KeysBuild(Generic[K]):
    """The keys of one slot as they were read from the catalog, each with the number of its LFNs."""

    slot: int
    counts: dict[K, int]
    checksum: int


class SlotKeys(ABC, Generic[K]):
    """The keys of all slots, none of which is built at first."""

    size_class = 0
    kind: Kind

    def __init__(self, placing: Placing) -> None:
        slots = placing.slots
        self.sequences: NDArray[np.uint64] = np.ones(slots, dtype=np.uint64)
        self._placing = placing
        self._built: Flags = np.zeros(slots, dtype=bool)
        self._counts: list[dict[K, int]] = [{} for _ in range(slots)]
        self._checksums = [0] * slots
        self._logs: list[KeyLog[K]] = [KeyLog(1) for _ in range(slots)]

    # ---- what a kind is ------------------------------------------------------------------------------------------

    @abstractmethod
    def keys(self, digests: Digests, names: Sequence[str]) -> list[K]:
        """The keys of LFNs, by their digests, shape (n, 2), or their names."""

    @staticmethod
    @abstractmethod
    def checksum(keys: Sequence[K]) -> int:
        """What distinct keys add to the checksum of their slot."""

    @abstractmethod
    def body(self, here: Sequence[K], gone: Sequence[K]) -> bytes:
        """Keys that are in a slot, and keys that are not, as they travel."""

    # ---- as every form -------------------------------------------------------------------------------------------

    @property
    def built(self) -> Flags:
        """Which slots are built, shape (slots,)."""
        return self._built

    @property
    def stale(self) -> Flags:
        """Which slots are to be built from the catalog: those that never were."""
        stale: Flags = ~self._built
        return stale

    def fit(self, _: int) -> None:
        """There is nothing to choose."""

    def rate(self, _: int) -> float:
        """A name is never taken for another, and a fingerprint once in 2⁶⁴ names of a slot, which is as good."""
        return 0.0

    def changes(self, news: News) -> Changes:
        """The keys that came, and those that went."""
        moves = self._placing.moves(news)
        came: list[K] = self.keys(moves.came.digests, moves.came.names)
        went: list[K] = self.keys(moves.went.digests, moves.went.names)
        items = np.empty(len(came) + len(went), dtype=object)
        items[:] = [*((key, -1) for key in went), *((key, +1) for key in came)]
        slots = np.concatenate([moves.went.slots, moves.came.slots])
        return Changes(items, slots, _NO_SLOTS, counted(moves.came.slots, moves.went.slots, len(self.sequences)))

    def add(self, items: Items, slots: Slots) -> None:
        """Takes keys into slots that are built, and out of them."""
        for slot, places in by_slot(slots):
            self._change(slot, items[places].tolist())

    def _change(self, slot: int, items: Iterable[tuple[K, int]]) -> None:
        counts, before = self._counts[slot], dict[K, bool]()
        for key, step in items:
            before.setdefault(key, key in counts)
            count = counts.get(key, 0) + step
            if count > 0:
                counts[key] = count
            else:
                counts.pop(key, None)
        came: list[K] = [key for key, was in before.items() if not was and key in counts]
        went: list[K] = [key for key, was in before.items() if was and key not in counts]
        if came or went:
            gained = self.checksum(came) - self.checksum(went)
            self._checksums[slot] = (self._checksums[slot] + gained) % (1 << 64)
            self.sequences[slot] += np.uint64(1)
            self._logs[slot].append(came + went, len(counts))

    def build(self, slot: int, digests: Digests, names: Sequence[str]) -> KeysBuild[K]:
        """A slot that holds exactly these LFNs."""
        counts = Counter(self.keys(digests, names))
        return KeysBuild(slot, dict(counts), self.checksum(list(counts)))

    def replace(self, build: KeysBuild[K]) -> None:
        """Takes a build in place of what is there; where it differs the sequence rises."""
        slot = build.slot
        if self._built[slot] and self._counts[slot].keys() != build.counts.keys():
            self.sequences[slot] += np.uint64(1)
        self._counts[slot] = dict(build.counts)
        self._checksums[slot] = build.checksum
        self._built[slot] = True
        self._logs[slot] = KeyLog(int(self.sequences[slot]))

    def restart(self) -> None:
        """Begins a new epoch: sequences start anew."""
        self.sequences[:] = 1
        self._logs = [KeyLog(1) for _ in self._logs]

    def summary(self, slot: int, base: int) -> Summary:
        """What takes a node that holds a built slot at sequence `base` to its own: an increment where one is known."""
        changed = self._logs[slot].since(base) if base else None
        counts = self._counts[slot]
        if changed is None:
            base, body = 0, self.body(list(counts), [])
        else:
            here = [key for key in changed if key in counts]
            body = self.body(here, [key for key in changed if key not in counts])
        return Summary(slot, self.kind, base, int(self.sequences[slot]), self._checksums[slot], body)

    def content(self, slot: int) -> frozenset[K]:
        """A built slot as nodes are told of it, to compare."""
        return frozenset(self._counts[slot])


class SlotFingerprints(SlotKeys[int]):
    """Fingerprints: the first words of the LFNs' digests."""

    kind: Kind = "fingerprint"

    def keys(self, digests: Digests, _: Sequence[str]) -> list[int]:
        words: list[int] = digests[:, 0].tolist()
        return words

    @staticmethod
    def checksum(keys: Sequence[int]) -> int:
        return checksum_of_fingerprints(np.array(keys, dtype=np.uint64))

    def body(self, here: Sequence[int], gone: Sequence[int]) -> bytes:
        return FingerprintSet(*(np.sort(np.array(part, dtype=np.uint64)) for part in (here, gone))).to_bytes()


class SlotLists(SlotKeys[str]):
    """The LFNs themselves."""

    kind: Kind = "list"

    def keys(self, _: Digests, names: Sequence[str]) -> list[str]:
        return list(names)

    @staticmethod
    def checksum(keys: Sequence[str]) -> int:
        return checksum_of_names(keys)

    def body(self, here: Sequence[str], gone: Sequence[str]) -> bytes:
        return NameSet(sorted(here), sorted(gone)).to_bytes()
