"""The regions of the flat array: for each (slot, size class) that is in use, the columns of its sites' filters.

    region   live     1 row          the columns that queries see
             taken    1 row          the columns that are live or being written
             sites    32 rows        the site number of each column, 32 bits each
             bits     k · slice_bits rows; row b holds bit b of every filter
    row      `width` words, 64 columns each: column c is bit c % 64 of word c // 64

Everything that a query needs lies in the array itself, beside two tables from (class, slot) to a region's first row
and width; so processes that share the array need share no objects. A region starts at a multiple of its width: all
rows of one width, wherever they lie, are the rows of one two-dimensional view of the array, and a gather copies whole
rows, not words.

A region begins one word wide and widens by an eighth, at least by one word, into a new part of the array. That is
done in pieces while queries read the old part; a column that is written meanwhile is written to both. A widening
belongs to the region: whoever needs its space carries it on, and nobody can be left waiting for another's.
A region goes back to the array when its last column is given back. It never narrows before that.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reploc.bloom import CLASS_MAX, Geometry, geometry
from reploc.difference import BitNumbers, Difference
from rli.arena import Arena, Words
from rli.shared import Shared

#: Rows before the rows of bits, and where each kind starts.
LIVE_ROW, TAKEN_ROW, SITES_ROW, BITS_ROW = 0, 1, 2, 34
#: Columns in one word.
WORD_COLUMNS = 64
#: Words copied in one step of a widening: 2 MiB, under a millisecond even when every page is new.
_COPY_WORDS = 1 << 18

Flags = NDArray[np.uint8]


@dataclass
class _Widening:
    """The wider copy of a region, whose first `copied` rows of bits are those of the region."""

    first_row: int
    width: int
    copied: int = 0


class Regions:
    """Columns of all (slot, class): taken, written, shown to queries, given back. All rows are rows of `rows_of`."""

    def __init__(self, slots: int, error_rate: float, arena: Arena, shared: Shared | None = None) -> None:
        """Where the arena is of `shared` memory, so are the tables, and every step that questions may see is a change
        of it."""
        self.error_rate = error_rate
        self._arena = arena
        self._changing: AbstractContextManager[None] = shared or nullcontext()
        arrays = shared.arrays if shared else {}
        #: First row and width in words of the region of each (class, slot); width 0 where there is none.
        self.first_row = arrays.get("first_row", np.zeros((CLASS_MAX + 1, slots), dtype=np.int64))
        self.width = arrays.get("width", np.zeros((CLASS_MAX + 1, slots), dtype=np.int32))
        #: Whether a class has a region in some slot.
        self._used: Flags = arrays.get("class_used", np.zeros(CLASS_MAX + 1, dtype=np.bool_))
        #: Site numbers as they lie in the array: two to a word.
        self.site_numbers = arena.words.view("<u4")
        #: The classes that have a region in some slot, smallest first; the slice length of each, shape (classes, 1);
        #: and the row where each slice starts, counted from the region's first, shape (classes, slices).
        self.classes: tuple[int, ...] = ()
        self.slice_bits = np.zeros((0, 1), dtype=np.uint64)
        self.slice_rows = np.zeros((0, self.shape(0).slices), dtype=np.uint64)
        self._regions = [0] * (CLASS_MAX + 1)
        self._widening: dict[tuple[int, int], _Widening] = {}
        self._views: dict[int, Words] = {}

    def rows_of(self, width: int) -> Words:
        """The whole array as rows of this many words, shape (rows, width)."""
        view = self._views.get(width)
        if view is None:
            words = self._arena.words
            view = self._views[width] = words[: len(words) // width * width].reshape(-1, width)
        return view

    def shape(self, size_class: int) -> Geometry:
        return geometry(size_class, self.error_rate)

    def take(self, slot: int, size_class: int) -> int | None:
        """A column that nobody uses, now taken; None while there is none (`widen` makes some)."""
        if not self.width[size_class, slot]:
            self._open(slot, size_class)
        taken = self._mask(slot, size_class, TAKEN_ROW)
        used = int.from_bytes(taken.tobytes(), "little")
        column = (~used & (used + 1)).bit_length() - 1
        if column == len(taken) * WORD_COLUMNS:
            return None
        taken[column // WORD_COLUMNS] |= _bit(column)
        return column

    def widen(self, slot: int, size_class: int) -> None:
        """One bounded piece of making a region wider."""
        key = (size_class, slot)
        wider = self._widening.get(key)
        width = int(self.width[key])
        if wider is None:
            wider = self._widening[key] = self._allocate(size_class, width + max(1, width // 8))
        rows = self.shape(size_class).bits
        end = min(rows, wider.copied + _COPY_WORDS // wider.width)
        old, new = int(self.first_row[key]) + BITS_ROW, wider.first_row + BITS_ROW
        source = self.rows_of(width)[old + wider.copied : old + end]
        self.rows_of(wider.width)[new + wider.copied : new + end, :width] = source
        wider.copied = end
        if end == rows:
            self._move(slot, size_class, wider)

    def write(self, slot: int, size_class: int, column: int, first_bit: int, flags: Flags) -> None:
        """Set a taken column's bits from `first_bit` on: one flag of 0 or 1 each, shape (n,)."""
        key = (size_class, slot)
        self._write(int(self.first_row[key]), int(self.width[key]), column, first_bit, flags)
        if wider := self._widening.get(key):
            self._write(wider.first_row, wider.width, column, first_bit, flags)

    def read(self, slot: int, size_class: int, column: int, bits: BitNumbers) -> NDArray[np.bool_]:
        """Whether each bit of a taken column is set, shape (n,)."""
        key = (size_class, slot)
        rows = bits.astype(np.intp) + (int(self.first_row[key]) + BITS_ROW)
        found = self.rows_of(int(self.width[key])).view(np.uint8)[rows, column // 8] >> np.uint8(column % 8)
        is_set: NDArray[np.bool_] = (found & 1).astype(bool)
        return is_set

    def change(self, slot: int, size_class: int, column: int, difference: Difference) -> None:
        """Set and clear bits of a taken column."""
        key = (size_class, slot)
        with self._changing:
            self._change(int(self.first_row[key]), int(self.width[key]), column, difference)
        if wider := self._widening.get(key):
            self._change(wider.first_row, wider.width, column, difference)

    def show(self, slot: int, size_class: int, column: int, site: int) -> None:
        """Let queries see a taken column, as this site's."""
        key = (size_class, slot)
        start = (int(self.first_row[key]) + SITES_ROW) * int(self.width[key]) * 2
        with self._changing:
            self.site_numbers[start + column] = site
            self._mask(slot, size_class, LIVE_ROW)[column // WORD_COLUMNS] |= _bit(column)

    def give_back(self, slot: int, size_class: int, column: int) -> None:
        """Hide a column from queries and free it; the region too, when it was the last."""
        word, keep = column // WORD_COLUMNS, ~_bit(column)
        with self._changing:
            self._mask(slot, size_class, LIVE_ROW)[word] &= keep
        taken = self._mask(slot, size_class, TAKEN_ROW)
        taken[word] &= keep
        if not taken.any():
            self._close(slot, size_class)

    def live_sites(self, slot: int, size_class: int) -> NDArray[np.int64]:
        """The sites whose columns queries see, in the order of their columns."""
        width = int(self.width[size_class, slot])
        if not width:
            return np.zeros(0, dtype=np.int64)
        live = np.unpackbits(self._mask(slot, size_class, LIVE_ROW).view(np.uint8), bitorder="little")
        start = (int(self.first_row[size_class, slot]) + SITES_ROW) * width * 2
        return self.site_numbers[start + np.flatnonzero(live)].astype(np.int64)

    def _write(self, first_row: int, width: int, column: int, first_bit: int, flags: Flags) -> None:
        start = first_row + BITS_ROW + first_bit
        column_bytes = self.rows_of(width).view(np.uint8)[start : start + len(flags), column // 8]
        column_bytes &= np.uint8(~(1 << column % 8) & 0xFF)
        column_bytes |= flags << np.uint8(column % 8)

    def _change(self, first_row: int, width: int, column: int, difference: Difference) -> None:
        table, start = self.rows_of(width).view(np.uint8), first_row + BITS_ROW
        bit = np.uint8(1 << column % 8)
        table[difference.set.astype(np.intp) + start, column // 8] |= bit
        table[difference.clear.astype(np.intp) + start, column // 8] &= ~bit

    def _mask(self, slot: int, size_class: int, row: int) -> Words:
        width = int(self.width[size_class, slot])
        mask: Words = self.rows_of(width)[int(self.first_row[size_class, slot]) + row]
        return mask

    def _allocate(self, size_class: int, width: int) -> _Widening:
        start = self._arena.allocate(self._words(size_class, width), width)
        return _Widening(start // width, width)

    def _words(self, size_class: int, width: int) -> int:
        return (BITS_ROW + self.shape(size_class).bits) * width

    def _place(self, slot: int, size_class: int, at: _Widening) -> None:
        """Make a part of the array the region, with no column taken."""
        self.rows_of(at.width)[at.first_row + LIVE_ROW : at.first_row + SITES_ROW] = 0
        self.first_row[size_class, slot] = at.first_row
        self.width[size_class, slot] = at.width

    def _open(self, slot: int, size_class: int) -> None:
        with self._changing:
            self._place(slot, size_class, self._allocate(size_class, 1))
            self._regions[size_class] += 1
            self._count_classes()

    def _move(self, slot: int, size_class: int, wider: _Widening) -> None:
        """Put the wider copy in the region's place, in one step."""
        key = (size_class, slot)
        first_row, width = int(self.first_row[key]), int(self.width[key])
        old = self.rows_of(width)[first_row : first_row + BITS_ROW]
        with self._changing:
            self._place(slot, size_class, wider)
            new = self.rows_of(wider.width)[wider.first_row : wider.first_row + BITS_ROW]
            new[:SITES_ROW, :width] = old[:SITES_ROW]
            new[SITES_ROW:].reshape(-1)[: old[SITES_ROW:].size] = old[SITES_ROW:].reshape(-1)
        del self._widening[key]
        self._arena.release(first_row * width, self._words(size_class, width))

    def _close(self, slot: int, size_class: int) -> None:
        key = (size_class, slot)
        if wider := self._widening.pop(key, None):
            self._arena.release(wider.first_row * wider.width, self._words(size_class, wider.width))
        first_row, width = int(self.first_row[key]), int(self.width[key])
        self._regions[size_class] -= 1
        with self._changing:
            self.width[key] = 0
            self._count_classes()
        self._arena.release(first_row * width, self._words(size_class, width))

    def _count_classes(self) -> None:
        self._used[:] = np.array(self._regions) > 0
        self.look()

    def look(self) -> None:
        """Takes note of the classes in use, which another process may have changed."""
        classes = tuple(np.flatnonzero(self._used).tolist())
        if classes != self.classes:
            lengths = [self.shape(size_class).slice_bits for size_class in classes]
            steps = np.arange(self.slice_rows.shape[1], dtype=np.uint64)
            self.classes = classes
            self.slice_bits = np.array(lengths, dtype=np.uint64).reshape(-1, 1)
            self.slice_rows = self.slice_bits * steps + np.uint64(BITS_ROW)


def _bit(column: int) -> np.uint64:
    return np.uint64(1 << column % WORD_COLUMNS)
