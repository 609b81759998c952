"""What a node owned before the ring changed, so that it can be asked by a ring that it is not of any more.

Catalogs go on telling what moved for `expiry_s`. Meanwhile the new owners may not be complete, and who asks turns to
the former ones. Where several shares make up an answer, each of them must say whether its share *by the ring that is
meant* is whole: a node that gained a share which it does not hold yet is still complete in the one that it had, and a
node that has not heard of the change is not complete in the one that it is to get. So questions for shares carry the
version of the ring.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reploc.partition import Partition
from reploc.ring import Ring

Flags = NDArray[np.bool_]

#: Rings before the present one by which a node can be asked. Each counts for as long as catalogs go on telling what
#: moved then, and nobody changes an index more often in that time.
SHARES_MAX = 4


@dataclass(frozen=True)
class Share:
    """Cells that a node owned in an index that was parted so, and of which of them it knew all senders; shape (slots,
    parts) each."""

    partition: Partition
    cells: Flags
    known: Flags


class FormerShares:
    """The shares of one node in the last rings, by their versions."""

    def __init__(self) -> None:
        self._shares: dict[str, Share] = {}

    def keep(self, ring: Ring, cells: Flags, known: Flags) -> None:
        """Takes note of what is owned and known until now, as this ring has it."""
        self._shares.pop(ring.version, None)
        self._shares[ring.version] = Share(ring.partition, cells.copy(), known.copy())
        while len(self._shares) > SHARES_MAX:
            del self._shares[next(iter(self._shares))]

    def by(self, ring: str) -> Share | None:
        """The share by the ring of that version, None where it is none of the last."""
        return self._shares.get(ring)
