"""What a client demands of an index node's answer, over real sockets: age, proof and bare existence."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from grid import Service, index_settings, node
from plain_http import MSGPACK, ask, raw
from sender_double import SenderDouble
from service_doubles import CatalogDouble, serving, stall

import rli.server
from reploc import metalink
from reploc.client import RliClient
from reploc.client.nearness import Nearness
from reploc.client.node import RliNodeClient
from reploc.questions import Demand
from reploc.wire import Ordering
from rli.settings import RliSettings


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


# ---- the order and the form of copies --------------------------------------------------------------------------------


@pytest.fixture
async def three() -> AsyncIterator[str]:
    """A node that has heard of `/a` at A, B and C, and knows that B is nearest to X."""
    index = index_settings(1, slots=4, expiry_s=3600.0)
    told = RliSettings(
        node="n0", listen=index.urls["n0"].removeprefix("http://"), index=index, distance={"X": {"B": 1.0, "C": 2.0}}
    )
    async with AsyncExitStack() as stack:
        served = Service(rli.server.compose, told, index.urls["n0"])
        await served.start()
        stack.push_async_callback(served.stop)
        for site in "ABC":
            catalog = CatalogDouble({"/a": [f"https://{site.lower()}/a"]})
            lrc = await stack.enter_async_context(serving(catalog.routes()))
            await tell(served.url, SenderDouble(index, site, lrc, f"sender-{site}", names=["/a"]).news())
        yield served.url


async def test_copies_are_ordered_for_the_site_of_the_client(three: str) -> None:
    _, said = await ask(three + "/v1/replicas?lfn=/a")
    assert [copy["site"] for copy in said["replicas"]] == ["A", "B", "C"]
    assert said["ordering"] == {"by": "name", "reason": "no client_site was given"}
    _, said = await ask(three + "/v1/replicas?lfn=/a&client_site=X")
    assert [copy["site"] for copy in said["replicas"]] == ["B", "C", "A"]
    _, many = await ask(three + "/v1/replicas", body={"lfns": ["/a"], "client_site": "X"})
    assert (many["replicas"]["/a"], many["ordering"]) == (said["replicas"], said["ordering"])
    _, said = await ask(three + "/v1/replicas?lfn=/a&client_site=Z")
    assert said["ordering"] == {"by": "round_trip", "reason": "no distance is configured from Z to A, B, C"}
    status, problem = await ask(three + "/v1/replicas?lfn=/a&client_site=no/site")
    assert (status, problem["code"]) == (400, "query-invalid")
    async with RliNodeClient(three) as client, RliClient([three]) as index:
        assert (await client.replica("/a", client_site="X")).replicas[0].site == "B"
        assert (await client.replicas(["/a"], client_site="C")).replicas["/a"][0].site == "C"
        nearness = Nearness({"Y": {"A": 3.0, "B": 2.0, "C": 1.0}})
        found = await index.lookup(["/a"], client_site="Y", nearness=nearness)
        assert ([copy.site for copy in found.replicas["/a"]], found.ordering) == (["C", "B", "A"], Ordering("distance"))


async def test_copies_come_as_metalink_where_that_is_accepted(three: str) -> None:
    _, document = await ask(three + "/v1/replicas?lfn=/a&client_site=X", accept=metalink.MEDIA)
    urls = [url.text for url in ElementTree.fromstring(document).iter(f"{{{metalink.NAMESPACE}}}url")]
    assert urls == ["https://b/a", "https://c/a", "https://a/a"]


async def test_a_client_is_sent_to_the_nearest_copy(three: str) -> None:
    head = await raw(three, b"GET /v1/redirect?lfn=/a&client_site=C HTTP/1.1\r\nHost: a\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0].startswith("HTTP/1.1 307")
    assert "Location: https://c/a" in lines
    assert any(line.startswith("Link: </v1/replicas?lfn=%2Fa>; rel=describedby") for line in lines)
    status, problem = await ask(three + "/v1/redirect?lfn=/none")
    assert (status, problem["code"]) in ((404, "lfn-unknown"), (503, "unavailable"))
