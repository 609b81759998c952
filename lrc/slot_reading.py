"""Reads from a catalog what summaries of its LFNs are made of, slot by slot, in one snapshot.

Digests lie in the store in the order of slots, where a digest says the slot. Names do not, nor does
anything where names or collections say the slot: then the whole catalog is read, and other slots are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrc import listings
from lrc.catalog import Catalog
from lrc.reads import View
from reploc import digest
from reploc.digest import Digests
from reploc.sender.form import by_slot
from reploc.sender.news import NO_DIGESTS
from reploc.sender.placing import Placing

#: Names that are read before their slots are looked for, many at once.
_CHUNK = 1 << 16


@dataclass(frozen=True)
class SlotContent:
    """The LFNs of one slot: their digests, shape (n, 2), and where they are wanted their names."""

    slot: int
    digests: Digests
    names: Sequence[str] = ()


class Reading:
    """One catalog, read for one stream."""

    def __init__(self, catalog: Catalog, placing: Placing, *, names: bool) -> None:
        """With `names` the names are wanted, not their digests alone."""
        self._catalog = catalog
        self._placing = placing
        self._names = names

    @property
    def scans(self) -> bool:
        """Whether each visit reads the whole catalog."""
        return self._names or not self._placing.is_by_digest

    def counts(self) -> tuple[NDArray[np.int64], int]:
        """How many LFNs each slot has, shape (slots,), and the position of the snapshot."""
        slots = self._placing.slots
        with self._catalog.view() as view:
            position = view.state().position
            if self._placing.is_by_digest:
                return view.slot_counts(slots), position
            counts = np.zeros(slots, dtype=np.int64)
            for _, _, of in self._chunks(view):
                counts += np.bincount(of, minlength=slots)
        return counts, position

    def read(self, slots: Sequence[int]) -> tuple[list[SlotContent], int]:
        """What these slots hold, and the position of the snapshot."""
        with self._catalog.view() as view:
            position = view.state().position
            if self.scans:
                return self._scanned(view, slots), position
            return [SlotContent(slot, view.digests(slot, self._placing.slots)) for slot in slots], position

    def _scanned(self, view: View, slots: Sequence[int]) -> list[SlotContent]:
        names: dict[int, list[str]] = {slot: [] for slot in slots}
        digests: dict[int, list[Digests]] = {slot: [NO_DIGESTS] for slot in slots}
        for lfns, words, of in self._chunks(view):
            for slot, places in by_slot(of):
                if slot in names:
                    digests[slot].append(words[places])
                    names[slot] += [lfns[at] for at in places.tolist()] if self._names else []
        return [SlotContent(slot, np.concatenate(digests[slot]), names[slot]) for slot in slots]

    def _chunks(self, view: View) -> Iterator[tuple[list[str], Digests, NDArray[np.intp]]]:
        """All LFNs with their digests and slots."""
        for lfns, collections in listings.named(view, _CHUNK):
            words = digest.of(lfns)
            yield lfns, words, self._placing.of(lfns, words, collections)
