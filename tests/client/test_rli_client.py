"""The client of the index: who is asked, what happens when a node or a catalog fails, and what a deadline leaves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from service_doubles import CatalogDouble, NodeDouble, Trouble, nonsense, serving, stall

from reploc import digest
from reploc.client import RliClient, RliNodeClient
from reploc.errors import AnswerInvalid, DeadlineExceeded, IndexMismatch, NameInvalid, Unreachable
from reploc.ring import Ring
from reploc.wire import Locations

LFNS = [f"/data/file-{number}" for number in range(200)]


@asynccontextmanager
async def an_index(*nodes: NodeDouble) -> AsyncIterator[RliClient]:
    """The nodes as one index behind real sockets, and a client that knows them all."""
    async with AsyncExitStack() as stack:
        urls = {node.name: await stack.enter_async_context(serving(node.routes())) for node in nodes}
        for node in nodes:
            node.urls = urls
        yield await stack.enter_async_context(RliClient(list(urls.values())))


def nodes(count: int, **same: Any) -> list[NodeDouble]:
    return [NodeDouble(f"node-{number}", **same) for number in range(count)]


def owners(node: NodeDouble, lfn: str) -> list[str]:
    """The names of an LFN's owners, first choice first."""
    return list(node.ring.owners[digest.slots_of(digest.of([lfn]), node.slots)[0]])


async def test_each_lfn_is_asked_of_its_first_owner_and_of_no_other() -> None:
    index = nodes(4)
    async with an_index(*index) as client:
        located = await client.locate(LFNS)
    for node in index:
        asked = [lfn for batch in node.asked for lfn in batch]
        assert sorted(asked) == sorted(lfn for lfn in LFNS if owners(node, lfn)[0] == node.name)
    assert located.complete
    assert set(located.said.locations) == set(LFNS)


async def test_an_lfn_that_stands_twice_is_asked_once() -> None:
    (node,) = nodes(1, redundancy=1)
    async with an_index(node) as client:
        await client.locate(["/a", "/a"])
    assert node.asked == [["/a"]]


async def test_sites_come_with_address_and_age() -> None:
    (node,) = nodes(1, redundancy=1, held={"/a": ["X"]}, sites={"X": "http://x:1"})
    async with an_index(node) as client:
        said = (await client.locate(["/a"])).of("/a")
    assert [(site.site, site.lrc, site.age_s) for site in said.sites] == [("X", "http://x:1", 1.0)]
    assert said.complete


@pytest.mark.parametrize("trouble", [nonsense, stall])
async def test_the_next_owner_answers_for_one_that_fails(trouble: Trouble) -> None:
    index = nodes(3, held={key: ["X"] for key in LFNS}, sites={"X": "http://x:1"})
    index[1].trouble = trouble
    async with an_index(*index) as client:
        located = await client.locate(LFNS, deadline_s=2.0)
    assert located.complete
    assert all(sites == ["X"] for sites in located.said.locations.values())
    assert set(located.nodes) == {"node-1"}


async def test_a_node_that_failed_is_asked_last_afterwards() -> None:
    index = nodes(3)
    index[1].trouble = nonsense
    async with an_index(*index) as client:
        await client.locate(LFNS)
        index[1].asked.clear()
        located = await client.locate(LFNS)
    assert index[1].asked == []
    assert located.nodes == {}


async def test_a_node_that_is_gone_costs_no_lookup() -> None:
    index = nodes(3, held={key: ["X"] for key in LFNS}, sites={"X": "http://x:1"})
    async with AsyncExitStack() as stack:
        urls = {node.name: await stack.enter_async_context(serving(node.routes())) for node in index[:2]}
        for node in index:
            node.urls = urls | {"node-2": "http://127.0.0.1:1"}
        client = await stack.enter_async_context(RliClient(["http://127.0.0.1:1", urls["node-0"]]))
        located = await client.locate(LFNS)
    assert located.complete
    assert located.answered == frozenset(LFNS)


async def test_an_incomplete_answer_is_completed_by_the_other_owner() -> None:
    index = nodes(2, sites={"X": "http://x:1", "Y": "http://y:1"})
    first, second = sorted(index, key=lambda node: owners_first(node, "/a"))
    first.held, first.incomplete, first.missing = {"/a": ["X"]}, {"/a"}, ["Y"]
    second.held = {"/a": ["Y"]}
    async with an_index(first, second) as client:
        said = (await client.locate(["/a"])).of("/a")
    assert [site.site for site in said.sites] == ["X", "Y"]
    assert said.complete
    assert said.missing == []


