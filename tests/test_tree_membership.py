"""Levels of a hierarchy that find each other by a real etcd: parents join and leave, and children are believed."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from etcd_server import EtcdServer
from grid import Service, Site, node, pfns, until
from msgspec.structs import replace
from plain_http import ask
from tree import above, level

import rli.server
from reploc.client.index import RliClient
from reploc.hierarchy import Child
from reploc.members import IndexSettings, Node, ParentsSettings
from reploc.membership import MembershipSettings
from rli.settings import RliSettings

LFNS = [f"/run/{number}" for number in range(30)]
NOWHERE = "/nowhere"


@pytest.fixture
async def etcd(tmp_path: Path) -> AsyncIterator[EtcdServer]:
    server = EtcdServer(tmp_path)
    try:
        await server.start()
        yield server
    finally:
        server.kill()


def top_membership(etcd: EtcdServer) -> MembershipSettings:
    return MembershipSettings(kind="etcd", endpoints=[etcd.url], prefix="/tops/", lease_s=2, settle_s=0.1)


class Tops:
    """Parents of one index, which know each other and their children by the etcd alone."""

    def __init__(self, etcd: EtcdServer, *names: str, **more: Any) -> None:
        self.index = level(*names)
        self.membership = top_membership(etcd)
        #: As a child is told of it: no node by name.
        self.told = ParentsSettings(**{name: getattr(above(self.index), name) for name in _SHARED})
        self.nodes = {name: self._node(name, more or {"registered_children": True}) for name in names}

    def _node(self, name: str, more: dict[str, Any]) -> Service:
        url = self.index.urls[name]
        told = RliSettings(
            node=name,
            url=url,
            listen=url.removeprefix("http://"),
            index=replace(self.index, nodes=[], redundancy=1),
            membership=self.membership,
            matrix_bytes_max=1 << 30,
            **more,
        )
        return Service(rli.server.compose, told, url)

    def child(self, name: str, index: IndexSettings) -> Service:
        return node(name, index, parents=self.told, parents_membership=self.membership)


_SHARED = (
    "slots",
    "error_rate",
    "compression",
    "lfn_partition",
    "renewal_interval_s",
    "increment_interval_s",
    "expiry_s",
)


@asynccontextmanager
async def running(*services: Service) -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        for each in services:
            stack.push_async_callback(each.stop)
            await each.start()
        yield stack


async def settled(top: Service, sites: list[Site]) -> None:
    """Waits until a lookup that begins at this node is complete and right."""
    asked = [*LFNS, NOWHERE]
    truth = {lfn: {site.pfn(lfn) for site in sites if lfn in site.held} for lfn in asked}
    async with RliClient([top.url]) as client:
        await until(
            lambda: client.lookup(asked),
            lambda said: said.complete and pfns(said) == truth,
            "lookups from the top are complete and right",
        )


async def members(of: Service) -> dict[str, Any]:
    said: dict[str, Any] = (await ask(of.url + "/v1/members"))[1]
    return said


def heard(said: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["state"] for one in said["members"] if one["kind"] == "child"}


async def test_children_follow_the_parents_that_the_etcd_names_and_parents_believe_them(
    tmp_path: Path, etcd: EtcdServer
) -> None:
    tops = Tops(etcd, "top-1", "top-2")
    eu, us = level("eu"), level("us")
    sites = [Site("cern", tmp_path / "cern", eu), Site("fnal", tmp_path / "fnal", us)]
    # The child is there before any parent is.
    async with running(tops.child("eu", eu), *sites) as stack:
        await sites[0].put(LFNS)
        await sites[1].put(LFNS[::2])
        first, second = tops.nodes["top-1"], tops.nodes["top-2"]
        stack.push_async_callback(first.stop)
        await first.start()
        await settled(first, sites[:1])
        # A second parent, and a second child.
        later = tops.child("us", us)
        for each in (second, later):
            stack.push_async_callback(each.stop)
            await each.start()
        for top in (first, second):
            await settled(top, sites)
        await until(lambda: members(later), lambda said: _names(said["parents"]) == ["top-1", "top-2"], "both are told")
        # A parent that leaves is told nothing any more, when its lease has ended.
        await first.stop()
        await until(lambda: members(later), lambda said: _names(said["parents"]) == ["top-2"], "one is told")
        await sites[0].delete(LFNS[:5])
        await settled(second, sites)


async def test_a_child_that_dies_is_missing_though_its_lease_has_ended(tmp_path: Path, etcd: EtcdServer) -> None:
    tops = Tops(etcd, "top-1")
    eu = level("eu")
    site, child, top = Site("cern", tmp_path / "cern", eu), tops.child("eu", eu), tops.nodes["top-1"]
    async with running(top, child, site):
        await site.put(LFNS)
        await settled(top, [site])
        await child.stop()
        await until(
            lambda: members(top),
            lambda said: not [one for one in said["services"] if one["kind"] == "child"],
            "its lease has ended",
        )
        async with RliClient([top.url]) as client:
            await until(
                lambda: client.lookup(LFNS), lambda said: not said.complete and said.missing == ["eu"], "it is missing"
            )
        await child.start()
        await settled(top, [site])


async def test_everything_goes_on_while_the_etcd_is_away_and_when_it_comes_back_empty(
    tmp_path: Path, etcd: EtcdServer
) -> None:
    tops = Tops(etcd, "top-1")
    eu = level("eu")
    site, child, top = Site("cern", tmp_path / "cern", eu), tops.child("eu", eu), tops.nodes["top-1"]
    async with running(top, child, site):
        await site.put(LFNS[:20])
        await settled(top, [site])
        etcd.kill()
        await site.put(LFNS[20:])
        await settled(top, [site])
        etcd.forget()
        await etcd.start()
        kinds = [("child", "eu"), ("rli", "top-1")]
        await until(
            lambda: members(top),
            lambda said: sorted((one["kind"], one["name"]) for one in said["services"]) == kinds,
            "both are in the etcd again",
        )
        await site.delete(LFNS[:3])
        await settled(top, [site])


async def test_whoever_puts_itself_into_the_etcd_is_no_child_unless_the_parent_takes_its_word(
    etcd: EtcdServer,
) -> None:
    tops = Tops(etcd, "top-1", children=[Child(name="eu")])
    us = level("us")
    stranger, top = tops.child("us", us), tops.nodes["top-1"]
    async with running(top, stranger):
        said = await until(
            lambda: ask(stranger.url + "/v1/status"),
            lambda said: [one["state"] for one in said[1]["parents"]] == ["refused"],
            "it is refused",
        )
        assert "'us' is no child of node 'top-1'" in said[1]["parents"][0]["error"]
        assert list(heard(await members(top))) == ["eu"]


def _names(listed: list[dict[str, Any]]) -> list[str]:
    return [one["name"] for one in listed]


ETCD: dict[str, Any] = {"kind": "etcd", "prefix": "/here/"}
HERE: dict[str, Any] = {"node": "a", "url": "http://a:1", "index": IndexSettings(compression="none", collections=False)}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"registered_children": True}, "there is no registry to find them in"),
        (
            {"membership": MembershipSettings(**ETCD), "parents_membership": MembershipSettings(**ETCD)},
            "its own parent",
        ),
        (
            {"registered_children": True, "membership": MembershipSettings(**ETCD), "index": IndexSettings()},
            "index.collections false",
        ),
        (
            {"parents_membership": MembershipSettings(**ETCD), "index": IndexSettings(compression="auto")},
            "nothing can be told",
        ),
    ],
)
def test_registries_that_make_no_tree_are_refused_at_the_start(told: dict[str, Any], words: str) -> None:
    alone = {"nodes": [Node(name="a", url="http://a:1")]}
    given = {**HERE, **told}
    with pytest.raises(ValueError, match=words):
        RliSettings(**{**given, "index": replace(given["index"], **alone)})
