"""The forms that are sets of keys: fingerprints of LFNs, and lists of whole names.

Both are exact about what came and what went, so that a deletion is an increment like any other. A key may stand for
several LFNs of a slot, as two LFNs may share a fingerprint, and goes with the last of them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from typing import TypeAlias, TypeVar

import numpy as np

from reploc.digest import Digests
from reploc.key_sets import FingerprintSet, NameSet, checksum_of_fingerprints, checksum_of_names
from reploc.sender.form import Changes, Items, Slots, by_slot, counted
from reploc.sender.news import News
from reploc.sender.placing import Placing
from reploc.sender.slot_tables import NO_SLOTS, SlotTables, TableBuild
from reploc.wire import Kind

K = TypeVar("K", int, str)

#: The keys of one slot, each with the number of its LFNs.
KeysBuild: TypeAlias = TableBuild[K, int]


class SlotKeys(SlotTables[K, int]):
    """The keys of all slots, each with the number of its LFNs."""

    def __init__(self, placing: Placing) -> None:
        super().__init__(placing.slots)
        self._placing = placing

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

    @staticmethod
    def told(held: dict[K, int]) -> Set[K]:
        return held.keys()

    def whole(self, held: dict[K, int]) -> bytes:
        return self.body(list(held), [])

    def part(self, held: dict[K, int], changed: Sequence[K]) -> bytes:
        return self.body([key for key in changed if key in held], [key for key in changed if key not in held])

    def changes(self, news: News) -> Changes:
        """The keys that came, and those that went."""
        moves = self._placing.moves(news)
        came: list[K] = self.keys(moves.came.digests, moves.came.names)
        went: list[K] = self.keys(moves.went.digests, moves.went.names)
        items = np.empty(len(came) + len(went), dtype=object)
        items[:] = [*((key, -1) for key in went), *((key, +1) for key in came)]
        slots = np.concatenate([moves.went.slots, moves.came.slots])
        return Changes(items, slots, NO_SLOTS, counted(moves.came.slots, moves.went.slots, len(self.sequences)))

    def add(self, items: Items, slots: Slots) -> None:
        """Takes keys into slots that are built, and out of them."""
        for slot, places in by_slot(slots):
            self._change(slot, items[places].tolist())

    def _change(self, slot: int, items: Iterable[tuple[K, int]]) -> None:
        counts, before = self._held[slot], dict[K, bool]()
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
            self._rise(slot, came + went, self.checksum(came) - self.checksum(went))

    def build(self, slot: int, digests: Digests, names: Sequence[str]) -> KeysBuild[K]:
        """A slot that holds exactly these LFNs."""
        counts = Counter(self.keys(digests, names))
        return TableBuild(slot, dict(counts), self.checksum(list(counts)))


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
