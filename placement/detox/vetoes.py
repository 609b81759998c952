"""The one place that says no to a deletion, whatever a policy wants, as `docs/policy.md` promises.

A policy suggests, this vetoes: a replica goes only while another survivor of each of its blocks remains; never what is
locked, which witnesses of open deletions are; never the source of an open copy; and only so much in a cycle.

A block without a survivor loses nothing, which is true only of what nobody has whole: a replica that is whole but at a
site that is not READY is no survivor, and yet may be all there is; and when a block's definition is ahead of the news
(it grew, or its total was raised) no replica is whole for a while, and yet they hold its files. So where nothing
survives, what has most of the block stays too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from placement.detox.runs import Array, Bits, Keys, expanded
from placement.detox.settings import DetoxSettings
from placement.detox.world import World


class Veto(IntEnum):
    """Why something stays although a line would have it go; the order is that in which reasons are looked for."""

    NONE = 0
    LOCKED = 1
    SOURCE = 2
    LAST_COPY = 3
    MOST_COMPLETE = 4
    SITE_CAP = 5
    VOLUME_CAP = 6
    FILES_CAP = 7


#: The sentence of each veto.
REASONS = {
    Veto.NONE: "",
    Veto.LOCKED: "a block is locked",
    Veto.SOURCE: "an open copy reads a block from here",
    Veto.LAST_COPY: "no other survivor of a block remains",
    Veto.MOST_COMPLETE: "a block has no survivor, and no other copy has as much of it",
    Veto.SITE_CAP: "max_fraction_of_site is reached",
    Veto.VOLUME_CAP: "max_volume is reached",
    Veto.FILES_CAP: "max_files is reached",
}


def of_rows(world: World, rows: Keys, exempt: Bits) -> Array:
    """The veto on each of some rows of one site, shape (len(rows),); `exempt`: its last copy may go."""
    block = world.row_block[rows]
    others = world.survivors[block] - world.survivor[rows]
    reason = np.zeros(len(rows), dtype=np.int8)
    lost = (others == 0) & ~exempt
    reason[lost & world.complete[rows]] = Veto.LAST_COPY
    unsure = np.flatnonzero(lost & ~world.complete[rows])
    reason[unsure[_has_most(world, rows[unsure])]] = Veto.MOST_COMPLETE
    reason[world.source[rows]] = Veto.SOURCE
    reason[world.locked[rows]] = Veto.LOCKED
    return reason


def _has_most(world: World, rows: Keys) -> Bits:
    """Of rows whose blocks have no survivor, those that nobody else of whom there is news has as much of."""
    if not len(rows):
        return np.zeros(0, dtype=np.bool_)
    replicas, owner = world.siblings(world.replica_dataset[world.row_replica[rows]])
    near, place = expanded(world.replica_first[replicas], world.replica_count[replicas])
    asked = owner[place]
    same = (world.row_block[near] == world.row_block[rows][asked]) & (near != rows[asked])
    same &= world.held[near] & world.known[world.row_site[near]]
    near, asked = near[same], asked[same]
    enough = (world.row_files[near] >= world.row_files[rows][asked]) & (
        world.row_bytes[near] >= world.row_bytes[rows][asked]
    )
    return ~np.isin(np.arange(len(rows)), asked[enough])


@dataclass
class Budget:
    """What a cycle may still delete, altogether and per site. `sites`: bytes that may still go there."""

    settings: DetoxSettings
    sites: Array
    volume: int
    files: int
    #: Sites at which more would have gone than may.
    over: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, settings: DetoxSettings, site_bytes: Keys, *, yes_really: bool) -> Budget:
        """The budget of a cycle that begins with so many bytes at each site; told to, sites may be emptied."""
        fraction = 1.0 if yes_really else settings.max_fraction_of_site
        # Whole numbers: the last byte of a site belongs to it whatever a float makes of it.
        sites = site_bytes if fraction >= 1.0 else (site_bytes * fraction).astype(np.int64)
        return cls(settings, sites.copy(), settings.max_volume, settings.max_files)

    def first_over(self, site: int, size: Keys, files: Keys) -> tuple[int, Veto]:
        """The first of several replicas, in the order in which they would go, for which there is no room, and why.

        Their number where there is room for all.
        """
        size_so_far, files_so_far = np.cumsum(size), np.cumsum(files)
        found = (len(size), Veto.NONE)
        for over, reason in (
            (size_so_far > self.sites[site], Veto.SITE_CAP),
            (size_so_far > self.volume, Veto.VOLUME_CAP),
            (files_so_far > self.files, Veto.FILES_CAP),
        ):
            first = int(np.argmax(over)) if over.any() else len(size)
            found = min(found, (first, reason), key=lambda each: each[0])
        return found

    def spend(self, site: int, size: int, files: int) -> None:
        """So much goes from a site."""
        self.sites[site] -= size
        self.volume -= size
        self.files -= files
