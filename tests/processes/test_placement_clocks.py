"""Clocks that disagree: those of catalogs and nodes do not matter; those of services that share a database are told."""

import asyncio
from functools import partial
from pathlib import Path

from clock import Clock
from daemon import process, settings_file
from grid import index_settings, until

from lrc.settings import LrcSettings
from placement import cycle
from placement.client import PlacementClient
from placement.database import Database
from placement.inventory import Inventory
from placement.keeper import Keeper
from placement.messages import InjectBody, SiteItem, WishItem
from placement.recording import Decided
from placement.settings import PlacementSettings
from reploc.client import LrcClient
from reploc.demo.ports import free_port
from reploc.demo.processes import Process
from reploc.errors import NewsMissing
from reploc.sites import Site
from reploc.wire import MappingItem
from rli.settings import RliSettings

SITES = {"T1": -1, "T2": 1}


class Nothing:
    """Decides nothing, which it does only where a cycle may start."""

    kind, policy = "test", "nothing"

    def decide(self, inventory: Inventory, now: float, left_out: frozenset[str]) -> Decided:
        return Decided()


def grid_of_days(path: Path) -> tuple[dict[str, Process], Clock, PlacementSettings]:
    """An index node a day ahead, a catalog a day behind and one a day ahead, and placement by a clock of its own."""
    index = index_settings(1, redundancy=1, expiry_s=5.0, collections=True)
    (url,) = index.urls.values()

    def shown(days: int, made: Process) -> Process:
        clock = Clock(path / f"clock of {made.name}")
        clock.step(days)
        return clock.shown_to(made)

    node = RliSettings(node="n0", listen=url.removeprefix("http://"), matrix_bytes_max=1 << 30, index=index)
    made = {"n0": shown(1, process("rli", settings_file(path / "n0.toml", node), url))}
    for site, days in SITES.items():
        listen = f"127.0.0.1:{free_port()}"
        told = LrcSettings(site=site, store=str(path / f"store {site}"), listen=listen, index=index)
        made[site] = shown(days, process("lrc", settings_file(path / f"{site}.toml", told), f"http://{listen}"))
    own = Clock(path / "clock")
    listen = f"127.0.0.1:{free_port()}"
    settings = PlacementSettings(
        listen=listen,
        database=f"sqlite:///{path / 'placement.db'}",
        pull_interval_s=0.2,
        save_interval_s=0.2,
        max_observation_age=60.0,
        index=index,
    )
    told = settings_file(path / "placement.toml", settings)
    made["placement"] = own.shown_to(process("placement", told, f"http://{listen}"))
    return made, own, settings


async def test_clocks_of_catalogs_and_nodes_do_not_matter_and_those_of_services_are_told(tmp_path: Path) -> None:
    made, own, settings = grid_of_days(tmp_path)
    database = None
    try:
        for each in made.values():
            each.start()
            await each.answering()
        for site in SITES:
            async with LrcClient(made[site].url) as catalog:
                await catalog.put([MappingItem("/f", f"file:///{site}/f", 5, None, "/a#1")])
        async with PlacementClient(made["placement"].url) as client:
            sites = [SiteItem(site=Site(name=name, lrc=made[name].url)) for name in SITES]
            await client.inject(InjectBody(sites=sites))

            async def news() -> list[bool]:
                told = (await client.inventory()).sites
                return [
                    site.complete and site.age_s is not None and site.age_s < 60 and site.bytes == 5 for site in told
                ]

            await until(news, lambda seen: seen == [True, True], "the news of both sites is complete and fresh")
            written = await client.order([WishItem("delete", "/a#1", "T2")])
            assert len(written.written) == 1

        # Another service at the same database, by the machine's clock.
        database = Database(settings.database)

        for day in (1, 0, -1, 0):
            own.step(day)
            await until(lambda: said(database), partial(as_expected, day), f"of a service {day:+} days away")
    finally:
        if database is not None:
            database.close()
        for each in made.values():
            each.kill()


SAID = {1: "from 24 h in the future: a clock is or was wrong", -1: "24 h old"}


def as_expected(day: int, told: str) -> bool:
    """Whether it is said of both sites why their news is of no use, or nothing where it is."""
    return not told if day == 0 else all(f"{site} (its news is {SAID[day]})" in told for site in SITES)


async def said(database: Database) -> str:
    """Why a cycle cannot start by the machine's clock; nothing where it does."""

    def run() -> str:
        try:
            cycle.run(Keeper(database), Nothing(), 60.0)
        except NewsMissing as wrong:
            return wrong.detail
        return ""

    return await asyncio.to_thread(run)
