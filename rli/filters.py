"""Bloom filters as a node holds them: verified, and then columns of the matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from reploc import bloom
from reploc.difference import Difference, from_bytes
from reploc.errors import SummaryInvalid
from reploc.softstate import WholeFilter, whole_filter
from reploc.wire import Summary
from rli.holding import PIECE, Steps
from rli.matrix import Matrix


class Column(NamedTuple):
    """What became of a site's column of a slot: the difference where it was changed, None where it is another or gone,
    and the names and the checksum of its filter now."""

    slot: int
    site: int
    difference: Difference | None
    names: int
    checksum: int


#: Hears of columns in the moment that they change.
ColumnWatcher: TypeAlias = Callable[[Column], None]


class Filters:
    """The filters of all sites. Questions go to the matrix itself."""

    def __init__(self, matrix: Matrix) -> None:
        self._matrix = matrix
        self._watcher: ColumnWatcher | None = None

    def watch(self, watcher: ColumnWatcher) -> None:
        """From now on somebody hears which columns change."""
        self._watcher = watcher

    def verified(self, summary: Summary) -> WholeFilter:
        """The filter of a whole summary. Raises SummaryInvalid."""
        return whole_filter(summary, self._matrix.error_rate)

    def store(self, slot: int, site: int, whole: WholeFilter) -> Steps:
        """Writes a column beside the one that is served; the last step swaps."""
        steps = self._matrix.store(slot, site, whole.size_class, whole.bits)
        return steps if self._watcher is None else self._watched(steps, slot, site, whole)

    def _watched(self, steps: Steps, slot: int, site: int, whole: WholeFilter) -> Steps:
        checksum = bloom.checksum(whole.bits)
        yield from steps
        self._tell(Column(slot, site, None, whole.names, checksum))

    def _tell(self, column: Column) -> None:
        if self._watcher is not None:
            self._watcher(column)

    def change(self, summary: Summary, site: int, checksum: int) -> None:
        """Sets and clears bits, once it is known that the filter after it is the sender's. Raises SummaryInvalid."""
        slot = summary.slot
        difference, names = from_bytes(summary.body)
        was_set = np.concatenate(
            [self._matrix.read_bits(slot, site, part) for part in (difference.set, difference.clear)]
        )
        require_checksum(difference.checksum_after(checksum, was_set), summary)
        self._matrix.change(slot, site, difference)
        self._tell(Column(slot, site, difference, names, summary.checksum))

    def slots(self, site: int) -> list[int]:
        return np.flatnonzero(self._matrix.holds(site)).tolist()

    def drop(self, slot: int, site: int) -> bool:
        dropped = slot != PIECE and self._matrix.drop(slot, site)
        if dropped:
            self._tell(Column(slot, site, None, 0, 0))
        return dropped

    def drop_site(self, site: int) -> int:
        gone = self.slots(site) if self._watcher is not None else []
        dropped = self._matrix.drop_site(site)
        for slot in gone:
            self._tell(Column(slot, site, None, 0, 0))
        return dropped


def require_checksum(found: int, summary: Summary) -> None:
    """SummaryInvalid where what an increment would lead to is not what its sender has."""
    if found != summary.checksum:
        raise SummaryInvalid(
            f"checksum of slot {summary.slot} after the increment would be {found:016x}; "
            f"it says {summary.checksum:016x}"
        )
