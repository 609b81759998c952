"""What a person asks for, made into orders: the blocks of an item, their sources, and who keeps what goes.

Nothing that a person says may lose data: a copy needs a source for each block, and a deletion another survivor. A
survivor is a complete replica at a READY site with fresh news, not under deletion.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from placement import orders
from placement.inventory import UNKNOWN, Array, Inventory
from placement.items import Items
from placement.keeper import Keeper
from placement.messages import WishBody, WishItem, Written
from placement.orders import Wish
from reploc.errors import DefinitionUnknown, InventoryInvalid
from reploc.orders import BlockOrder

_NOTHING = {"copy": "all of it is there already", "delete": "nothing of it is there"}


def wished(inventory: Inventory, items: Sequence[WishItem], now: float, max_age_s: float) -> list[Wish]:
    """The orders for what is asked. Raises DefinitionUnknown and InventoryInvalid, saying what cannot be and why."""
    asked = Asked(inventory, now, max_age_s)
    return [asked.wish(item) for item in items]


def ordered(keeper: Keeper, body: WishBody, max_age_s: float) -> Written:
    """Writes what is asked for. Raises what `wished` does.

    What a person asks for does not depend on an inventory that they have seen; so it is judged by the one of the moment
    of the write, in which nobody else can write. Most of the work of making that one is done before.
    """
    keeper.inventory()
    with keeper.writing() as connection:
        now = keeper.clock()
        wanted = wished(keeper.inventory(), body.orders, now, max_age_s)
        return orders.write(connection, wanted, asked_by=body.asked_by, now=now)


def survivors(inventory: Inventory, now: float, max_age_s: float) -> Array:
    """Which block replicas survive: complete, at a READY site with fresh news, not under deletion."""
    good = inventory.ready_sites & inventory.fresh_sites(now, max_age_s)
    replicas = inventory.block_replicas
    kept: Array = replicas["complete"].to_numpy() & ~replicas["deleting"].to_numpy() & good[replicas["site"].to_numpy()]
    return kept


class Asked:
    """What is asked for together: a copy that one deletion counts on may not go by another."""

    def __init__(self, inventory: Inventory, now: float, max_age_s: float) -> None:
        self._inventory = inventory
        self._survives = survivors(inventory, now, max_age_s)
        self._sites = inventory.sites["name"].to_list()
        self._block = inventory.block_replicas["block"].to_numpy()
        self._site = inventory.block_replicas["site"].to_numpy()
        self._going: set[int] = set()

    @property
    def sourced(self) -> Array:
        """Whether somebody has all of each block to copy from, shape (blocks,)."""
        found = np.zeros(self._inventory.blocks.height, dtype=np.bool_)
        found[self._block[self._survives]] = True
        return found

    def wish(self, item: WishItem) -> Wish:
        """The order for it. Raises DefinitionUnknown and InventoryInvalid."""
        site = int(self._inventory.site_keys([item.site])[0])
        if site == UNKNOWN:
            raise DefinitionUnknown(f"site {item.site!r} is not defined")
        if item.group and self._inventory.group_keys([item.group])[0] == UNKNOWN:
            raise DefinitionUnknown(f"group {item.group!r} is not defined")
        make = self._copy if item.kind == "copy" else self._deletion
        keys = Items.of(self._inventory, [item.item]).block
        if not len(keys):
            raise DefinitionUnknown(f"{item.item!r} is not defined, or has no blocks")
        made = (make(int(block), site) for block in keys)
        if not (blocks := tuple(order for order in made if order is not None)):
            raise InventoryInvalid(f"{item.kind} of {item.item!r} at {item.site}: {_NOTHING[item.kind]}")
        return Wish(item.kind, item.item, item.site, item.group, blocks)

    def tried(self, item: WishItem) -> tuple[Wish | None, str]:
        """The order for it, or why there cannot be one; what cannot be counts for nothing that is asked after it."""
        going = set(self._going)
        try:
            return self.wish(item), ""
        except InventoryInvalid as wrong:
            self._going = going
            return None, wrong.detail

    def copied(self, block: int) -> BlockOrder | None:
        """A block to copy with the sites that have all of it, or None where none has."""
        rows = self._rows(block)
        sources = self._names(rows[self._survives[rows]])
        return replace(self._order(block), sources=sources) if sources else None

    def _copy(self, block: int, site: int) -> BlockOrder | None:
        rows = self._rows(block)
        replicas = self._inventory.block_replicas[rows]
        whole = replicas["complete"].to_numpy() & ~replicas["deleting"].to_numpy()
        if (whole & (self._site[rows] == site)).any():
            return None
        if (order := self.copied(block)) is None:
            name = self._order(block).name
            raise InventoryInvalid(f"{name!r}: no READY site with fresh news has all of it to copy from")
        return order

    def _deletion(self, block: int, site: int) -> BlockOrder | None:
        rows = self._rows(block)
        here = rows[self._site[rows] == site]
        if not len(here):
            return None
        order, row = self._order(block), int(here[0])
        for flag, why in (("locked", "it is locked"), ("source", "an open copy reads from it")):
            if self._inventory.block_replicas[flag][row]:
                raise InventoryInvalid(f"{order.name!r} at {self._sites[site]}: {why}")
        self._going.add(row)
        left = [int(other) for other in rows[self._survives[rows]] if int(other) not in self._going]
        if not left:
            raise InventoryInvalid(f"{order.name!r} at {self._sites[site]}: no other copy of it would survive")
        return replace(order, witness=self._names(left)[0])

    def _rows(self, block: int) -> Array:
        """The replicas of a block, which stand among those of its dataset."""
        runs = self._inventory.dataset_replicas
        mine = runs["dataset"].search_sorted(self._inventory.blocks["dataset"][block], "left")
        end = runs["dataset"].search_sorted(self._inventory.blocks["dataset"][block], "right")
        if mine == end:
            return np.zeros(0, dtype=np.int64)
        first, last = int(runs["first"][mine]), int(runs["first"][end - 1]) + int(runs["count"][end - 1])
        return first + np.flatnonzero(self._block[first:last] == block)

    def _order(self, block: int) -> BlockOrder:
        told = self._inventory.blocks.row(block, named=True)
        return BlockOrder(self._inventory.block_names(np.array([block])).item(), told["files"], told["size"])

    def _names(self, rows: Sequence[int] | Array) -> tuple[str, ...]:
        return tuple(sorted(self._sites[int(self._site[row])] for row in rows))
