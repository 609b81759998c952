"""The inventory as it stands: what the database has, what was observed, and the one inventory made of both.

Several services may share a database, and commands work beside a daemon; so before an inventory is handed out, the
counters of the database are looked at, and what somebody else wrote is read. An inventory is made anew only when one of
its sources has changed; whoever holds an older one keeps it.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import polars as pl
from sqlalchemy import Connection

from placement import assembly, database, datasets, definitions, intents, known, locks, observed, orders, schemas
from placement.database import Database
from placement.definitions import Definitions
from placement.intents import Intents
from placement.inventory import UNKNOWN, Array, Inventory
from placement.known import Known
from placement.messages import Lock, SiteItem
from placement.observations import News, Observation, split
from reploc import telemetry
from reploc.orders import Order
from reploc.sites import Site

#: The position of a site of which nothing was heard: below every one that there is.
UNHEARD = -1


class Keeper:
    """Keeps the inventory. Its methods may be called from any thread, one of them works at a time.

    `clock` gives seconds since the epoch of POSIX in UTC.
    """

    def __init__(self, store: Database, clock: Callable[[], float] = time.time) -> None:
        self.database = store
        self.clock = clock
        self._alone = threading.RLock()
        self._counts: dict[str, int] = {}
        self._definitions: Definitions
        self._known: Known = known.nothing()
        self._intents: Intents
        self._orders: list[Order] = []
        self._ordered = b""
        self._locks: list[Lock] = []
        self._observations: dict[str, Observation] = {}
        self._inventory: Inventory | None = None
        with self._alone:
            self._refresh()

    # ---- reading -------------------------------------------------------------------------------------------------

    def inventory(self) -> Inventory:
        """The inventory as it is now; the same object as before where nothing has changed."""
        with self._alone:
            self._refresh()
            version = self._version()
            if self._inventory is None or self._inventory.version != version:
                self._inventory = assembly.assembled(
                    version,
                    self._definitions,
                    self._known,
                    self._observations,
                    self._intents,
                    self._orders,
                    self._locks,
                )
            elif not self._inventory.sites.equals(sites := assembly.sites(self._definitions, self._observations)):
                self._inventory = self._inventory.having(version, sites=sites)
            return self._inventory

    def inventory_with_decisions(self) -> tuple[Inventory, int]:
        """The inventory, and how many decisions it includes (`database.decisions`)."""
        with self._alone:
            made = self.inventory()
            return made, self._counts[database.DECISIONS]

    def definitions(self) -> Definitions:
        """What is defined, but for datasets."""
        with self._alone:
            self._refresh()
            return self._definitions

    def observation(self, site: str) -> Observation:
        """What was heard of a site; nothing where nothing was."""
        return self._observations.get(site, Observation())

    def heard(self) -> dict[str, float]:
        """When each site's news was true, of those that anything was heard of."""
        return {site: seen.news_at for site, seen in self._observations.items() if seen.news_at is not None}

    def _refresh(self) -> None:
        """Reads what was written since the last time."""
        now = self.clock()
        with self.database.reading() as connection:
            counts = database.counts(connection)
            if not self._counts or counts[database.DEFINITIONS] != self._counts[database.DEFINITIONS]:
                self._definitions = definitions.read(connection)
                self._known = datasets.refreshed(connection, self._known)
            if not self._counts or any(
                counts[name] != self._counts[name] for name in (database.DEFINITIONS, database.INTENT)
            ):
                found = self._definitions
                self._intents = intents.read(connection, self._known, found.site_ids, found.group_ids)
            if not self._counts or counts[database.ORDERS] != self._counts[database.ORDERS]:
                self._orders = orders.pending(connection)
                self._ordered = _ordered(self._orders)
            self._locks = locks.holding(connection, now)
            if not self._counts or counts[database.OBSERVED] != self._counts[database.OBSERVED]:
                self._catch_up(connection)
        self._counts = counts

    def _catch_up(self, connection: Connection) -> None:
        """Takes over what another service heard later: the ends of orders may be settled by its news already."""
        positions = observed.positions(connection)
        later = [site for site, position in positions.items() if position > self._position(site)]
        self._observations |= observed.read(connection, self._known, later)

    def _position(self, site: str) -> int:
        seen = self.observation(site)
        return seen.position if seen.news_at is not None else UNHEARD

    def _version(self) -> str:
        """What differs wherever contents differ; ages of news are no contents."""
        told = hashlib.blake2b(self._ordered, digest_size=8)
        for site, seen in sorted(self._observations.items()):
            told.update(repr((site, seen.versions, seen.complete, len(seen.blocks))).encode())
        told.update(repr([lock.id for lock in self._locks]).encode())
        return f"{self._counts[database.DEFINITIONS]}-{self._counts[database.INTENT]}-{told.hexdigest()}"

    # ---- writing -------------------------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A write to the database, alone in the cluster; what it wrote is in the next inventory."""
        with self._alone, self.database.writing() as connection:
            yield connection

    def renew(self, told: News) -> None:
        """Takes over the age and position of news whose contents are known."""
        with self._alone:
            self._observations[told.site] = self.observation(told.site).renewed(told, self.clock())

    def observe(self, told: News, collections: pl.DataFrame) -> None:
        """Takes over the news of a site: columns `collection`, `files`, `bytes`, each collection once.

        What nobody knows yet is defined from it, and totals that nobody declared rise to what is seen.
        """
        with self._alone:
            self._require_site(told)
            named = pl.concat(
                [split(collections["collection"]), collections.select("files", "bytes")], how="horizontal"
            )
            keys = self._keys(named)
            if (raising := self._raising(named, keys)).any():
                self._define(named.filter(pl.Series(raising)))
                keys = np.where(keys == UNKNOWN, self._keys(named), keys)
            if (lost := int((keys == UNKNOWN).sum())) > 0:
                telemetry.event("inventory.unknown-collections", site=told.site, collections=lost)
            there = keys != UNKNOWN
            files, size = named["files"].to_numpy()[there], named["bytes"].to_numpy()[there]
            before = self.observation(told.site)
            self._observations[told.site] = before.replaced(told, self.clock(), keys[there], files, size)

    def settle(self) -> int:
        """Takes orders out of the pending ones whose ends the news includes now; how many.

        With that, the news itself is in the database: who counts on it there must not find older news of the site.
        """
        now = self.clock()
        with self._alone:
            positions = {site: seen.position for site, seen in self._observations.items() if seen.complete}
            with self.database.reading() as connection:
                if not orders.any_observed(connection, positions, now):
                    return 0
            with self.database.writing() as connection:
                self._save(connection)
                return orders.observed(connection, positions, now)

    def save(self) -> int:
        """Copies what was observed since the last time into the database; of how many sites the contents changed."""
        with self._alone:
            if all(seen.kept for seen in self._observations.values()):
                return 0
            with self.database.writing() as connection:
                return self._save(connection)

    def _save(self, connection: Connection) -> int:
        names = self._definitions.sites["name"].to_list()
        ids = {names[key]: number for number, key in self._definitions.site_ids.items()}
        new = {site: seen for site, seen in self._observations.items() if not seen.saved}
        observed.save(connection, self._known, ids, new)
        observed.date(connection, ids, self._observations)
        self._counts[database.OBSERVED] = database.advance(connection, database.OBSERVED) + 1
        for site, seen in self._observations.items():
            self._observations[site] = seen.having(saved=True, kept=True)
        return len(new)

    def forget_observations(self) -> None:
        """Loses all that was observed, here and in the database; the index has it."""
        with self._alone:
            self._observations = {}
            with self.database.writing() as connection:
                observed.drop(connection)
                self._counts[database.OBSERVED] = database.advance(connection, database.OBSERVED) + 1

    def _require_site(self, told: News) -> None:
        """A site that the index knows and nobody defined is defined by its name and catalog, and given no work."""
        self._refresh()
        if told.site in self._definitions.defined:
            return
        site = Site(name=told.site, lrc=told.lrc, storage="unknown", status="unknown")
        with self.database.writing() as connection:
            definitions.put_sites(connection, [SiteItem(site=site)])
        telemetry.event("site.derived", site=told.site, lrc=told.lrc)
        self._refresh()

    def _keys(self, named: pl.DataFrame) -> Array:
        return self._known.block_keys(self._known.dataset_keys(named["dataset"]), named["name"])

    def _raising(self, named: pl.DataFrame, keys: Array) -> Array:
        """Which blocks are new, or larger than was ever seen of one whose totals nobody declared."""
        new: Array = keys == UNKNOWN
        if not self._known.blocks.height:
            return new
        at = np.maximum(keys, 0)
        held, declared = self._known.blocks, self._known.declared[at]
        larger = (named["bytes"].to_numpy() > held["size"].to_numpy()[at]) | (
            named["files"].to_numpy() > held["files"].to_numpy()[at]
        )
        raising: Array = new | (larger & ~declared)
        return raising

    def _define(self, named: pl.DataFrame) -> None:
        seen = named.select("dataset", "name", pl.col("bytes").alias("size"), "files")
        blocks = schemas.told(seen, datasets.BLOCKS_TOLD)
        with self.database.writing() as connection:
            empty = schemas.empty(datasets.DATASETS_TOLD)
            datasets.revise(connection, empty, blocks, declared=False, now=int(self.clock()))
        self._refresh()


def _ordered(pending: list[Order]) -> bytes:
    """A digest of what an inventory has of orders: which there are, with blocks that never change, and which are open.

    How far they are is not in it, so that a report of that makes no other inventory.
    """
    told = hashlib.blake2b(digest_size=16)
    for order in pending:
        told.update(b"%d%c" % (order.id, order.state in orders.OPEN))
    return told.digest()
