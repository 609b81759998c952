"""Bloom filters as a node holds them: verified, and then columns of the matrix."""

from __future__ import annotations

import numpy as np

from reploc.difference import from_bytes
from reploc.errors import SummaryInvalid
from reploc.softstate import WholeFilter, whole_filter
from reploc.wire import Summary
from rli.holding import PIECE, Steps
from rli.matrix import Matrix


class Filters:
    """The filters of all sites. Questions go to the matrix itself."""

    def __init__(self, matrix: Matrix) -> None:
        self._matrix = matrix

    def verified(self, summary: Summary) -> WholeFilter:
        """The filter of a whole summary. Raises SummaryInvalid."""
        return whole_filter(summary, self._matrix.error_rate)

    def store(self, slot: int, site: int, whole: WholeFilter) -> Steps:
        """Writes a column beside the one that is served; the last step swaps."""
        return self._matrix.store(slot, site, whole.size_class, whole.bits)

    def change(self, summary: Summary, site: int, checksum: int) -> None:
        """Sets and clears bits, once it is known that the filter after it is the sender's. Raises SummaryInvalid."""
        slot = summary.slot
        difference, _ = from_bytes(summary.body)
        was_set = np.concatenate(
            [self._matrix.read_bits(slot, site, part) for part in (difference.set, difference.clear)]
        )
        require_checksum(difference.checksum_after(checksum, was_set), summary)
        self._matrix.change(slot, site, difference)

    def slots(self, site: int) -> list[int]:
        return np.flatnonzero(self._matrix.holds(site)).tolist()

    def drop(self, slot: int, site: int) -> bool:
        return slot != PIECE and self._matrix.drop(slot, site)

    def drop_site(self, site: int) -> int:
        return self._matrix.drop_site(site)


def require_checksum(found: int, summary: Summary) -> None:
    """SummaryInvalid where what an increment would lead to is not what its sender has."""
    if found != summary.checksum:
        raise SummaryInvalid(
            f"checksum of slot {summary.slot} after the increment would be {found:016x}; "
            f"it says {summary.checksum:016x}"
        )
