"""The distinct LFNs of all senders of a node, as its parents are told of them: each once, however many sites have it.

What comes and goes is known the moment that a sender's keys change (`rli/key_sets.py`); here the keys are parted by the
slots of the parents' index. They are those of the node's own kind: fingerprints, or the numbers of whole names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from reploc.digest import Digests
from reploc.sender.form import by_slot
from reploc.sender.news import News
from reploc.sender.placing import Placing
from rli.key_sets import HeldFingerprints, HeldLists
from rli.runs import Keys

#: Changes of one slot that wait until its keys are wanted: folded one by one they would cost a copy of the slot each.
WAITING_MAX = 64

_NONE: Keys = np.zeros(0, dtype=np.uint64)


class Told(NamedTuple):
    """One LFN; nobody tells of which collection it is."""

    lfn: str
    collection: str | None = None


@dataclass(frozen=True)
class SlotLfns:
    """The LFNs of one slot: their digests, shape (n, 2), of which the second word is 0 where only fingerprints are
    told, and their names where these are."""

    slot: int
    digests: Digests
    names: list[str]


class Union:
    """The keys of every sender as one set, parted into slots. `tell` hears what came to it and went from it."""

    def __init__(
        self, held: HeldFingerprints | HeldLists, placing: Placing, position: int, tell: Callable[[News], None]
    ) -> None:
        """Nothing is held yet. `position` is what the first change comes behind."""
        self.position = position
        self._held = held
        self._placing = placing
        self._tell = tell
        self._keys: list[Keys] = [_NONE] * placing.slots
        #: For each slot what came and went since its keys were put together, in order.
        self._waiting: list[list[tuple[Keys, Keys]]] = [[] for _ in range(placing.slots)]
        held.watch(self._changed)

    def _changed(self, came: Keys, gone: Keys) -> None:
        """Some distinct keys have a first sender now, and some have none any more."""
        self.position += 1
        added, removed = self._lfns(came), self._lfns(gone)
        self._note(came, self._slots(*added), came=True)
        self._note(gone, self._slots(*removed), came=False)
        here, there = ([Told(name) for name in names] for _, names in (added, removed))
        self._tell(News(self.position, added[0], removed[0], here, there))

    def _lfns(self, keys: Keys) -> tuple[Digests, list[str]]:
        return self._held.digests_of(keys), self._held.names_of(keys)

    def _slots(self, digests: Digests, names: list[str]) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        return self._placing.of(names, digests, [None] * len(digests))

    def _note(self, keys: Keys, slots: np.ndarray[tuple[int], np.dtype[np.intp]], *, came: bool) -> None:
        for slot, places in by_slot(slots):
            waiting = self._waiting[slot]
            waiting.append((keys[places], _NONE) if came else (_NONE, keys[places]))
            if len(waiting) >= WAITING_MAX:
                self._fold(slot)

    def _fold(self, slot: int) -> Keys:
        """The keys of a slot, with all that waited."""
        keys = self._keys[slot]
        for came, gone in self._waiting[slot]:
            keys = np.concatenate([keys[~np.isin(keys, gone)], came]) if len(gone) else np.concatenate([keys, came])
        self._waiting[slot].clear()
        self._keys[slot] = keys
        return keys

    def read(self, slot: int) -> SlotLfns:
        """What a slot holds now."""
        return SlotLfns(slot, *self._lfns(self._fold(slot)))

    def __len__(self) -> int:
        """How many distinct LFNs there are."""
        return sum(len(self._fold(slot)) for slot in range(self._placing.slots))
