"""What a commit changed, as those who tell the index of it need it: each kind of summary takes what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from reploc.digest import Digests
from reploc.wire import CollectionTotals


class Named(Protocol):
    """What news tells of one LFN."""

    @property
    def lfn(self) -> str: ...
    @property
    def collection(self) -> str | None: ...


NO_DIGESTS: Digests = np.empty((0, 2), dtype=np.uint64)


@dataclass(frozen=True)
class News:
    """One commit, by its position.

    `added` and `removed` are the digests of the LFNs that came and went, shape (n, 2) each; `came` and `went` are
    their records, in the same order. `moved` are records before and after of LFNs that stayed, whose collection is
    another now. `totals` are those of each collection that changed, as they are now; 0 files where it is gone.
    """

    position: int
    added: Digests
    removed: Digests
    came: Sequence[Named] = ()
    went: Sequence[Named] = ()
    moved: Sequence[tuple[Named, Named]] = ()
    totals: Sequence[CollectionTotals] = ()
