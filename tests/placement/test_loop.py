"""The loop: catalogs tell the index, placement hears it, a carrier does what placement orders, and that is heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from carrier import Carrier
from grid import Grid, Service, grid, until

import placement.server
from placement import cycle
from placement.client import PlacementClient
from placement.database import Database
from placement.inventory import Inventory
from placement.keeper import Keeper
from placement.messages import GroupItem, InjectBody, OwnerItem, PartitionItem, QuotaItem, SiteItem, WishItem
from placement.recording import Decided
from placement.request_messages import DataRequest, RequestItem
from placement.settings import PlacementSettings
from reploc.client.lrc import LrcClient
from reploc.demo.ports import free_port
from reploc.demo.processes import ended
from reploc.errors import CollectionUnknown, DefinitionUnknown, InventoryInvalid, NewsMissing
from reploc.sites import Site
from reploc.wire import DeleteItem, MappingItem

BLOCKS = {"/a#1": 3, "/a#2": 2, "/b": 1}
SIZE = 100


def mappings(site: str, block: str, files: int) -> list[MappingItem]:
    names = [f"/store{block.replace('#', '/')}/{number}" for number in range(files)]
    return [MappingItem(lfn, f"file:///{site}{lfn}", SIZE, None, block) for lfn in names]


async def fill(held: Grid, site: str, *blocks: str) -> None:
    await held.site(site)
    await put(held, site, *blocks)


async def put(held: Grid, site: str, *blocks: str) -> None:
    async with LrcClient(held.sites[site].url) as client:
        for block in blocks:
            assert (await client.put(mappings(site, block, BLOCKS[block]))).errors == []


@asynccontextmanager
async def placed(held: Grid, path: Path, **changes: object) -> AsyncIterator[tuple[Service, PlacementClient]]:
    """A placement service that hears the grid's index, and has its sites defined."""
    port = free_port()
    told: dict[str, object] = {
        "listen": f"127.0.0.1:{port}",
        "database": f"sqlite:///{path / 'placement.db'}",
        "pull_interval_s": 0.1,
        "max_observation_age": 30.0,
        "index": held.index,
    }
    service = Service(placement.server.compose, PlacementSettings(**told | changes), f"http://127.0.0.1:{port}")  # type: ignore[arg-type]
    await service.start()
    try:
        async with PlacementClient(service.url) as client:
            sites = [SiteItem(site=Site(name=name, lrc=site.url)) for name, site in held.sites.items()]
            await client.inject(InjectBody(sites=sites, groups=[GroupItem(name="physics")]))
            yield service, client
    finally:
        await service.stop()


async def replicas(client: PlacementClient, dataset: str) -> dict[tuple[str, str], tuple[int, bool]]:
    """(block, site) → (files there, complete)."""
    try:
        told = await client.dataset(dataset)
    except DefinitionUnknown:
        return {}
    return {(each.block, each.site): (each.files, each.complete) for each in told.replicas if each.files}


async def told_whole(client: PlacementClient) -> dict[tuple[str, str], tuple[int, bool]] | None:
    """What `replicas` says of /a, once the news of every site is complete: until then its copies are no survivors."""
    return await replicas(client, "/a") if all(site.complete for site in (await client.inventory()).sites) else None


WHOLE = {("/a#1", "T1"): (3, True), ("/a#2", "T1"): (2, True), ("/a#1", "T2"): (3, True)}


async def test_what_catalogs_hold_is_in_the_inventory_from_the_index_alone(tmp_path: Path) -> None:
    async with grid(tmp_path, 2) as held:
        await fill(held, "T1", "/a#1", "/a#2")
        await fill(held, "T2", "/a#1")
        async with placed(held, tmp_path) as (_, client):
            await until(lambda: told_whole(client), lambda seen: seen == WHOLE, "the inventory has it")
            all_of_it = [("T1", True, 5 * SIZE), ("T2", True, 3 * SIZE)]
            await until(
                client.inventory,
                lambda seen: [(site.name, site.complete, site.bytes) for site in seen.sites] == all_of_it,
                "the news of both sites is complete",
            )
            # A file that goes, and a block that comes, are heard of.
            await put(held, "T2", "/b")
            async with LrcClient(held.sites["T1"].url) as catalog:
                await catalog.delete([DeleteItem(mappings("T1", "/a#2", 1)[0].lfn)])
            less = WHOLE | {("/a#2", "T1"): (1, False)}
            await until(lambda: replicas(client, "/a"), lambda seen: seen == less, "a file is gone")
            await until(lambda: replicas(client, "/b"), bool, "a dataset is new")


