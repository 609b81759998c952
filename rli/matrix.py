"""The matrix: the filters of all sites, bit-sliced, so that one read of k rows answers for every site at once.

A row per filter bit, a column per site (`design.md` section 7). The columns of one (slot, size class) are a *region*;
all regions lie in one flat array of words, so that a batch over many slots is one gather per size class:

    region   live     1 row          the columns that queries see
             taken    1 row          the columns that are live or being written
             sites    32 rows        the site number of each column, 32 bits each
             bits     k · slice_bits rows; row of a filter's bit b is b
    row      `width` words, 64 columns each, column c in bit c % 64 of word c // 64

A region starts at a multiple of its width, so that a row number alone finds a row. It begins one word wide and widens
by an eighth, at least one word: into a new part of the array, in pieces, while queries read the old one.

Rules: a query never sees half of a column, because a column is written while its live bit is off, and turned on in
the same step that turns the site's old one off. A column that is written while its region widens is written to both
copies. Nothing here waits: long work is an iterator, and every step of it is short. Not safe for threads: queries may
come between steps, not during them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reploc.bloom import CLASS_MAX, Bits, check_fit, geometry, positions
from reploc.digest import Digests, slots_of
from reploc.errors import SummaryInvalid
from rli.arena import RESERVE_BYTES, Arena, Words

#: Site numbers fit 32 bits of a region's site rows.
SITE_MAX = (1 << 32) - 1


class MayHold(NamedTuple):
    """Pairs of a digest and a site that may hold it, ordered by digest, then site; both of shape (pairs,)."""

    rows: NDArray[np.intp]
    sites: NDArray[np.int64]


@dataclass(frozen=True)
class Memory:
    """Bytes of a matrix: `allocated` for its regions, `used` by the bits of live columns, `reserved` address space."""

    allocated: int
    used: int
    reserved: int


class Matrix:
    """The filters of all sites in all slots of one index, each in a column of its own."""

    def __init__(self, slots: int, error_rate: float, bytes_max: int = RESERVE_BYTES) -> None:
        """`slots` is a power of two up to 65,536; `error_rate` is the index's; `bytes_max` bounds the flat array."""
        raise NotImplementedError

    def store(self, slot: int, site: int, size_class: int, bits: Bits) -> Iterator[None]:
        """Put a site's filter for a slot in place of the one it had, in steps of about a millisecond at most.

        `bits` is packed as `reploc.bloom.build` packs it, and must not change until the last step. Queries see the
        old filter until the last step, and the new one after it. Closing the iterator early leaves the old one.
        Where two stores of one (slot, site) overlap, the one that ends last stays. A drop does not stop a store that
        is under way: close it. Raises SummaryInvalid (at the call) for a slot, site, class or length that cannot be,
        and MemoryFull (from a step, with nothing changed) when there is no room.
        """
        raise NotImplementedError

    def store_now(self, slot: int, site: int, size_class: int, bits: Bits) -> None:
        """All steps of `store` at once."""
        raise NotImplementedError

    def drop(self, slot: int, site: int) -> bool:
        """Forget a site's filter for a slot; whether there was one. Costs a few bits, whatever the filter's size."""
        raise NotImplementedError

    def drop_site(self, site: int) -> int:
        """Forget all filters of a site; how many there were."""
        raise NotImplementedError

    def holds(self, site: int) -> NDArray[np.bool_]:
        """Which slots have a filter of the site, shape (slots,)."""
        raise NotImplementedError

    def sites_in(self, slot: int) -> NDArray[np.int64]:
        """The sites that have a filter for the slot, in order."""
        raise NotImplementedError

    @property
    def site_counts(self) -> NDArray[np.int64]:
        """How many sites have a filter for each slot, shape (slots,). Read only."""
        raise NotImplementedError

    def query(self, digests: Digests) -> MayHold:
        """Which sites may hold each of n digests of any slots: every site that does, and few that do not."""
        raise NotImplementedError

    def memory(self) -> Memory:
        raise NotImplementedError
