"""What a client demands of an index node's answer, over real sockets: age, proof and bare existence."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from grid import index_settings, node
from plain_http import MSGPACK, ask
from sender_double import SenderDouble
from service_doubles import CatalogDouble, serving, stall

from reploc.client import RliClient
from reploc.client.node import RliNodeClient
from reploc.questions import Demand


@dataclass
class World:
    """A node that has heard of `/old` at A, which has meanwhile got `/new` and lost `/old`."""

    url: str
    catalog: CatalogDouble


@pytest.fixture
async def world() -> AsyncIterator[World]:
    index = index_settings(1, slots=4, expiry_s=3600.0)
    async with AsyncExitStack() as stack:
        served = node("n0", index)
        await served.start()
        stack.push_async_callback(served.stop)
        catalog = CatalogDouble({"/new": ["file:///new"]})
        lrc = await stack.enter_async_context(serving(catalog.routes()))
        await tell(served.url, SenderDouble(index, "A", lrc, "sender-a", names=["/old"]).news())
        yield World(served.url, catalog)


async def tell(url: str, message: msgspec.Struct) -> None:
    status, said = await ask(
        url + "/v1/softstate", body=msgspec.msgpack.decode(msgspec.msgpack.encode(message)), media=MSGPACK
    )
    assert status == 200, said


async def located(world: World, lfn: str, **demand: Any) -> tuple[list[str], list[str], list[str]]:
    """(sites, stale, unverified), the same from both forms of the question."""
    _, many = await ask(world.url + "/v1/locations", body={"lfns": [lfn], **demand})
    query = "".join(f"&{key}={str(value).lower()}" for key, value in demand.items())
    _, one = await ask(f"{world.url}/v1/locations?lfn={lfn}{query}")
    assert [site["site"] for site in one["sites"]] == many["locations"][lfn]
    assert (one["stale"], one["unverified"]) == (many["stale"], many["unverified"])
    return many["locations"][lfn], many["stale"], many["unverified"]


async def test_news_that_is_too_old_is_replaced_by_the_catalogs_word(world: World) -> None:
    assert await located(world, "/old") == (["A"], [], [])
    assert await located(world, "/old", max_age_s=0) == ([], [], [])
    assert await located(world, "/new") == ([], [], [])
    assert await located(world, "/new", max_age_s=0) == (["A"], [], [])
    _, said = await ask(world.url + "/v1/locations", body={"lfns": ["/new"], "max_age_s": 0})
    assert said["sites"]["A"]["age_s"] == 0.0


async def test_news_that_is_young_enough_is_used_and_nobody_is_asked(world: World) -> None:
    assert await located(world, "/old", max_age_s=3600) == (["A"], [], [])
    assert world.catalog.asked == []


async def test_a_site_that_cannot_be_asked_is_named_and_never_said_to_hold_nothing(world: World) -> None:
    world.catalog.trouble = stall
    assert await located(world, "/old", max_age_s=0, deadline_s=0.3) == ([], ["A"], [])
    assert await located(world, "/old", verify=True, deadline_s=0.3) == ([], [], ["A"])
    body = {"lfns": ["/old", "/new"], "max_age_s": 0, "deadline_s": 0.3}
    _, said = await ask(world.url + "/v1/exists", body=body)
    assert (said["may_hold"], said["nowhere"], said["unknown"]) == ([], [], ["/old", "/new"])
    assert said["stale"] == ["A"]
    _, said = await ask(world.url + "/v1/replicas", body=body)
    assert (said["incomplete"], said["stale"]) == (["/old", "/new"], ["A"])


async def test_verified_sites_are_asked_only_about_what_they_may_hold(world: World) -> None:
    world.catalog.mappings["/old"] = ["file:///old"]
    _, said = await ask(world.url + "/v1/locations", body={"lfns": ["/old", "/new"], "verify": True})
    assert said["locations"] == {"/old": ["A"], "/new": []}
    assert world.catalog.asked == [["/old"]]


async def test_resolved_lookups_find_what_the_news_do_not_know_yet(world: World) -> None:
    _, said = await ask(world.url + "/v1/replicas?lfn=/new")
    assert said["replicas"] == []
    _, said = await ask(world.url + "/v1/replicas?lfn=/new&max_age_s=0")
    assert [copy["pfns"] for copy in said["replicas"]] == [["file:///new"]]


async def test_the_clients_pass_the_demand_on(world: World) -> None:
    async with RliNodeClient(world.url) as client:
        assert (await client.exists(["/old"])).may_hold == ["/old"]
        assert (await client.exists(["/old"], Demand(verify=True))).may_hold == []
        assert [site.site for site in (await client.location("/new", Demand(max_age_s=0.0))).sites] == ["A"]
        assert (await client.replicas(["/new"], max_age_s=0.0)).replicas["/new"]
    async with RliClient([world.url]) as client:
        assert (await client.locate(["/new"], max_age_s=0.0)).said.locations == {"/new": ["A"]}
        assert (await client.locate(["/old"], verify=True)).said.locations == {"/old": []}
        assert (await client.exists(["/new", "/old"], max_age_s=0.0)).may_hold == ["/new"]
        assert (await client.lookup(["/new"], max_age_s=0.0)).replicas["/new"]


async def test_a_node_that_holds_nothing_of_a_slot_passes_the_demand_on_to_its_owner() -> None:
    index = index_settings(2, slots=4, redundancy=1, expiry_s=3600.0)
    async with AsyncExitStack() as stack:
        for name in index.urls:
            served = node(name, index)
            await served.start()
            stack.push_async_callback(served.stop)
        lrc = await stack.enter_async_context(serving(CatalogDouble({"/new": ["file:///new"]}).routes()))
        owned = index.ring.slots_owned("n0").tolist()
        sender = SenderDouble(index, "A", lrc, "sender-a", names=["/old"])
        await tell(index.urls["n0"], sender.news([sender.summary(slot) for slot in owned]))
        lfns = [f"/{number}" for number in range(20)] + ["/old", "/new"]
        _, said = await ask(index.urls["n1"] + "/v1/locations", body={"lfns": lfns, "verify": True})
        assert all(sites == [] for sites in said["locations"].values())
        assert said["unverified"] == []