async def test_an_order_becomes_files_and_the_news_of_them_ends_it(tmp_path: Path) -> None:
    async with grid(tmp_path, 2) as held:
        await fill(held, "T1", "/a#1", "/a#2")
        await fill(held, "T2", "/a#1")
        await fill(held, "T3")
        async with placed(held, tmp_path) as (service, client):
            await until(lambda: told_whole(client), lambda seen: seen == WHOLE, "the inventory has it")
            copy = await client.order([WishItem("copy", "/a", "T3", "physics"), WishItem("delete", "/a#1", "T2")])
            assert len(copy.written) == 2
            carrier = Carrier(service.url, {name: site.url for name, site in held.sites.items()})
            assert await carrier.work() == 2
            moved = {(block, "T3"): files for (block, site), files in WHOLE.items() if site == "T1"}
            expected = {key: told for key, told in WHOLE.items() if key[1] == "T1"} | moved
            await until(
                lambda: replicas(client, "/a"), lambda seen: seen == expected, "the copy is seen, the deletion too"
            )
            await until(client.status, lambda status: status.pending_orders == 0, "the orders are observed")
            told = await client.dataset("/a")
            assert {(each.site, each.group) for each in told.replicas} == {("T1", "None"), ("T3", "physics")}
            history = await client.order_history()
            assert {(order.kind, order.state) for order in history.orders} == {("copy", "done"), ("delete", "done")}


async def test_a_deletion_that_people_want_is_done_once_another_copy_survives(tmp_path: Path) -> None:
    """Until then the request waits and says why; its end is what the catalog says, not what the carrier does."""
    async with grid(tmp_path, 2) as held:
        await fill(held, "T1", "/a#1", "/a#2")
        await fill(held, "T2", "/a#1")
        async with placed(held, tmp_path) as (service, client):
            await until(lambda: told_whole(client), lambda seen: seen == WHOLE, "the inventory has it")

            async def asked() -> DataRequest:
                return (await client.requests()).requests[0]

            (number,) = (await client.ask([RequestItem("delete", "/a#2", ["T1"])], "jane")).ids
            alone = "'/a#2' at T1: no other copy of it would survive"
            await until(
                asked, lambda seen: (seen.state, seen.reason) == ("new", alone), "the request says why it waits"
            )
            await put(held, "T2", "/a#2")
            await until(asked, lambda seen: seen.state == "activated", "the deletion is ordered")
            ((order,), by) = ((await asked()).orders, (await asked()).asked_by)
            assert (order.site, by) == ("T1", "jane")
            carrier = Carrier(service.url, {name: site.url for name, site in held.sites.items()})
            assert await carrier.work() == 1
            await until(asked, lambda seen: seen.state == "completed", "the request is completed")
            assert ("/a#2", "T1") not in await replicas(client, "/a")
            assert await client.cancel_requests([number]) == []


