"""Pairs of a key and a site: many keys are looked for at once, and a change costs what changes, however many there are.

The pairs lie in a table of small buckets, filled from the front; which one, the mixed bits of the key say. The table
grows by one stretch of buckets after the other, each of which is parted in two (Litwin, "Linear hashing", VLDB 1980):
no change has to wait until all pairs have been moved. Pairs that find their bucket full, a few in a hundred, and those
of a key that very many sites have, lie in sorted runs beside it (`rli/runs.py`).
"""

from __future__ import annotations

import secrets
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from reploc.digest import mix
from rli.matrix import MayHold
from rli.runs import Keys, Runs

Buckets: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

#: Pairs of a bucket, and how many it has on average at most: with three sites to a key, four in a hundred overflow.
_WIDTH, _FULL = 16, 0.6
#: Buckets that are parted at once, a third of a millisecond's work; the table begins with as many.
_STRETCH = 256
#: By how much of itself the table's memory grows.
_GROWTH = 16
_EMPTY = np.int32(-1)

Word = TypeVar("Word", np.uint64, np.int32)


class Pairs:
    """A key may stand with many sites. With one of them it may stand twice for a while, when it moves between slots."""

    def __init__(self) -> None:
        #: Nobody outside can tell which keys share a bucket.
        self._salt = np.uint64(secrets.randbits(64))
        self._buckets = _STRETCH
        #: The table has `_half` buckets and as many more as there are parted ones, the first of these.
        self._half = _STRETCH
        self._keys: Keys = np.zeros(_STRETCH * _WIDTH, dtype=np.uint64)
        self._sites: NDArray[np.int32] = np.zeros(_STRETCH * _WIDTH, dtype=np.int32)
        #: How many pairs each bucket has, shape (buckets,): what lies behind them means nothing.
        self._filled: NDArray[np.uint8] = np.zeros(_STRETCH, dtype=np.uint8)
        self._count = 0
        self._beside = Runs()

    def __len__(self) -> int:
        return self._count + len(self._beside)

    def memory(self) -> int:
        """Bytes that the pairs take."""
        return sum(array.nbytes for array in (self._keys, self._sites, self._filled)) + self._beside.memory()

    def add(self, keys: Keys, site: int) -> None:
        """A site has these distinct keys, ascending, once more."""
        buckets = self._buckets_of(keys)
        order = np.argsort(buckets, kind="stable")
        sorted_ = buckets[order]
        first = np.searchsorted(sorted_, sorted_)
        columns = self._filled[sorted_] + (np.arange(len(keys)) - first)
        fits = columns < _WIDTH
        chosen, taken = order[fits], sorted_[fits]
        places = taken * _WIDTH + columns[fits]
        self._keys[places] = keys[chosen]
        self._sites[places] = site
        np.add.at(self._filled, taken, np.uint8(1))
        self._count += len(chosen)
        if len(chosen) < len(keys):
            self._beside.add(keys[np.sort(order[~fits])], site)
        while self._count > self._buckets * _WIDTH * _FULL:
            self._part()

    def remove(self, keys: Keys, site: int) -> None:
        """A site has these distinct keys, all of which it had, once less."""
        buckets = self._buckets_of(keys)
        rows, columns = np.nonzero(self._matches(buckets, keys) & (_block(self._sites, buckets) == site))
        rows, first = np.unique(rows, return_index=True)
        self._sites[buckets[rows] * _WIDTH + columns[first]] = _EMPTY
        self._close_up(np.unique(buckets[rows]))
        self._count -= len(rows)
        if len(rows) < len(keys):
            self._beside.remove(np.delete(keys, rows), site)

    def find(self, keys: Keys) -> MayHold:
        """Which sites have each of n keys: pairs of the key's place and a site, ordered by place, then site."""
        buckets = self._buckets_of(keys)
        rows, columns = np.nonzero(self._matches(buckets, keys))
        sites = self._sites[buckets[rows] * _WIDTH + columns].astype(np.int64)
        if len(self._beside):
            more = self._beside.find(keys)
            rows, sites = np.concatenate([rows, more.rows]), np.concatenate([sites, more.sites])
        return MayHold.of(rows, sites)

    def sites_of(self, key: np.uint64) -> set[int]:
        """The sites that have one key, with the fewest calls."""
        keys = np.array([key])
        start = self._buckets_of(keys).item() * _WIDTH
        end = start + self._filled.item(start // _WIDTH)
        sites = self._sites[start:end][self._keys[start:end] == key].tolist()
        return {*sites, *self._beside.find(keys).sites.tolist()} if len(self._beside) else set(sites)

    # ---- buckets -----------------------------------------------------------------------------------------------------

    def _buckets_of(self, keys: Keys) -> Buckets:
        """The bucket of each key: by one bit more of its mixed bits where the bucket has been parted."""
        mixed = mix(keys ^ self._salt)
        buckets = (mixed & np.uint64(2 * self._half - 1)).astype(np.int64)
        buckets[buckets >= self._buckets] -= self._half
        return buckets

    def _matches(self, buckets: Buckets, keys: Keys) -> Flags:
        """Where in its bucket each key stands, shape (n, width)."""
        inside = np.arange(_WIDTH) < self._filled[buckets][:, None]
        matches: Flags = (_block(self._keys, buckets) == keys[:, None]) & inside
        return matches

    def _close_up(self, buckets: Buckets) -> None:
        """Moves what is left of some distinct buckets to their fronts."""
        self._put(buckets, _block(self._keys, buckets), self._kept(buckets))

    def _kept(self, buckets: Buckets) -> NDArray[np.int32]:
        """The sites of some buckets, empty where nothing is."""
        inside = np.arange(_WIDTH) < self._filled[buckets][:, None]
        return np.where(inside, _block(self._sites, buckets), _EMPTY).astype(np.int32)

    def _put(self, buckets: Buckets, keys: Keys, sites: NDArray[np.int32]) -> None:
        """Fills some buckets from their fronts with those of these pairs whose site is not empty, (n, width) each."""
        order = np.argsort(sites == _EMPTY, axis=1, kind="stable")
        self._keys.reshape(-1, _WIDTH)[buckets] = np.take_along_axis(keys, order, axis=1)
        self._sites.reshape(-1, _WIDTH)[buckets] = np.take_along_axis(sites, order, axis=1)
        self._filled[buckets] = (sites != _EMPTY).sum(axis=1)

    def _part(self) -> None:
        """Parts the next stretch of buckets, each into itself and one behind all."""
        if self._buckets + _STRETCH > len(self._filled):
            self._grow(len(self._filled) + max(_STRETCH, len(self._filled) // _GROWTH))
        old = np.arange(self._buckets - self._half, self._buckets - self._half + _STRETCH)
        keys, sites = _block(self._keys, old), self._kept(old)
        moves = (mix(keys ^ self._salt) & np.uint64(self._half)).astype(np.bool_)
        self._put(old, keys, np.where(moves, _EMPTY, sites))
        self._put(old + self._half, keys, np.where(moves, sites, _EMPTY))
        self._buckets += _STRETCH
        if self._buckets == 2 * self._half:
            self._half *= 2

    def _grow(self, buckets: int) -> None:
        """Memory for so many buckets. The system moves large arrays without touching them."""
        self._keys.resize(buckets * _WIDTH, refcheck=False)
        self._sites.resize(buckets * _WIDTH, refcheck=False)
        self._filled.resize(buckets, refcheck=False)


def _block(table: NDArray[Word], buckets: Buckets) -> NDArray[Word]:
    """The entries of some buckets, shape (n, width)."""
    block: NDArray[Word] = table.reshape(-1, _WIDTH)[buckets]
    return block
