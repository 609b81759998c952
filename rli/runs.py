"""Pairs of a key and a site in sorted runs, where any number of sites may have one key.

Most pairs lie in a large sorted run that is only rewritten now and then; what came since lies in a small one beside it,
and what went is marked in the large one. So a change costs what changes, not what is held: ten million pairs are
rewritten in a tenth of a second, once for a hundred and fifty thousand that came.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rli.matrix import MayHold

Keys = NDArray[np.uint64]
Sites = NDArray[np.int32]

#: Pairs that may lie beside the large run, and one part in so many of it, whichever is more.
_BESIDE_MIN, _BESIDE_SHARE = 1 << 14, 64
_GONE = -1


class Runs:
    """A key may stand with many sites. With one of them it may stand twice for a while, when it moves between slots."""

    def __init__(self) -> None:
        self._keys: Keys = np.zeros(0, dtype=np.uint64)
        self._sites: Sites = np.zeros(0, dtype=np.int32)
        self._new_keys: Keys = np.zeros(0, dtype=np.uint64)
        self._new_sites: Sites = np.zeros(0, dtype=np.int32)
        self._gone = 0

    def __len__(self) -> int:
        return len(self._keys) + len(self._new_keys) - self._gone

    def memory(self) -> int:
        """Bytes that the pairs take."""
        return sum(array.nbytes for array in (self._keys, self._sites, self._new_keys, self._new_sites))

    def add(self, keys: Keys, site: int) -> None:
        """A site has these distinct keys, ascending, once more."""
        at = np.searchsorted(self._new_keys, keys)
        self._new_keys = np.insert(self._new_keys, at, keys)
        self._new_sites = np.insert(self._new_sites, at, np.int32(site))
        self._tidy()

    def remove(self, keys: Keys, site: int) -> None:
        """A site has these distinct keys, all of which it had, once less."""
        rows, places = _one_each(self._new_keys, self._new_sites, keys, site)
        self._new_keys, self._new_sites = np.delete(self._new_keys, places), np.delete(self._new_sites, places)
        _, places = _one_each(self._keys, self._sites, np.delete(keys, rows), site)
        self._sites[places] = _GONE
        self._gone += len(places)
        self._tidy()

    def find(self, keys: Keys) -> MayHold:
        """Which sites have each of n keys: pairs of the key's place and a site, ordered by place, then site."""
        found = []
        for run, sites in ((self._keys, self._sites), (self._new_keys, self._new_sites)):
            if len(run):
                rows, places = _spread(run, keys)
                there = sites[places]
                found.append((rows[there != _GONE], there[there != _GONE].astype(np.int64)))
        if not found:
            nothing = np.zeros(0, dtype=np.int64)
            return MayHold(nothing, nothing)
        return MayHold.of(*(np.concatenate(parts) for parts in zip(*found, strict=True)))

    def _tidy(self) -> None:
        most = max(_BESIDE_MIN, len(self._keys) // _BESIDE_SHARE)
        if len(self._new_keys) > most or self._gone > max(most, len(self._keys) // 2):
            alive = self._sites != _GONE
            keys, sites = self._keys[alive], self._sites[alive]
            at = np.searchsorted(keys, self._new_keys)
            self._keys, self._sites = np.insert(keys, at, self._new_keys), np.insert(sites, at, self._new_sites)
            self._new_keys, self._new_sites, self._gone = self._new_keys[:0], self._new_sites[:0], 0


def _spread(run: Keys, keys: Keys) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each place of a sorted run that has one of the keys: (the key's index, the place), in order of the keys."""
    first, last = np.searchsorted(run, keys, side="left"), np.searchsorted(run, keys, side="right")
    counts = last - first
    rows = np.repeat(np.arange(len(keys)), counts)
    steps = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, first[rows] + steps


def _one_each(run: Keys, sites: Sites, keys: Keys, site: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One place of each key that stands with a site in a sorted run: (the key's index, the place)."""
    rows, places = _spread(run, keys)
    mine = sites[places] == site
    rows, first = np.unique(rows[mine], return_index=True)
    return rows, places[mine][first]