async def test_copies_that_people_ask_for_are_ordered_by_a_cycle_of_the_dealer_and_arrive(tmp_path: Path) -> None:
    """From a request over HTTP to what the catalogs say, with the dealer as its command."""
    config = tmp_path / "dealer.toml"
    config.write_text('[dealer]\npartition = "P"\nmax_site_pending_fraction = 1.0\n[dealer.plugins.request]\n')
    store = f"sqlite:///{tmp_path / 'placement.db'}"
    async with grid(tmp_path, 2) as held:
        await fill(held, "T1", "/a#1", "/a#2")
        await fill(held, "T2", "/a#1")
        await fill(held, "T3")
        async with placed(held, tmp_path, save_interval_s=0.1) as (service, client):
            await until(lambda: told_whole(client), lambda seen: seen == WHOLE, "the inventory has it")
            quotas = [QuotaItem(site=site, partition="P", quota=10**6) for site in held.sites]
            await client.inject(InjectBody(partitions=[PartitionItem(name="P", condition="always")], quotas=quotas))
            (number,) = (await client.ask([RequestItem("copy", "/a", ["T2", "T3"], "physics")], "jane")).ids

            async def request() -> DataRequest:
                return (await client.requests()).requests[0]

            async def ran() -> int:
                command = ["placement", "dealer", "run", "--config", str(config), "--database", store]
                status, _, said = await ended(command)
                assert status in (0, 4), said
                return status

            await until(ran, lambda status: status == 0, "the dealer has news of every site, as it was saved")
            told = await request()
            assert (told.id, told.state) == (number, "activated")
            assert sorted(order.site for order in told.orders) == ["T2", "T3"]
            carrier = Carrier(service.url, {name: site.url for name, site in held.sites.items()})
            assert await carrier.work() == 2
            done = (await client.cycles()).cycles[0]
            assert (done.kind, done.outcome, done.totals["copies"]) == ("dealer", "done", 2)

            async def completed() -> bool:
                """What was at T2 before is nobody's, until a cycle that finds it whole hands it over."""
                return await ran() == 0 and (await request()).state == "completed"

            await until(completed, bool, "both copies are seen, and the group's")
            owners = {(each.site, each.group) for each in (await client.dataset("/a")).replicas}
            assert owners == {("T1", "None"), ("T2", "physics"), ("T3", "physics")}


async def test_a_person_cannot_order_what_would_lose_data_or_cannot_be(tmp_path: Path) -> None:
    async with grid(tmp_path, 1) as held:
        await fill(held, "T1", "/a#1", "/a#2")
        await fill(held, "T2", "/a#1")
        async with placed(held, tmp_path) as (_, client):
            await until(lambda: told_whole(client), lambda seen: seen == WHOLE, "the inventory has it")
            refused = [
                ([WishItem("delete", "/a", "T1")], InventoryInvalid, "'/a#2' at T1: no other copy of it would survive"),
                (
                    [WishItem("delete", "/a#1", "T1"), WishItem("delete", "/a#1", "T2")],
                    InventoryInvalid,
                    "no other copy of it would survive",
                ),
                ([WishItem("copy", "/a#1", "T2")], InventoryInvalid, "all of it is there already"),
                ([WishItem("delete", "/a#2", "T2")], InventoryInvalid, "nothing of it is there"),
                ([WishItem("copy", "/zz", "T2")], DefinitionUnknown, "'/zz' is not defined"),
                ([WishItem("copy", "/a", "T9")], DefinitionUnknown, "site 'T9' is not defined"),
                ([WishItem("copy", "/a", "T2", "nobody")], DefinitionUnknown, "group 'nobody' is not defined"),
            ]
            for items, kind, said in refused:
                with pytest.raises(kind, match=said):
                    await client.order(items)
            assert (await client.order_history()).orders == ()


async def test_after_total_loss_of_observations_everything_is_there_again_from_the_index(tmp_path: Path) -> None:
    async with grid(tmp_path, 2) as held:
        await fill(held, "T1", "/a#1", "/a#2")
        await fill(held, "T2", "/a#1")
        async with placed(held, tmp_path) as (service, client):
            await until(lambda: told_whole(client), lambda seen: seen == WHOLE, "the inventory has it")
            await client.inject(InjectBody(owners=[OwnerItem("/a", "T1", "physics")]))
            await service.stop()
            store = Database(f"sqlite:///{tmp_path / 'placement.db'}")
            Keeper(store).forget_observations()
            store.close()
            await service.start()
            await until(lambda: replicas(client, "/a"), lambda seen: seen == WHOLE, "the inventory has it again")
            groups = {(each.site, each.group) for each in (await client.dataset("/a")).replicas}
            assert groups == {("T1", "physics"), ("T2", "None")}


