"""The matrix: the filters of all sites, bit-sliced, so that reading k rows answers for every site at once.

A row per filter bit, a column per site, as search engines keep the signatures of documents (Goodwin et al., "BitFunnel:
Revisiting Signatures for Search", 2017). The columns of one slot and size class are a region of one flat array
(`rli/regions.py`), so that a batch over many slots is one gather for each size class in use.

Rules: a query never sees half of a filter, because a column is written while queries do not look at it, and shown in
the same step that hides the site's old one. Nothing here waits: long work is an iterator, every step of which is
short. Not safe for threads: a query may come between two steps, never during one.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reploc.bloom import Bits, check_fit, hashes
from reploc.difference import BitNumbers, Difference
from reploc.digest import Digests, slots_of
from reploc.errors import SummaryInvalid
from rli.arena import RESERVE_BYTES, WORD_BYTES, Arena, Words
from rli.regions import LIVE_ROW, SITES_ROW, WORD_COLUMNS, Regions
from rli.shared import Shared

#: Site numbers fill 32 bits of a region's site rows.
SITE_MAX = (1 << 32) - 1
#: Bits of a column written in one step; a multiple of 8. Each is in a cache line of its own, and all of them fit a
#: processor's own cache (512 KiB), so that the second pass over them costs little.
_WRITE_BITS = 1 << 13
#: Words gathered at once: 2 MiB, for the same reason (measured: half of it is as good, an eighth costs a third).
_GATHER_WORDS = 1 << 18
#: A chunk is no smaller than this, however wide the rows are, and no larger, however narrow: 17 positions a digest.
_CHUNK_MIN, _CHUNK_MAX = 16, 2048
#: So few digests are looked up one by one: a batch has a fixed cost of about as many.
_SINGLES_MAX = 10
_HALF = np.uint64(32)
#: A place is a class above the bits of a column number, a pair a digest's row above those of a site number.
_COLUMN_BITS = _SITE_BITS = 32
_NOWHERE = -1
_NO_PAIRS = np.zeros(0, dtype=np.int64)

#: Long work in pieces: run it by iterating, abandon it by `close`.
Steps = Generator[None, None, None]
Places = NDArray[np.int64]
Pairs = NDArray[np.int64]
Widths = NDArray[np.int32]


class MayHold(NamedTuple):
    """Pairs of a digest and a site that may hold it, ordered by digest, then site; both of shape (pairs,)."""

    rows: NDArray[np.int64]
    sites: NDArray[np.int64]

    @classmethod
    def of(cls, rows: NDArray[np.int64], sites: NDArray[np.int64]) -> MayHold:
        """Pairs in any order, some of them perhaps told twice."""
        order = np.lexsort((sites, rows))
        rows, sites = rows[order], sites[order]
        first = np.ones(len(rows), dtype=bool)
        first[1:] = (rows[1:] != rows[:-1]) | (sites[1:] != sites[:-1])
        return cls(rows[first], sites[first])


@dataclass(frozen=True)
class Memory:
    """Bytes of a matrix: `allocated` to its regions, `used` by filters that queries see, `reserved` as addresses."""

    allocated: int
    used: int
    reserved: int


class Matrix:
    """The filters of all sites in all slots of one index, each in a column of its own."""

    def __init__(
        self, slots: int, error_rate: float, bytes_max: int = RESERVE_BYTES, shared: Shared | None = None
    ) -> None:
        """`slots` is a power of two up to 65,536; `error_rate` is the index's; `bytes_max` bounds the flat array.

        Over `shared` memory one process writes, and the others ask, after a `look` each time.
        """
        self.slots = slots
        self.error_rate = error_rate
        self._arena = Arena(bytes_max, shared.reserved("words") if shared else None)
        self._regions = Regions(slots, error_rate, self._arena, shared)
        self._slices = self._regions.shape(0).slices
        #: For each site, where its filter for each slot is: class and column, or nowhere.
        self._places: dict[int, Places] = {}
        self._site_counts = shared.arrays["site_counts"] if shared else np.zeros(slots, dtype=np.int64)
        self._used_bits = 0

    def store(self, slot: int, site: int, size_class: int, bits: Bits) -> Generator[None, None, None]:
        """Put a site's filter for a slot in place of the one it had, in steps of well under 2 ms.

        `bits` is packed as `reploc.bloom.build` packs it, and must not change until the last step. Queries see the old
        filter until the last step, and the new one after it. Closing it early leaves the old one. Where two stores of
        one (slot, site) overlap, the one that ends last stays. A drop does not stop a store that is under way: close
        it. Raises SummaryInvalid (at the call) for a slot, site, class or length that cannot be, and MemoryFull (from a
        step, with nothing changed) when there is no room.
        """
        self._check(slot, site)
        check_fit(bits, self._regions.shape(size_class))
        return self._store(slot, site, size_class, bits)

    def store_now(self, slot: int, site: int, size_class: int, bits: Bits) -> None:
        """All steps of `store` at once."""
        for _ in self.store(slot, site, size_class, bits):
            pass

    def read_bits(self, slot: int, site: int, bits: BitNumbers) -> NDArray[np.bool_]:
        """Whether each of these bits of a site's filter is set, shape (n,). Raises SummaryInvalid as `change` does."""
        size_class, column = self._place(slot, site, bits)
        return self._regions.read(slot, size_class, column, bits)

    def change(self, slot: int, site: int, difference: Difference) -> None:
        """Set and clear bits of the filter that queries see, in one step.

        Raises SummaryInvalid where the site has no filter for the slot, or a bit is beyond it.
        """
        size_class, column = self._place(slot, site, difference.set)
        self._place(slot, site, difference.clear)
        self._regions.change(slot, size_class, column, difference)

    def drop(self, slot: int, site: int) -> bool:
        """Forget a site's filter for a slot; whether there was one. Costs a few bits, whatever the filter's size."""
        self._check(slot, site)
        places = self._places.get(site)
        if places is None or places[slot] == _NOWHERE:
            return False
        self._forget(slot, places)
        if (places == _NOWHERE).all():
            del self._places[site]
        return True

    def drop_site(self, site: int) -> int:
        """Forget all filters of a site; how many there were."""
        places = self._places.pop(site, None)
        if places is None:
            return 0
        held = np.flatnonzero(places != _NOWHERE)
        for slot in held.tolist():
            self._forget(slot, places)
        return len(held)

    def holds(self, site: int) -> NDArray[np.bool_]:
        """Which slots have a filter of the site, shape (slots,)."""
        places = self._places.get(site)
        return np.zeros(self.slots, dtype=np.bool_) if places is None else places != _NOWHERE

    def class_of(self, slot: int, site: int) -> int:
        """The size class of a site's filter for a slot; where there is none, the smallest."""
        places = self._places.get(site)
        return 0 if places is None or places[slot] == _NOWHERE else int(places[slot]) >> _COLUMN_BITS

    def column(self, slot: int, site: int) -> tuple[int, Bits]:
        """The size class and the packed bits of a site's filter for a slot; where there is none, an empty one."""
        size_class = self.class_of(slot, site)
        shape, places = self._regions.shape(size_class), self._places.get(site)
        if places is None or places[slot] == _NOWHERE:
            return size_class, np.zeros(shape.bytes, dtype=np.uint8)
        column = int(places[slot]) & ((1 << _COLUMN_BITS) - 1)
        numbers = np.arange(shape.bits, dtype=np.uint32)
        return size_class, np.packbits(self._regions.read(slot, size_class, column, numbers), bitorder="little")

    def sites_in(self, slot: int) -> NDArray[np.int64]:
        """The sites that have a filter for the slot, in order of their numbers."""
        found = [self._regions.live_sites(slot, size_class) for size_class in self._regions.classes]
        return np.sort(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)

    @property
    def site_counts(self) -> NDArray[np.int64]:
        """How many sites have a filter for each slot, shape (slots,). The matrix's own array: do not write."""
        return self._site_counts

    def memory(self) -> Memory:
        allocated, reserved = self._arena.allocated * WORD_BYTES, len(self._arena.words) * WORD_BYTES
        return Memory(allocated, self._used_bits // 8, reserved)

    def look(self) -> None:
        """Takes note of what another process changed, before it is asked what that holds."""
        self._regions.look()

    def query(self, digests: Digests, slots: NDArray[np.intp] | None = None) -> MayHold:
        """Which sites may hold each of n digests, shape (n, 2): all that do, and few that do not.

        `slots` are those of the digests, shape (n,), where they are not said by the digests themselves.
        """
        if not len(digests) or not self._regions.classes:
            return MayHold(_NO_PAIRS, _NO_PAIRS)
        if len(digests) <= _SINGLES_MAX:
            of = (slots_of(digests, self.slots) if slots is None else slots).tolist()
            pairs = [_pairs(at, sites) for at, sites in enumerate(self.sites_of_each(digests, of))]
        else:
            chunk = self._chunk(len(digests))
            slots = slots_of(digests, self.slots) if slots is None else slots
            pairs = [
                self._match(digests[at : at + chunk], slots[at : at + chunk], at)
                for at in range(0, len(digests), chunk)
            ]
        found = pairs[0] if len(pairs) == 1 else np.concatenate(pairs)
        return MayHold(found >> _SITE_BITS, found & SITE_MAX)

    def sites_of_each(self, digests: Digests, slots: Sequence[int]) -> list[list[int]]:
        """Which sites may hold each of a few digests, shape (n, 2), of these slots, by number: the fewest calls."""
        regions = self._regions
        found: list[list[int]] = [[] for _ in slots]
        hashed = hashes(digests, self._slices)
        for size_class, length, slice_rows in zip(regions.classes, regions.slice_bits, regions.slice_rows, strict=True):
            rows = hashed * length
            rows >>= _HALF
            rows += slice_rows
            for at, (slot, bit_rows) in enumerate(zip(slots, rows.view(np.int64), strict=True)):
                if width := regions.width.item(size_class, slot):
                    found[at] += self._match_region(width, regions.first_row.item(size_class, slot), bit_rows)
        return [sorted(sites) for sites in found]

    def _check(self, slot: int, site: int) -> None:
        if not 0 <= slot < self.slots:
            raise SummaryInvalid(f"slot {slot} is unknown; expected 0 to {self.slots - 1}")
        if not 0 <= site <= SITE_MAX:
            raise SummaryInvalid(f"site number {site} is not one; expected 0 to {SITE_MAX}")

    def _place(self, slot: int, site: int, bits: BitNumbers) -> tuple[int, int]:
        """The class and column of a site's filter, which has these bits, ascending."""
        self._check(slot, site)
        places = self._places.get(site)
        if places is None or places[slot] == _NOWHERE:
            raise SummaryInvalid(f"no filter of slot {slot} is held that could be changed")
        size_class, column = divmod(int(places[slot]), 1 << _COLUMN_BITS)
        if len(bits) and bits[-1] >= self._regions.shape(size_class).bits:
            raise SummaryInvalid(
                f"bit {bits[-1]} of slot {slot} is beyond the {self._regions.shape(size_class).bits} of its filter"
            )
        return size_class, column

    def _store(self, slot: int, site: int, size_class: int, bits: Bits) -> Generator[None, None, None]:
        regions = self._regions
        while (column := regions.take(slot, size_class)) is None:
            regions.widen(slot, size_class)
            yield
        shown = False
        try:
            total = regions.shape(size_class).bits
            for start in range(0, total, _WRITE_BITS):
                end = min(total, start + _WRITE_BITS)
                flags = np.unpackbits(bits[start // 8 : (end + 7) // 8], count=end - start, bitorder="little")
                regions.write(slot, size_class, column, start, flags)
                if end < total:
                    yield
            self._flip(slot, site, size_class, column)
            shown = True
        finally:
            if not shown:
                regions.give_back(slot, size_class, column)

    def _flip(self, slot: int, site: int, size_class: int, column: int) -> None:
        """Show a written column as the site's, in place of the one that it has."""
        places = self._places.get(site)
        if places is None:
            places = self._places[site] = np.full(self.slots, _NOWHERE, dtype=np.int64)
        self._regions.show(slot, size_class, column, site)
        if places[slot] != _NOWHERE:
            self._forget(slot, places)
        places[slot] = size_class << _COLUMN_BITS | column
        self._site_counts[slot] += 1
        self._used_bits += self._regions.shape(size_class).bits

    def _forget(self, slot: int, places: Places) -> None:
        size_class, column = divmod(int(places[slot]), 1 << _COLUMN_BITS)
        self._regions.give_back(slot, size_class, column)
        places[slot] = _NOWHERE
        self._site_counts[slot] -= 1
        self._used_bits -= self._regions.shape(size_class).bits

    def _chunk(self, count: int) -> int:
        """The size of equal chunks whose rows, at the greatest width in use, fit the scratch that a gather may take."""
        widest = int(self._regions.width[list(self._regions.classes)].max())
        most = max(_CHUNK_MIN, min(_CHUNK_MAX, _GATHER_WORDS // (self._slices * widest)))
        return -(-count // -(-count // most))

    def _match(self, digests: Digests, slots: NDArray[np.intp], first: int) -> Pairs:
        """The pairs of one chunk in order."""
        regions = self._regions
        hashed = hashes(digests, self._slices).T
        pairs = [_NO_PAIRS]
        for size_class, length, slice_rows in zip(regions.classes, regions.slice_bits, regions.slice_rows, strict=True):
            rows = hashed * length
            rows >>= _HALF
            rows += slice_rows[:, None]
            starts = regions.first_row[size_class].take(slots)
            widths = regions.width[size_class].take(slots)
            for width in _distinct(widths):
                pairs += [self._match_width(width, widths, starts, rows.view(np.int64), first)]
        found = np.concatenate(pairs)
        found.sort()
        return found

    def _match_width(self, width: int, widths: Widths, starts: Places, rows: Places, first: int) -> Pairs:
        """The pairs from the regions of one size class and width; `rows` count from the first row of a region."""
        members = np.flatnonzero(widths == width)
        if len(members) < len(widths):
            starts, rows = starts[members], rows[:, members]
        table = self._regions.rows_of(width)
        found: Words = np.bitwise_and.reduce(table.take(rows + starts, axis=0), axis=0)
        found &= table.take(starts + LIVE_ROW, axis=0)
        digest, column = _set_bits(found)
        sites = self._regions.site_numbers.take((starts[digest] + SITES_ROW) * (2 * width) + column)
        pairs: Pairs = (members[digest] + first) << _SITE_BITS | sites
        return pairs

    def _match_region(self, width: int, start: int, rows: Places) -> list[int]:
        """The sites of one region whose filters have all these bits set."""
        table = self._regions.rows_of(width)
        found = np.bitwise_and.reduce(table.take(rows + start, axis=0), axis=0)
        columns = int.from_bytes(found.tobytes(), "little")
        if columns:
            columns &= int.from_bytes(table[start + LIVE_ROW].tobytes(), "little")
        sites, number = [], (start + SITES_ROW) * width * 2 - 1
        while columns:
            lowest = columns & -columns
            sites.append(self._regions.site_numbers.item(number + lowest.bit_length()))
            columns ^= lowest
        return sites


def _pairs(row: int, sites: list[int]) -> Pairs:
    return np.array([row << _SITE_BITS | site for site in sites], dtype=np.int64)


def _distinct(widths: NDArray[np.int32]) -> list[int]:
    """The different widths, without the 0 of a slot that has no region."""
    if (widths == widths[0]).all():
        return [int(widths[0])] if widths[0] else []
    return [width for width in np.unique(widths).tolist() if width]


def _set_bits(words: Words) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The row and the column of each set bit of some rows of words, shape (n, width), in order."""
    flat = words.reshape(-1)
    filled = np.flatnonzero(flat != 0)
    bits = np.flatnonzero(np.unpackbits(flat[filled].view(np.uint8), bitorder="little").view(np.bool_))
    word = filled[bits // WORD_COLUMNS]
    row = word // words.shape[1]
    return row, (word - row * words.shape[1]) * WORD_COLUMNS + bits % WORD_COLUMNS
