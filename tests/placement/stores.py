"""Keepers over an empty database, told things in few words; the clock is a value that a test moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import polars as pl

from placement import injection, intents, orders
from placement.database import Database
from placement.inventory import Inventory
from placement.keeper import Keeper
from placement.messages import (
    BlockItem,
    DatasetItem,
    GroupItem,
    InjectBody,
    Injected,
    OwnerItem,
    PartitionItem,
    QuotaItem,
    SiteItem,
    Written,
)
from placement.observations import News, Part
from placement.orders import Wish
from reploc.holdings import SiteHoldings
from reploc.orders import BlockOrder, OrderReport
from reploc.sites import Site

SITES = ("T1", "T2", "T3")
#: A block's files and bytes where a test says nothing else.
FILES, BYTES = 2, 20
START_S = 1_000_000.0


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = START_S

    def __call__(self) -> float:
        return self.now


class Told:
    """A keeper of sites and groups, and short ways to tell it things."""

    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self.url = url
        self.keeper = Keeper(Database(url), self.clock)
        self._heard = 0

    def inject(self, body: InjectBody) -> Injected:
        with self.keeper.writing() as connection:
            return injection.inject(connection, body, int(self.clock()))

    def define(self, **statuses: Any) -> None:
        """Three sites, READY unless something else is said of one, two groups, and the dataset /a of two blocks."""
        blocks = [BlockItem(name=name, size=BYTES, num_files=FILES) for name in ("1", "2")]
        self.inject(
            InjectBody(
                sites=[
                    SiteItem(site=Site(name=name, lrc=f"http://{name}:39280", status=statuses.get(name, "ready")))
                    for name in SITES
                ],
                groups=[GroupItem(name="physics"), GroupItem(name="ops", level="dataset")],
                datasets=[DatasetItem(name="/a", status="valid", blocks=blocks)],
            )
        )

    def partition(self, quota: int) -> None:
        """A partition P of everything, with so many bytes for each site."""
        quotas = [QuotaItem(site=site, partition="P", quota=quota) for site in SITES]
        self.inject(InjectBody(partitions=[PartitionItem(name="P", condition="always")], quotas=quotas))

    def own(self, item: str, site: str, group: str) -> int:
        with self.keeper.writing() as connection:
            return intents.put(connection, [OwnerItem(item=item, site=site, group=group)])

    def hear(self, site: str, position: int, age_s: float = 0.0, **held: tuple[int, int]) -> None:
        """News of a site: blocks of /a by name as (files, bytes)."""
        self.hear_of(site, position, {f"/a#{name.removeprefix('b')}": told for name, told in held.items()}, age_s)

    def renew(self, site: str, position: int) -> None:
        """News of a site whose contents are as before."""
        told = SiteHoldings(site, f"http://{site}:39280", "", position, 0.0, True, 0)
        self.keeper.renew(News(site, told.lrc, (Part("n0", told, None),), position, 0.0, True, 16))

    def hear_of(self, site: str, position: int, held: dict[str, tuple[int, int]], age_s: float = 0.0) -> None:
        self._heard += 1
        told = SiteHoldings(site, f"http://{site}:39280", str(self._heard), position, age_s, True, len(held))
        news = News(site, told.lrc, (Part("n0", told, None),), position, age_s, complete=True, slot_count=16)
        self.keeper.observe(
            news,
            pl.DataFrame(
                {
                    "collection": list(held),
                    "files": [files for files, _ in held.values()],
                    "bytes": [size for _, size in held.values()],
                },
                schema={"collection": pl.String, "files": pl.Int64, "bytes": pl.Int64},
            ),
        )

    def write(self, *wishes: Wish) -> Written:
        with self.keeper.writing() as connection:
            return orders.write(connection, wishes, asked_by="a test", now=self.clock())

    def report(self, *reports: OrderReport) -> None:
        with self.keeper.writing() as connection:
            orders.report(connection, reports, self.clock())

    def cancel(self, number: int) -> list[int]:
        with self.keeper.writing() as connection:
            return orders.cancel(connection, [number], "not wanted any more", self.clock())

    def rows(self, *columns: str) -> list[tuple[object, ...]]:
        """(block, site, columns…) of each block replica, by name."""
        return by_name(self.keeper.inventory(), *columns)


def by_name(made: Inventory, *columns: str) -> list[tuple[object, ...]]:
    """(block, site, columns…) of each block replica."""
    replicas = made.block_replicas
    return list(
        pl.DataFrame(
            [
                made.block_names(replicas["block"].to_numpy()),
                made.sites["name"].gather(replicas["site"]).alias("site"),
                *(replicas[name] for name in columns),
            ]
        ).iter_rows()
    )


def wish(kind: str, site: str, *blocks: str, group: str = "", sources: tuple[str, ...] = (), witness: str = "") -> Wish:
    """A wish for blocks of /a."""
    told = tuple(BlockOrder(f"/a#{name}", FILES, BYTES, sources, witness) for name in blocks)
    return Wish(kind, "/a", site, group, told)  # type: ignore[arg-type]


@contextmanager
def telling(url: str) -> Iterator[Told]:
    """A keeper whose database is closed in the end."""
    told = Told(url)
    try:
        yield told
    finally:
        told.keeper.database.close()