def owners_first(node: NodeDouble, lfn: str) -> bool:
    """Sorts an LFN's first owner before the second, in an index of node-0 and node-1."""
    probe = NodeDouble("probe", urls={"node-0": "", "node-1": ""})
    return owners(probe, lfn)[0] != node.name


async def test_where_no_owner_is_complete_all_their_sites_count_and_the_missing_are_named() -> None:
    index = nodes(2, sites={"X": "http://x:1", "Y": "http://y:1"}, incomplete={"/a"})
    index[0].held, index[0].missing = {"/a": ["X"]}, ["Z"]
    index[1].held, index[1].missing = {"/a": ["Y", "X"]}, ["Z"]
    async with an_index(*index) as client:
        said = (await client.locate(["/a", "/b"])).of("/a")
    assert {site.site for site in said.sites} == {"X", "Y"}
    assert not said.complete
    assert said.missing == ["Z"]


async def test_lfns_whose_owners_all_fail_are_incomplete_and_the_others_are_answered() -> None:
    """Others are asked for them, and say that they cannot reach the owners either."""
    index = nodes(4, redundancy=1, held={key: ["X"] for key in LFNS}, sites={"X": "http://x:1"})
    index[2].trouble = nonsense
    async with an_index(*index) as client:
        lost = {lfn for lfn in LFNS if owners(index[0], lfn) == ["node-2"]}
        for node in index:
            node.held, node.incomplete = {lfn: ["X"] for lfn in LFNS if lfn not in lost}, lost
        located = await client.locate(LFNS)
    assert lost
    assert set(located.said.incomplete) == lost
    assert "answered 'text/html'" in located.nodes["node-2"]


async def test_a_node_that_owns_nothing_of_a_slot_is_asked_where_no_owner_answers() -> None:
    """It forwards the question: the client may be cut off from nodes that reach each other."""
    index = nodes(4, redundancy=2, held={key: ["X"] for key in LFNS}, sites={"X": "http://x:1"})
    index[0].trouble = index[1].trouble = nonsense
    async with an_index(*index) as client:
        for _ in range(2):
            located = await client.locate(LFNS)
            assert located.complete
            assert all(located.said.locations.values())


async def test_when_nobody_can_be_asked_the_error_names_the_nodes() -> None:
    async with RliClient(["http://127.0.0.1:1", "http://127.0.0.1:2"]) as client:
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1.*refused.*127\.0\.0\.1:2.*refused"):
            await client.locate(["/a"])


async def test_when_all_nodes_stall_the_deadline_is_the_error() -> None:
    index = nodes(2, trouble=stall)
    async with an_index(*index) as client:
        with pytest.raises(DeadlineExceeded, match="no owner of the slots answered"):
            await client.locate(["/a"], deadline_s=0.4)


async def test_an_answer_that_leaves_out_lfns_is_not_believed() -> None:
    async def forgetful() -> Locations:
        return Locations({}, [], [], {})

    (node,) = nodes(1, redundancy=1, trouble=forgetful)
    async with an_index(node) as client:
        with pytest.raises(AnswerInvalid, match="answered for 0 of 1 LFNs"):
            await client.locate(["/a"])


async def test_a_node_with_another_ring_is_refused() -> None:
    class Elsewhere(NodeDouble):
        @property
        def ring(self) -> Ring:
            return Ring(("somebody-else",), self.slots, self.redundancy)

    async with an_index(Elsewhere("node-0")) as client:
        with pytest.raises(IndexMismatch, match="from its list of members it is"):
            await client.locate(["/a"])


async def test_the_owners_before_a_change_of_the_ring_are_asked_for_as_long_as_they_are_told_news() -> None:
    """Until `expiry_s` after the client learnt of the change; then what they know may be old."""
    old, new = nodes(2, redundancy=1, held={"/a": ["X"]}, sites={"X": "http://x:1"}, expiry_s=1.0)
    new.held, new.incomplete = {}, {"/a"}
    async with an_index(old, new) as client:
        urls, old.urls = old.urls, {old.name: old.urls[old.name]}
        new.urls = old.urls
        assert (await client.locate(["/a"])).complete
        old.urls = new.urls = {new.name: urls[new.name]}
        asked = len(old.asked)
        until = asyncio.get_running_loop().time() + 60
        while not new.asked:
            assert asyncio.get_running_loop().time() < until
            located = await client.locate(["/a"])
            assert located.of("/a").sites[0].site == "X", "the answer stays what it was"
            assert located.complete
            await asyncio.sleep(0.05)
        assert len(old.asked) > asked, "the owner before the change was asked"
        while (located := await client.locate(["/a"])).complete:
            assert asyncio.get_running_loop().time() < until
            await asyncio.sleep(0.05)
        assert located.of("/a").sites == []