async def test_a_site_that_falls_silent_keeps_its_copies_and_grows_old(tmp_path: Path) -> None:
    async with grid(tmp_path, 2) as held:
        await fill(held, "T1", "/a#1", "/a#2")
        await fill(held, "T2", "/a#1")
        async with placed(held, tmp_path, max_observation_age=1.0) as (_, client):
            await until(lambda: told_whole(client), lambda seen: seen == WHOLE, "the inventory has it")
            await held.sites["T1"].stop()

            async def age() -> float:
                status = await client.inventory()
                return next(site.age_s or 0.0 for site in status.sites if site.name == "T1")

            await until(age, lambda seen: seen > 3.0, "the news of T1 is old")
            assert await replicas(client, "/a") == WHOLE
            # Its copies are no survivors: what T2 has may not go.
            with pytest.raises(InventoryInvalid, match="no other copy of it would survive"):
                await client.order([WishItem("delete", "/a#1", "T2")])
            with pytest.raises(InventoryInvalid, match="no READY site with fresh news"):
                await client.order([WishItem("copy", "/a#2", "T2")])


class Deciding:
    """Decides nothing, and says so in its decisions."""

    kind, policy = "test", "nothing"

    def decide(self, inventory: Inventory, now: float, left_out: frozenset[str]) -> Decided:
        return Decided(decisions=b"nothing at all")


async def test_an_index_that_is_not_complete_starts_no_cycle_and_loses_nothing(tmp_path: Path) -> None:
    """Of two nodes with half the slots each one is gone: what it told is kept, and is no base of any decision."""
    async with grid(tmp_path, 2, redundancy=1) as held:
        await fill(held, "T1", "/a#1", "/a#2")
        await fill(held, "T2", "/a#1")
        async with placed(held, tmp_path, save_interval_s=0.1) as (_, client):
            await until(lambda: told_whole(client), lambda seen: seen == WHOLE, "the inventory has it")
            store = Database(f"sqlite:///{tmp_path / 'placement.db'}")

            async def cycle_said() -> str:
                """Why no cycle starts; by a service of its own at the same database."""
                try:
                    done = await asyncio.to_thread(cycle.run, Keeper(store), Deciding(), 30.0)
                except NewsMissing as wrong:
                    return wrong.detail
                return f"cycle {done.number}"

            try:
                number = int((await until(cycle_said, lambda said: said[:5] == "cycle", "one starts"))[6:])
                assert (await client.decisions(number)).decisions == b"nothing at all"
                with pytest.raises(DefinitionUnknown, match="cycle 999 is not defined"):
                    await client.decisions(999)
                await held.nodes["n1"].stop()
                both = ("T1 (its news is incomplete)", "T2 (its news is incomplete)")
                await until(cycle_said, lambda said: all(each in said for each in both), "none starts, and it says why")
                assert await replicas(client, "/a") == WHOLE
                with pytest.raises(InventoryInvalid, match="no other copy of it would survive"):
                    await client.order([WishItem("delete", "/a#1", "T2")])
                await held.nodes["n1"].start()
                await until(cycle_said, lambda said: said[:5] == "cycle", "one starts again")
            finally:
                store.close()


async def test_what_is_told_over_http_is_there_and_listed(tmp_path: Path) -> None:
    async with grid(tmp_path, 1) as held:
        await fill(held, "T1", "/a#1")
        async with placed(held, tmp_path) as (_, client):
            body = InjectBody(
                partitions=[PartitionItem(name="Default", condition="blockreplica.owner != None")],
                quotas=[QuotaItem(site="T1", partition="Default", quota=10**15)],
            )
            injected = await client.inject(body)
            assert (injected.partitions, injected.quotas) == (1, 1)
            told = await client.definitions()
            assert (told.partitions, told.quotas) == (body.partitions, body.quotas)
            assert [item.site.name for item in told.sites] == ["T1"]
            with pytest.raises(CollectionUnknown, match="is not defined"):
                await client.block_files("/nowhere#1")
            await until(lambda: client.datasets("/*"), lambda page: len(page.datasets) == 1, "the dataset is listed")
            assert (await client.datasets("/x*")).datasets == []
            await asyncio.gather(*(client.pull() for _ in range(3)))
