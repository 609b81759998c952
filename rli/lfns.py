"""What a node holds of the sites' LFNs, in whatever form each site tells them: one answer from all forms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from reploc.digest import Digests
from reploc.wire import Kind
from rli.filters import Filters
from rli.holding import Holding
from rli.key_sets import HeldFingerprints, HeldLists
from rli.matrix import SITE_MAX, Matrix, MayHold
from rli.texts import Texts

_SITE_BITS = 32


class HeldLfns:
    """Filters, fingerprints and lists of all sites. A site tells a slot in one form at a time."""

    def __init__(self, matrix: Matrix, texts: Texts | None = None) -> None:
        """The filters are in the matrix, and the names of lists where `texts` says, by default in memory."""
        self.matrix = matrix
        self.filters = Filters(matrix)
        self._fingerprints = HeldFingerprints()
        self.lists = HeldLists(texts)

    def distinct(self, kind: Kind) -> HeldFingerprints | HeldLists:
        """The keys of all sites of a kind that has any."""
        return self.lists if kind == "list" else self._fingerprints

    @property
    def holdings(self) -> Mapping[str, Holding]:
        """Where the summaries of each kind go."""
        return {"bloom": self.filters, "fingerprint": self._fingerprints, "list": self.lists}

    def query(self, lfns: Sequence[str], digests: Digests, slots: NDArray[np.intp]) -> MayHold:
        """Which sites may hold each of n LFNs of these slots, those of `ANY_SLOT` in any; ordered by LFN, then site."""
        found = [self._filtered(digests, slots)]
        if len(self._fingerprints):
            found.append(self._fingerprints.query(digests))
        if len(self.lists):
            found.append(self.lists.query(lfns))
        return found[0] if len(found) == 1 else _joined(found)

    def sites_of_each(self, lfns: Sequence[str], digests: Digests, slots: Sequence[int]) -> list[list[int]]:
        """The same for a few LFNs of known slots, the sites of each ascending, with the fewest calls."""
        found = self.matrix.sites_of_each(digests, slots)
        if len(self._fingerprints):
            more = self._fingerprints.sites_of_each(digests)
            found = [sorted(others.union(sites)) for sites, others in zip(found, more, strict=True)]
        if len(self.lists):
            found = [
                sorted({*sites, *self.lists.query([lfn]).sites.tolist()})
                for sites, lfn in zip(found, lfns, strict=True)
            ]
        return found

    def _filtered(self, digests: Digests, slots: NDArray[np.intp]) -> MayHold:
        anywhere = np.flatnonzero(slots < 0)
        if not len(anywhere):
            return self.matrix.query(digests, slots)
        known = np.flatnonzero(slots >= 0)
        there = self.matrix.query(digests[known], slots[known])
        filled = np.flatnonzero(self.matrix.site_counts)
        everywhere = self.matrix.query(
            np.repeat(digests[anywhere], len(filled), axis=0), np.tile(filled, len(anywhere))
        )
        return _joined(
            [
                MayHold(known[there.rows], there.sites),
                MayHold(anywhere[everywhere.rows // max(1, len(filled))], everywhere.sites),
            ]
        )

    def unlisted(self, sites: Iterable[int]) -> list[int]:
        """Those of some sites that tell any of their LFNs otherwise than as lists."""
        if not len(self._fingerprints) and not self.matrix.site_counts.any():
            return []
        others = [holding for kind, holding in self.holdings.items() if kind != "list"]
        return [site for site in sites if any(len(holding.slots(site)) for holding in others)]

    def memory(self) -> int:
        """Bytes of all that is held."""
        return self.matrix.memory().allocated + self._fingerprints.memory() + self.lists.memory()


def _joined(found: Sequence[MayHold]) -> MayHold:
    """Pairs of several forms as one, each once."""
    pairs = np.unique(np.concatenate([part.rows << _SITE_BITS | part.sites for part in found]))
    return MayHold(pairs >> _SITE_BITS, pairs & SITE_MAX)
