"""Locks: what detox may not touch, at which sites and of which groups, until when and by whose word.

A lock names a dataset or block, or a glob pattern of them. It is placed, released by a person, or expires; it stays
in the table, which is its history. The blocks that a deletion's witnesses hold are locked with it until it ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl
from sqlalchemy import ColumnElement, Connection, and_, insert, or_, select, update

from placement import intents, tables
from placement.database import DECISIONS, INTENT, advance
from placement.inventory import UNKNOWN, Array, Inventory
from placement.messages import Lock, LockItem, Locks, LocksQuery
from placement.policy.texts import glob_matching
from placement.schemas import NO_GROUP
from reploc import names
from reploc.errors import DefinitionUnknown, InventoryInvalid


def place(connection: Connection, items: Sequence[LockItem], placed_by: str, now: float) -> list[int]:
    """Places locks; their numbers. What they name may come later, where and whose it is may not: that would lock
    nothing. Raises InventoryInvalid: one would have expired; NameInvalid; DefinitionUnknown: a site or group."""
    numbers = []
    sites, groups = (intents.ids(connection, table) for table in (tables.sites, tables.groups))
    for item in items:
        names.require(item.item, "item")
        for text, what, known in ((item.site, "site", sites), (item.group, "group", {NO_GROUP: 0} | groups)):
            names.require(text, what)
            if text != "*":
                intents.meant(known, text, what)
        if item.expires_s is not None and item.expires_s <= now:
            raise InventoryInvalid(f"lock on {item.item!r}: it would have expired already")
        told = {name: getattr(item, name) for name in ("item", "site", "group", "comment", "expires_s")}
        result = connection.execute(insert(tables.locks).values(**told, placed_by=placed_by, placed_s=now))
        (number,) = result.inserted_primary_key or (0,)
        numbers.append(int(number))
    _moved(connection)
    return numbers


def release(connection: Connection, ids: Sequence[int], released_by: str, now: float) -> list[int]:
    """Releases locks; those that held. Raises DefinitionUnknown for a number that is none's."""
    table = tables.locks
    known = dict(connection.execute(select(table.c.id, table.c.released_s).where(table.c.id.in_(ids))).all())
    if unknown := [number for number in ids if number not in known]:
        raise DefinitionUnknown(f"lock {unknown[0]} is not defined")
    held = [number for number in ids if known[number] is None]
    if held:
        values = {"released_s": now, "released_by": released_by}
        connection.execute(update(table).where(table.c.id.in_(held)).values(values))
        _moved(connection)
    return held


def _moved(connection: Connection) -> None:
    for name in (INTENT, DECISIONS):
        advance(connection, name)


def holding(connection: Connection, now: float) -> list[Lock]:
    """Every lock that holds at a moment."""
    rows = connection.execute(select(tables.locks).where(_holds(now)).order_by(tables.locks.c.id)).mappings()
    return [Lock(**row) for row in rows]


def page(connection: Connection, asked: LocksQuery, now: float) -> Locks:
    """A page of locks in the order of their numbers."""
    table = tables.locks
    wanted = select(table).where(table.c.id > asked.after).order_by(table.c.id).limit(asked.limit + 1)
    rows = connection.execute(wanted if asked.all else wanted.where(_holds(now))).mappings().all()
    found = [Lock(**row) for row in rows[: asked.limit]]
    return Locks(found, found[-1].id if len(rows) > asked.limit else None)


def _holds(now: float) -> ColumnElement[bool]:
    table = tables.locks
    return and_(table.c.released_s.is_(None), or_(table.c.expires_s.is_(None), table.c.expires_s > now))


# ---- which block replicas are locked ---------------------------------------------------------------------------------


def locked(inventory: Inventory, held: Iterable[Lock]) -> Array:
    """Which block replicas a lock holds, shape (block replicas,)."""
    found = np.zeros(inventory.block_replicas.height, dtype=np.bool_)
    replicas = inventory.block_replicas
    group, site = replicas["group"].to_numpy(), replicas["site"].to_numpy()
    for lock in held:
        rows = _rows(inventory, lock.item)
        sites, groups = _named(lock.site, inventory.sites["name"]), _named(lock.group, inventory.groups["name"])
        found[rows] |= sites[site[rows]] & groups[group[rows]]
    return found


def _rows(inventory: Inventory, item: str) -> Array:
    """The block replicas of a dataset, of a block, or of those that a pattern names."""
    wanted = names.pattern(item)
    dataset, block = names.split_block(item)
    runs = inventory.dataset_replicas
    if wanted.literal and block is None:
        keys = inventory.dataset_keys([dataset])
    elif wanted.literal:
        return np.flatnonzero(inventory.block_replicas["block"].to_numpy() == inventory.block_keys([item])[0])
    elif block is None:
        keys = np.flatnonzero(glob_matching(item, inventory.datasets["name"]))
    else:
        blocks = np.flatnonzero(glob_matching(item, inventory.block_names()))
        return np.flatnonzero(np.isin(inventory.block_replicas["block"].to_numpy(), blocks))
    chosen = np.isin(runs["dataset"].to_numpy(), keys[keys != UNKNOWN])
    return np.flatnonzero(chosen[inventory.block_replicas["dataset_replica"].to_numpy()])


def _named(text: str, known: pl.Series) -> Array:
    """Which names a name or a glob pattern means."""
    return (known == text).to_numpy() if names.pattern(text).literal else glob_matching(text, known)
