"""Which sites copies may go to, and how much room each of them has left.

A destination is READY, of fresh news, a target site, and has a quota. With every copy that is ordered there it stays
within `target_site_occupancy`, counted as if all orders were done, and what is ordered and not there yet stays within
`max_site_pending_fraction` (Dynamo paper, section 4.2). A quota below 0 has no bound.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from placement.dealer.settings import DealerSettings
from placement.detox.runs import Bits, Keys
from placement.inventory import Inventory, projected_bytes
from placement.policy.texts import glob_matching

Reasons: TypeAlias = NDArray[np.int8]


class Reason(IntEnum):
    """Why a site gets no copy, from what lies furthest from getting one; OPEN: it may get it."""

    NO_TARGET = 0
    NOT_READY = 1
    NO_NEWS = 2
    NO_QUOTA = 3
    THERE = 4
    LEAVING = 5
    FULL = 6
    PENDING = 7
    OPEN = 8

    @property
    def words(self) -> str:
        """For people, and for counting."""
        return _WORDS[self]


_WORDS = {
    Reason.NO_TARGET: "no target site",
    Reason.NOT_READY: "the site is not ready",
    Reason.NO_NEWS: "no fresh news of the site",
    Reason.NO_QUOTA: "no quota for the partition",
    Reason.THERE: "all of it is there or on its way",
    Reason.LEAVING: "some of it is being deleted there",
    Reason.FULL: "beyond target_site_occupancy",
    Reason.PENDING: "beyond max_site_pending_fraction",
    Reason.OPEN: "open",
}


class Room:
    """The room at every site, less what is taken while a cycle decides; arrays are of shape (sites,)."""

    def __init__(self, inventory: Inventory, settings: DealerSettings, left_out: frozenset[str], member: Bits) -> None:
        names = inventory.sites["name"]
        told = inventory.quota(settings.partition)
        quota: Keys = told.fill_null(0).to_numpy().astype(np.int64)
        self.quota = quota
        self.projected, self.pending = _taken(inventory, member)
        self._most = np.floor(settings.target_site_occupancy * quota).astype(np.int64)
        self._most_pending = np.floor(settings.max_site_pending_fraction * quota).astype(np.int64)
        #: Why a site gets nothing whatever is proposed, OPEN where it may.
        self.standing: Reasons = np.full(len(names), Reason.OPEN, dtype=np.int8)
        self.standing[quota == 0] = Reason.NO_QUOTA
        self.standing[names.is_in(sorted(left_out)).to_numpy()] = Reason.NO_NEWS
        self.standing[~inventory.ready_sites] = Reason.NOT_READY
        self.standing[~targets(names, settings.target_sites)] = Reason.NO_TARGET

    def reasons(self, lacking: Keys) -> Reasons:
        """Why each site cannot take so many bytes more, OPEN where it can."""
        found = self.standing.copy()
        bounded = (found == Reason.OPEN) & (self.quota > 0)
        found[bounded & (self.pending + lacking > self._most_pending)] = Reason.PENDING
        found[bounded & (self.projected + lacking > self._most)] = Reason.FULL
        return found

    def take(self, site: int, size: int) -> None:
        """Counts bytes that are ordered."""
        self.projected[site] += size
        self.pending[site] += size

    @property
    def left(self) -> Keys:
        """The bytes that each site may get at most: negative where none, the largest number where nothing bounds it."""
        found = np.where(self.quota > 0, self._most - self.projected, np.iinfo(np.int64).max)
        found = np.where(self.quota > 0, np.minimum(found, self._most_pending - self.pending), found)
        found[self.standing != Reason.OPEN] = -1
        return found

    @property
    def free(self) -> NDArray[np.float64]:
        """The free fraction of each site's quota, orders counted; 1 where it has no bound."""
        bounded = self.quota > 0
        taken = np.divide(self.projected, self.quota, out=np.zeros(len(self.quota)), where=bounded)
        return np.maximum(1.0 - taken, 0.0)


def targets(names: pl.Series, patterns: tuple[str, ...]) -> Bits:
    """Which sites the patterns mean, shape (sites,); of those that fit a name the last decides."""
    found = np.zeros(len(names), dtype=np.bool_)
    for pattern in patterns:
        found[glob_matching(pattern.removeprefix("!"), names)] = not pattern.startswith("!")
    return found


def _taken(inventory: Inventory, member: Bits) -> tuple[Keys, Keys]:
    """Bytes of the partition at each site with every order done, and those of copies that are not there yet."""
    rows, sites = inventory.block_replicas, inventory.sites.height
    site = rows["site"].to_numpy()
    projected = projected_bytes(rows, inventory.blocks)
    coming = member & (rows["copying"] & ~rows["deleting"]).to_numpy()
    missing = np.maximum(projected - rows["bytes"].to_numpy(), 0)
    return _summed(site[member], projected[member], sites), _summed(site[coming], missing[coming], sites)


def _summed(keys: Keys, values: Keys, size: int) -> Keys:
    """Sums of integers by key, exact."""
    found = np.zeros(size, dtype=np.int64)
    np.add.at(found, keys, values)
    return found
