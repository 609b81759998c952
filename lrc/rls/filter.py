"""The filter of a catalog in the form of the Globus RLS: built from all names, grown with what comes, built anew.

Bits cannot be cleared for one name, so that what went stays in it until it is built anew: when it is too full, or when
too much of it has gone, or some of it for long. Meanwhile a name that went costs a question in vain.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np
from numpy.typing import NDArray

from reploc.rls.bloom import BITS_MAX, positions, set_bits

#: Bits of the smallest filter, as at the original server.
BITS_MIN = 1_000
#: The filter is built anew when the catalog has so many times the names that it was made for: the original waits until
#: they are twice as many, and then a tenth of all other names seem to be held.
GROWTH_MAX = 1.25
#: It is built anew when this part of its names has gone, and at least one.
GONE_PART_MAX = 0.01


class GrownFilter:
    """A filter that is being built or kept up to date. `data` has `bits // 8 + 1` bytes."""

    def __init__(self, names: int, functions: int, bits_per_name: int, position: int) -> None:
        """For so many names, of a catalog that stands at `position`; nothing is in it yet."""
        self.functions = functions
        self.bits_per_name = bits_per_name
        self.bits = min(max(names * bits_per_name, BITS_MIN), BITS_MAX)
        self.data: NDArray[np.uint8] = np.zeros(self.bits // 8 + 1, dtype=np.uint8)
        #: Everything that came up to this position is in it.
        self.position = position
        self._names = max(names, self.bits // bits_per_name)
        self._gone = 0
        self._gone_since = inf

    def add(self, names: Sequence[str]) -> None:
        """These names are in it from now on."""
        set_bits(self.data, positions(self.bits, self.functions, [name.encode() for name in names]))

    def turned_over(self, came: Sequence[str], went: int, reached: int, now: float) -> None:
        """What changed up to a position: names that came, and how many went."""
        self.add(came)
        self.position = reached
        if went:
            self._gone += went
            self._gone_since = min(self._gone_since, now)

    def is_full(self, names: int) -> bool:
        """Whether it is too small for so many names, and a larger one would not be."""
        return names > GROWTH_MAX * self._names and self.bits < BITS_MAX

    def is_old(self, names: int, functions: int, bits_per_name: int, after_s: float, now: float) -> bool:
        """Whether it is to be built anew for a catalog of so many names, with these settings: some names went
        `after_s` seconds ago or before, or what `GROWTH_MAX` and `GONE_PART_MAX` say."""
        return (
            (functions, bits_per_name) != (self.functions, self.bits_per_name)
            or self.is_full(names)
            or self._gone >= max(1.0, GONE_PART_MAX * self._names)
            or self._gone_since <= now - after_s
        )
