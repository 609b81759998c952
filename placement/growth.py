"""Growing replicas: who owns a dataset at a site as growing gets its new blocks there as they come.

What a site lacks of such a dataset is ordered as soon as a site has all of it to copy from; nothing is taken for
lacking where the news is not fresh, and what was deleted there by an order is not brought back: with that the replica
ceases to grow. A copy that failed rests for a while. A site gets no more than the dealer would bring there: its quota
for the dealer's partition, and what may be on its way at once, bound both alike (docs/placement.md).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from msgspec.structs import replace
from sqlalchemy import Connection

from placement import intents, orders
from placement.columns import partition_rows
from placement.dealer.room import Reason, Room
from placement.dealer.settings import DealerSettings
from placement.detox.runs import Bits, expanded
from placement.intents import Growing
from placement.inventory import UNKNOWN, Array, Inventory
from placement.items import Items
from placement.keeper import Keeper
from placement.orders import Wish
from placement.wishes import Asked
from reploc import telemetry
from reploc.orders import BlockOrder

#: Whose word the orders are written on.
BY = "growing"
#: Seconds that a block rests at a site after its copy there failed: file operations have tried again and again by then.
REST_S = 3_600.0
#: Blocks that are ordered at once; the next look finds the others.
BLOCKS_MAX = 10_000


@dataclass(frozen=True)
class _Lacking:
    """Blocks that growing replicas lack, in their order: for each the number of the replica, the keys of the block and
    the site, and the bytes that a copy brings."""

    replica: Array
    block: Array
    site: Array
    size: Array

    def of(self, kept: Array) -> _Lacking:
        """Some of them."""
        return _Lacking(self.replica[kept], self.block[kept], self.site[kept], self.size[kept])


@dataclass(frozen=True)
class Wanted:
    """The copies that growing replicas lack; `waiting` says by site why it does not get what else it lacks."""

    wishes: list[Wish]
    waiting: dict[str, str]


def wanted(
    inventory: Inventory,
    growing: Sequence[Growing],
    resting: Collection[tuple[str, str]],
    now: float,
    max_age_s: float,
    bounds: DealerSettings,
) -> Wanted:
    """What growing replicas lack, in the order of their names; `resting` are (block, site) that are left alone.

    Where the partition of `bounds` is not defined there are no quotas, and nothing bounds them. Raises PolicyInvalid:
    the partition's condition is none.
    """
    asked = Asked(inventory, now, max_age_s)
    fresh = inventory.ready_sites & inventory.fresh_sites(now, max_age_s)
    left_alone = _pairs(
        inventory.block_keys([block for block, _ in resting]), inventory.site_keys([site for _, site in resting])
    )
    lacking = _lacking(inventory, growing, fresh, asked.sourced, left_alone)
    fits, waiting = _fitting(inventory, lacking, bounds)
    found: dict[int, list[BlockOrder]] = {}
    chosen = lacking.of(np.flatnonzero(fits)[:BLOCKS_MAX])
    for number, block in zip(chosen.replica.tolist(), chosen.block.tolist(), strict=True):
        if (order := asked.copied(block)) is not None:
            found.setdefault(number, []).append(order)
    wishes = [
        Wish("copy", growing[number].dataset, growing[number].site, growing[number].group, tuple(blocks))
        for number, blocks in found.items()
    ]
    return Wanted(wishes, waiting)


def _lacking(
    inventory: Inventory, growing: Sequence[Growing], fresh: Bits, sourced: Bits, left_alone: Array
) -> _Lacking:
    """The blocks that are lacking at `fresh` sites, that somebody has, and that are not left alone."""
    items = Items.of(inventory, [each.dataset for each in growing])
    site = inventory.site_keys([each.site for each in growing])
    usable = (site != UNKNOWN) & fresh[site]
    member, replica = expanded(items.first[usable], items.count[usable])
    replica = np.flatnonzero(usable)[replica]
    block = items.block[member]
    row = inventory.rows(block, site[replica])
    lacks = row == UNKNOWN
    there = np.flatnonzero(~lacks)
    rows = inventory.block_replicas.select("complete", "copying", "deleting", "bytes")[row[there]]
    lacks[there] = ~rows.select(pl.any_horizontal("complete", "copying", "deleting")).to_series().to_numpy()
    lacks &= sourced[block] & ~np.isin(_pairs(block, site[replica]), left_alone)
    size = inventory.blocks["size"].to_numpy()[block]
    size[there] = np.maximum(size[there] - rows["bytes"].to_numpy(), 0)
    return _Lacking(replica, block, site[replica], size).of(lacks)


def _fitting(inventory: Inventory, lacking: _Lacking, bounds: DealerSettings) -> tuple[Bits, dict[str, str]]:
    """Whether each block still fits where it is lacking, in their order, and why what does not fit waits, by site."""
    if not len(lacking.block) or inventory.partition_keys([bounds.partition])[0] == UNKNOWN:
        return np.ones(len(lacking.block), dtype=np.bool_), {}
    # Who owns a dataset somewhere as growing wants it there, whether or not the dealer brings things there by itself.
    everywhere = replace(bounds, target_sites=("*",))
    room = Room(inventory, everywhere, frozenset(), partition_rows(inventory, bounds.partition))
    order = np.argsort(lacking.site, kind="stable")
    site, total = lacking.site[order], np.cumsum(lacking.size[order])
    begins = np.flatnonzero(np.diff(site, prepend=UNKNOWN))
    before = np.repeat((total - lacking.size[order])[begins], np.diff(np.append(begins, len(site))))
    fits = np.zeros(len(site), dtype=np.bool_)
    fits[order] = total - before <= room.left[site]
    wanted = np.zeros(inventory.sites.height, dtype=np.int64)
    np.add.at(wanted, lacking.site, lacking.size)
    reasons, names = room.reasons(wanted), inventory.sites["name"]
    short = np.unique(lacking.site[~fits]).tolist()
    return fits, {names[key]: Reason(int(reasons[key])).words for key in short}


def _pairs(blocks: Array, sites: Array) -> Array:
    """One number for a block and a site, of those that are known."""
    known = (blocks != UNKNOWN) & (sites != UNKNOWN)
    found: Array = (blocks[known].astype(np.int64) << 16) | sites[known].astype(np.int64)
    return found


class Growth:
    """Orders what growing replicas lack; `bounds` are the dealer's. `waiting` says by site why it gets no more."""

    def __init__(self, keeper: Keeper, max_age_s: float, bounds: DealerSettings) -> None:
        self._keeper, self._max_age_s, self._bounds = keeper, max_age_s, bounds
        self.waiting: dict[str, str] = {}

    def run_once(self) -> int:
        """How many orders were written."""
        now = self._keeper.clock()
        with self._keeper.database.reading() as connection:
            found = self._found(connection, now)
        self._tell(found.waiting)
        if not found.wishes:
            return 0
        with self._keeper.writing() as connection:
            found = self._found(connection, now)
            written = orders.write(connection, found.wishes, asked_by=BY, now=now).written
        if written:
            telemetry.event("growth.ordered", orders=len(written))
        return len(written)

    def _found(self, connection: Connection, now: float) -> Wanted:
        growing = intents.growing(connection)
        if not growing:
            return Wanted([], {})
        resting = orders.failed_since(connection, now - REST_S)
        return wanted(self._keeper.inventory(), growing, resting, now, self._max_age_s, self._bounds)

    def _tell(self, waiting: dict[str, str]) -> None:
        """Says once, and again when it is another, why a site gets no more."""
        for site, reason in waiting.items():
            if self.waiting.get(site) != reason:
                telemetry.event("growth.waits", site=site, reason=reason, partition=self._bounds.partition)
        self.waiting = waiting
