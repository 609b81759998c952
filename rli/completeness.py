"""Which slots of a node are complete: their list of senders is known, and every listed sender's summary is held.

"Nowhere" is an answer only for a complete slot. A node knows the list of senders of the slots that it owns once it has
been up for `expiry_s`, within which every live sender renews, or when another node that knows it has told. The
bookkeeping is a matrix of sites × slots and a count per slot, so that the common answer, complete, costs one array read
whatever the number of sites.

When the ring changes, a cell that the node gains begins as one of a node that has just started. What it loses stays
complete for as long as every sender goes on telling it: who does not know of the change yet, or finds the new owner not
complete, may ask by the ring as it was (`complete_in`). Where sites are of one part, a slot that is lost goes on being
complete without being asked for by its ring.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rli.former import Share

Slots = NDArray[np.intp]
Flags = NDArray[np.bool_]


class Completeness:
    """Sites are the small numbers that the registry gives, each of a part of the sites; cells are slots × parts.

    Slots of which the node never owned a cell are never complete.
    """

    def __init__(self, cells: Flags, now: float, held: Flags | None = None) -> None:
        """`cells` are those that the node owns, shape (slots, parts). `held` has room for all the sites that there may
        be, shape (sites, slots); without it there is room for more whenever it is needed."""
        slots = len(cells)
        #: Cells that the node owns, and those that count: where sites are of one part, those that it once owned too.
        self.cells: Flags = cells.copy()
        self._ours: Flags = cells.copy()
        #: Since when each cell is owned, where it is, and whether its list of senders is known, shape (slots, parts).
        self._owned_since: NDArray[np.float64] = np.full(cells.shape, now)
        self.known_cells: Flags = np.zeros(cells.shape, dtype=bool)
        #: Slots of which the list of senders is known in all cells that count, shape (slots,).
        self.known: Flags = np.zeros(slots, dtype=bool)
        #: Whether a site number is in use, shape (numbers,), and what it holds, shape (numbers, slots).
        self._listed: Flags = np.zeros(0, dtype=bool)
        self._held: Flags = np.zeros((0, slots), dtype=bool) if held is None else held
        #: The part of each site, shape (numbers,).
        self._part: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        #: How many sites are listed: always `_listed.sum()`.
        self.sites = 0
        #: How many listed sites are to hold each slot, and how many of these do, shape (slots,) each. Where sites are
        #: of one part, all of them are to hold a slot of ours.
        self._expected: NDArray[np.int64] = np.zeros(slots, dtype=np.int64)
        self.holders: NDArray[np.int64] = np.zeros(slots, dtype=np.int64)

    def own(self, cells: Flags, now: float) -> None:
        """From now on the node owns these cells, shape (slots, parts), of the same parts as before."""
        gained = cells & ~self.cells
        self._owned_since[gained] = now
        self.known_cells &= ~gained
        self.cells = cells.copy()
        self._ours = self._ours | cells if cells.shape[1] == 1 else cells.copy()
        self._reckon()

    def part_anew(self, cells: Flags, parts: dict[int, int], now: float) -> None:
        """Sites are of other parts from now on, number → part, of which the node owns these cells. Nobody has told yet
        who all their senders are."""
        self.cells, self._ours = cells.copy(), cells.copy()
        self._owned_since = np.full(cells.shape, now)
        self.known_cells = np.zeros(cells.shape, dtype=bool)
        self._part[:] = 0
        self._part[list(parts)] = list(parts.values())
        self._reckon()

    def _reckon(self) -> None:
        """Counts anew what is to be held of the cells that count."""
        self._know()
        ours = self._ours[:, self._part].T
        self._expected = (ours & self._listed[:, None]).sum(axis=0)
        self.holders = (ours & self._held[: len(self._listed)]).sum(axis=0)

    def list_site(self, number: int, part: int) -> None:
        """A site gets a free number: from now on it is missing in every slot of ours that is not held from it."""
        self._grow(number + 1)
        self.sites += 1
        self._part[number] = part
        self._expected += self._ours[:, part]
        self._listed[number] = True

    def unlist(self, number: int) -> None:
        """Forgets a listed site; its number is free again."""
        self.drop(number)
        self.sites -= 1
        self._expected -= self._ours[:, self._part[number]]
        self._listed[number] = False

    def hold(self, number: int, slots: Slots) -> None:
        """The node now holds these distinct slots of the site."""
        new = slots[~self._held[number, slots]]
        self._held[number, new] = True
        self.holders[new] += self._ours[new, self._part[number]]

    def drop(self, number: int, slots: Slots | None = None) -> None:
        """The node no longer holds these distinct slots of the site; without `slots` none."""
        gone = np.flatnonzero(self._held[number]) if slots is None else slots[self._held[number, slots]]
        self._held[number, gone] = False
        self.holders[gone] -= self._ours[gone, self._part[number]]

    def is_listed(self, number: int) -> bool:
        """Whether a site number is in use."""
        return number < len(self._listed) and self._listed.item(number)

    def empty(self, slots: Slots) -> Flags:
        """Whether nothing that counts is held of each slot, shape of `slots`."""
        empty: Flags = self.holders[slots] == 0
        return empty

    def held(self, number: int) -> Flags:
        """Which slots are held from a site, shape (slots,)."""
        held: Flags = self._held[number].copy()
        return held

    def know(self, cells: Flags) -> None:
        """The list of senders is known for these of the owned cells, shape (slots, parts)."""
        self.known_cells |= self.cells & cells
        self._know()

    def _know(self) -> None:
        self.known = np.all(self.known_cells | ~self._ours, axis=1) & np.any(self._ours, axis=1)

    def know_owned_before(self, moment: float) -> None:
        """The list of senders is known for every cell that has been owned since this moment or longer."""
        self.know(self._owned_since <= moment)

    def heard_nobody(self, unheard_s: float) -> None:
        """So many seconds do not count as such in which all senders of the owned slots are heard."""
        self._owned_since += unheard_s

    def knows_all(self) -> bool:
        """Whether the list of senders is known for every owned cell."""
        return bool(self.known_cells[self.cells].all())

    def complete(self, slots: Slots) -> Flags:
        """Whether each slot is complete, shape of `slots`."""
        complete: Flags = self.known[slots] & (self.holders[slots] == self._expected[slots])
        return complete

    def is_complete(self, slot: int) -> bool:
        """Whether one slot is complete."""
        return self.known.item(slot) and self.holders.item(slot) == self._expected.item(slot)

    def complete_in(self, share: Share, parts: dict[int, int], slots: Slots) -> Flags:
        """Whether each slot is complete by a share that the node once had, shape of `slots`; `parts` are those of the
        listed sites there, number → part."""
        distinct, place = np.unique(slots, return_inverse=True)
        numbers = np.array(list(parts), dtype=np.intp)
        held = self._held[numbers[:, None], distinct]
        wanted = share.cells[distinct][:, list(parts.values())].T
        owned, known = share.cells[distinct], share.known[distinct]
        complete: Flags = np.all(known | ~owned, axis=1) & np.any(owned, axis=1) & np.all(held | ~wanted, axis=0)
        return complete[place]

    def missing(self, slots: Slots) -> Flags:
        """Which listed sites each slot is not held from, shape (n, numbers)."""
        held = self._held[: len(self._listed), slots].T
        missing: Flags = self._listed & ~held & self._ours[slots][:, self._part]
        return missing

    def _grow(self, numbers: int) -> None:
        have = len(self._listed)
        if numbers > have:
            more = max(numbers, 2 * have) - have
            self._listed = np.concatenate([self._listed, np.zeros(more, dtype=bool)])
            self._part = np.concatenate([self._part, np.zeros(more, dtype=np.intp)])
            if numbers > len(self._held):
                self._held = np.concatenate([self._held, np.zeros((more, self._held.shape[1]), dtype=bool)])


def runs(slots: Slots) -> list[tuple[int, int]]:
    """Ascending slots as runs [first, last]."""
    breaks = np.flatnonzero(np.diff(slots) != 1)
    firsts, lasts = np.concatenate([slots[:1], slots[breaks + 1]]), np.concatenate([slots[breaks], slots[-1:]])
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))
