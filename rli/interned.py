"""Names that many hold, each kept once: a name is a small number, its bytes lie in one array, or in a scratch file.

Five million names of sixty bytes take 0.5 GB here; as Python's own strings in a dictionary they would take three times
as much. Names are found by their digests in an open-addressed table, many at once, and then compared whole; the few
that share a digest with another name are kept apart. Digests have no secret, so that anyone can make names whose
digests begin or end alike: where in the table a search begins depends on secret numbers too (multiply-shift,
Dietzfelbinger et al., "A reliable randomized algorithm for the closest-pair problem", 1997, section 2). A name that
nobody holds any more stays until half of all are such; then they are swept out, and their numbers are given again.

Not safe for threads, except `Names`, a view of some moment that stays true.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reploc.digest import Digests, of_bytes
from reploc.errors import MemoryFull
from rli.texts import Names, Numbers, Texts, TextsInMemory

#: Below so many dead names nothing is swept.
_SWEEP_MIN = 1 << 12
_FIRST_SIZE = 1 << 10
_HALF = np.uint64(32)


class Interned:
    """All names, with how often each is held."""

    def __init__(self, texts: Texts | None = None) -> None:
        """`texts` is where the names lie, by default in memory."""
        self._texts: Texts = texts or TextsInMemory()
        self._size = 0
        self._digests: Digests = np.zeros((_FIRST_SIZE, 2), dtype=np.uint64)
        self._held: NDArray[np.int32] = np.zeros(_FIRST_SIZE, dtype=np.int32)
        self._free: Numbers = np.zeros(0, dtype=np.int64)
        #: Odd numbers by which digests are multiplied.
        self._secret: NDArray[np.uint64] = np.array([secrets.randbits(64) | 1 for _ in range(3)], dtype=np.uint64)
        #: Number of each place, or -1; a power of two, at most half full.
        self._table: NDArray[np.int32] = np.full(2 * _FIRST_SIZE, -1, dtype=np.int32)
        #: Names whose digest another name had before them.
        self._colliding: dict[bytes, int] = {}
        self._alive = 0

    def __len__(self) -> int:
        """How many names are held."""
        return self._alive

    def memory(self) -> int:
        """Bytes that names and tables take."""
        arrays = (self._digests, self._held, self._free, self._table)
        return self._texts.memory() + sum(array.nbytes for array in arrays)

    def names(self) -> Names:
        """A view of all names as they are now."""
        return self._texts.view()

    def find(self, names: Sequence[bytes]) -> Numbers:
        """The number of each name, -1 where it is not held; shape (n,)."""
        return self._find(names, of_bytes(names))

    def held_behind(self, number: int, limit: int) -> Numbers:
        """Up to `limit` numbers above one that are held, ascending."""
        held: Numbers = np.flatnonzero(self._held[number + 1 : self._size])[:limit] + number + 1
        return held

    def hold(self, names: Sequence[bytes]) -> Numbers:
        """The number of each of some distinct names, which from now on is held once more; shape (n,)."""
        digests = of_bytes(names)
        numbers = self._find(names, digests, dead=True)
        new = np.flatnonzero(numbers < 0)
        if len(new):
            numbers[new] = self._add([names[at] for at in new.tolist()], digests[new])
        before = self._held[numbers]
        self._alive += int(np.count_nonzero(before == 0))
        self._held[numbers] = before + 1
        return numbers

    def release(self, numbers: Numbers) -> None:
        """Each of some distinct numbers is held once less."""
        left = self._held[numbers] - 1
        self._held[numbers] = left
        self._alive -= int(np.count_nonzero(left == 0))
        dead = self._size - len(self._free) - self._alive
        if dead > max(_SWEEP_MIN, self._alive):
            self._sweep()

    def digests_of(self, numbers: Numbers) -> Digests:
        """The digests of names that were held a moment ago at least, shape (n, 2)."""
        return self._digests[numbers]

    # ---- finding -------------------------------------------------------------------------------------------------

    def _find(self, names: Sequence[bytes], digests: Digests, *, dead: bool = False) -> Numbers:
        numbers = self._probe(digests)
        probed = np.flatnonzero(numbers >= 0)
        for at, there in zip(probed.tolist(), self.names().of(numbers[probed]), strict=True):
            if there != names[at]:
                numbers[at] = self._colliding.get(names[at], -1)
        if not dead:
            numbers[(numbers >= 0) & (self._held[numbers] == 0)] = -1
        return numbers

    def _probe(self, digests: Digests) -> Numbers:
        """The number that has each digest, -1 where none has."""
        found: Numbers = np.full(len(digests), -1, dtype=np.int64)
        mask = len(self._table) - 1
        left = np.arange(len(digests))
        at = self._homes(digests)
        while len(left):
            here = self._table[at]
            same = (here >= 0) & (self._digests[here] == digests[left]).all(axis=1)
            found[left[same]] = here[same]
            on = (here >= 0) & ~same
            left, at = left[on], (at[on] + 1) & mask
        return found

    def _homes(self, digests: Digests) -> Numbers:
        """The place at which the search for each digest begins; shape (n,)."""
        mixed = digests[:, 0] * self._secret[0] + digests[:, 1] * self._secret[1]
        mixed ^= mixed >> _HALF
        mixed *= self._secret[2]
        homes: Numbers = (mixed >> np.uint64(65 - len(self._table).bit_length())).astype(np.int64)
        return homes

    # ---- adding --------------------------------------------------------------------------------------------------

    def _add(self, names: Sequence[bytes], digests: Digests) -> Numbers:
        """Numbers for names that have none."""
        numbers = self._take(len(names))
        try:
            self._texts.put(numbers, names)
        except MemoryFull:
            self._free = np.concatenate([numbers, self._free])
            raise
        self._digests[numbers] = digests
        self._held[numbers] = 0
        self._enter(numbers)
        return numbers

    def _take(self, count: int) -> Numbers:
        """So many numbers that nobody has."""
        again, self._free = self._free[:count], self._free[count:]
        fresh = np.arange(self._size, self._size + count - len(again))
        self._size += len(fresh)
        if self._size > len(self._held):
            self._grow()
        taken: Numbers = np.concatenate([again, fresh])
        if 2 * self._size > len(self._table):
            before = np.arange(self._size - len(fresh))
            self._enter_all(before[~np.isin(before, np.concatenate([self._free, taken]))], 2 * len(self._held))
        return taken

    def _grow(self) -> None:
        size = 1 << (self._size - 1).bit_length()
        more = size - len(self._held)
        self._digests = np.concatenate([self._digests, np.zeros((more, 2), dtype=np.uint64)])
        self._held = np.concatenate([self._held, np.zeros(more, dtype=np.int32)])

    def _enter_all(self, numbers: Numbers, places: int) -> None:
        """Makes a table of so many places, in which these numbers are."""
        self._table = np.full(places, -1, dtype=np.int32)
        self._colliding = {}
        self._enter(numbers)

    def _enter(self, numbers: Numbers) -> None:
        """Makes numbers found by their digests, or where another has the same by their names."""
        apart = numbers[~self._place(numbers)]
        self._colliding.update(zip(self.names().of(apart), apart.tolist(), strict=True))

    def _place(self, numbers: Numbers) -> NDArray[np.bool_]:
        """Enters numbers into the table; whether each one's digest was not there yet, shape (n,)."""
        mask = len(self._table) - 1
        placed = np.ones(len(numbers), dtype=bool)
        left = np.arange(len(numbers))
        at = self._homes(self._digests[numbers])
        while len(left):
            free = self._table[at] < 0
            self._table[at[free]] = numbers[left[free]]
            here = self._table[at]
            mine = here == numbers[left]
            same = ~mine & (self._digests[here] == self._digests[numbers[left]]).all(axis=1)
            placed[left[same]] = False
            on = ~mine & ~same
            left, at = left[on], (at[on] + 1) & mask
        return placed

    # ---- sweeping ------------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Forgets names that nobody holds. Views of earlier moments keep what they show."""
        alive = np.flatnonzero(self._held[: self._size])
        self._free = np.flatnonzero(self._held[: self._size] == 0)
        self._texts.sweep(alive)
        self._enter_all(alive, len(self._table))
