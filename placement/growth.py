"""Growing replicas: who owns a dataset at a site as growing gets its new blocks there as they come.

What a site lacks of such a dataset is ordered as soon as a site has all of it to copy from; nothing is taken for
lacking where the news is not fresh, and what was deleted there by an order is not brought back: with that the replica
ceases to grow. A copy that failed rests for a while.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from sqlalchemy import Connection

from placement import intents, orders
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
    """Blocks that a growing replica lacks: the number of the replica and the block's key for each, in their order."""

    replica: list[int]
    block: list[int]


def wanted(
    inventory: Inventory,
    growing: Sequence[Growing],
    resting: Collection[tuple[str, str]],
    now: float,
    max_age_s: float,
) -> list[Wish]:
    """The copies that growing replicas lack; `resting` are (block, site) that are left alone."""
    asked = Asked(inventory, now, max_age_s)
    fresh = inventory.ready_sites & inventory.fresh_sites(now, max_age_s)
    left_alone = _pairs(
        inventory.block_keys([block for block, _ in resting]), inventory.site_keys([site for _, site in resting])
    )
    lacking = _lacking(inventory, growing, fresh, asked.sourced, left_alone)
    found: dict[int, list[BlockOrder]] = {}
    for number, block in zip(lacking.replica, lacking.block, strict=True):
        if (order := asked.copied(block)) is not None:
            found.setdefault(number, []).append(order)
    return [
        Wish("copy", growing[number].dataset, growing[number].site, growing[number].group, tuple(blocks))
        for number, blocks in found.items()
    ]


def _lacking(
    inventory: Inventory, growing: Sequence[Growing], fresh: Bits, sourced: Bits, left_alone: Array
) -> _Lacking:
    """The first blocks that are lacking at `fresh` sites, that somebody has, and that are not left alone."""
    items = Items.of(inventory, [each.dataset for each in growing])
    site = inventory.site_keys([each.site for each in growing])
    usable = (site != UNKNOWN) & fresh[site]
    member, replica = expanded(items.first[usable], items.count[usable])
    replica = np.flatnonzero(usable)[replica]
    block = items.block[member]
    row = inventory.rows(block, site[replica])
    lacks = row == UNKNOWN
    there = np.flatnonzero(~lacks)
    flags = inventory.block_replicas.select("complete", "copying", "deleting")[row[there]]
    lacks[there] = ~flags.select(pl.any_horizontal(pl.all())).to_series().to_numpy()
    lacks &= sourced[block] & ~np.isin(_pairs(block, site[replica]), left_alone)
    chosen = np.flatnonzero(lacks)[:BLOCKS_MAX]
    return _Lacking(replica[chosen].tolist(), block[chosen].tolist())


def _pairs(blocks: Array, sites: Array) -> Array:
    """One number for a block and a site, of those that are known."""
    known = (blocks != UNKNOWN) & (sites != UNKNOWN)
    found: Array = (blocks[known].astype(np.int64) << 16) | sites[known].astype(np.int64)
    return found


def run_once(keeper: Keeper, max_age_s: float) -> int:
    """Orders what growing replicas lack; how many orders were written."""
    now = keeper.clock()

    def found_now(connection: Connection) -> list[Wish]:
        growing = intents.growing(connection)
        resting = orders.failed_since(connection, now - REST_S) if growing else ()
        return wanted(keeper.inventory(), growing, resting, now, max_age_s) if growing else []

    with keeper.database.reading() as connection:
        if not found_now(connection):
            return 0
    with keeper.writing() as connection:
        found = found_now(connection)
        written = orders.write(connection, found, asked_by=BY, now=now).written if found else []
    if written:
        telemetry.event("growth.ordered", orders=len(written))
    return len(written)