async def test_a_name_that_is_none_is_refused_before_anybody_is_asked() -> None:
    async with RliClient(["http://127.0.0.1:1"]) as client:
        with pytest.raises(NameInvalid, match=r"lfns\[1\]"):
            await client.lookup(["/a", "/b\n"])


async def test_nothing_to_look_up_asks_nobody() -> None:
    async with RliClient(["http://127.0.0.1:1"]) as client:
        assert (await client.lookup([])).complete


async def test_one_node_says_what_it_knows_itself() -> None:
    (node,) = nodes(1, redundancy=1, held={"/a": ["X"]}, sites={"X": "http://x:1"})
    async with an_index(node), RliNodeClient(node.urls["node-0"]) as client:
        assert (await client.locations(["/a"])).locations == {"/a": ["X"]}
        assert (await client.members()).ring == node.ring.version
        assert (await client.status()).node == "node-0"


# ---- resolved lookups


@asynccontextmanager
async def sites(held: dict[str, list[str]], **catalogs: CatalogDouble) -> AsyncIterator[RliClient]:
    """Catalogs behind real sockets, and an index of one node that says where LFNs may be."""
    async with AsyncExitStack() as stack:
        urls = {site: await stack.enter_async_context(serving(each.routes())) for site, each in catalogs.items()}
        everywhere = {site: urls.get(site, "http://127.0.0.1:1") for named in held.values() for site in named}
        node = NodeDouble("node-0", held=held, sites=everywhere, redundancy=1)
        yield await stack.enter_async_context(an_index(node))


async def test_copies_come_from_the_sites_own_catalogs() -> None:
    held = {"/a": ["X", "Y"], "/b": ["Y"]}
    x, y = CatalogDouble({"/a": ["file:///x/a"]}), CatalogDouble({"/a": ["file:///y/a"], "/b": ["file:///y/b"]})
    async with sites(held, X=x, Y=y) as client:
        found = await client.lookup(["/a", "/b"])
    assert [(at.site, at.pfns) for at in found.of("/a").replicas] == [("X", ["file:///x/a"]), ("Y", ["file:///y/a"])]
    assert [(at.site, at.pfns) for at in found.of("/b").replicas] == [("Y", ["file:///y/b"])]
    assert found.complete
    assert x.asked == [["/a"]]


async def test_a_false_positive_vanishes() -> None:
    async with sites({"/a": ["X", "Y"]}, X=CatalogDouble(), Y=CatalogDouble({"/a": ["file:///y/a"]})) as client:
        said = (await client.lookup(["/a"])).of("/a")
    assert [at.site for at in said.replicas] == ["Y"]
    assert said.complete


async def test_a_catalog_that_cannot_be_reached_is_named_and_leaves_its_lfns_incomplete() -> None:
    held = {"/a": ["X", "Gone"], "/b": ["X"]}
    catalog = CatalogDouble({"/a": ["file:///a"], "/b": ["file:///b"]})
    async with sites(held, X=catalog) as client:
        found = await client.lookup(["/a", "/b"])
    assert found.of("/a").unreachable == ["Gone"]
    assert [at.site for at in found.of("/a").replicas] == ["X"]
    assert not found.of("/a").complete
    assert found.of("/b").complete
    assert "Connection refused" in found.unreachable["Gone"]
    assert found.message().unreachable == ["Gone"]


async def test_a_catalog_that_stalls_is_named_at_the_deadline() -> None:
    held = {"/a": ["Slow", "X"]}
    async with sites(held, Slow=CatalogDouble(trouble=stall), X=CatalogDouble({"/a": ["file:///a"]})) as client:
        found = await client.lookup(["/a"], deadline_s=3.0)
    assert [at.site for at in found.of("/a").replicas] == ["X"]
    assert found.of("/a").unreachable == ["Slow"]
    assert "deadline-exceeded" in found.unreachable["Slow"]


async def test_a_catalog_that_answers_nonsense_is_not_believed() -> None:
    async with sites({"/a": ["X"]}, X=CatalogDouble(trouble=nonsense)) as client:
        found = await client.lookup(["/a"])
    assert "answer-invalid" in found.unreachable["X"]
    assert not found.complete


async def test_a_long_lookup_asks_each_catalog_in_batches() -> None:
    lfns = [f"/{number}" for number in range(2500)]
    catalog = CatalogDouble({lfn: [f"file://{lfn}"] for lfn in lfns})
    async with sites({key: ["X"] for key in lfns}, X=catalog) as client:
        found = await client.lookup(lfns)
    assert sorted(map(len, catalog.asked)) == [500, 1000, 1000]
    assert all(found.replicas[lfn][0].pfns == [f"file://{lfn}"] for lfn in lfns)
