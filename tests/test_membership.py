"""Index nodes in a real etcd: they join and die under load, and the etcd goes away and comes back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from changing import EXPIRY_S, LFNS, NOWHERE, POOL, REDUNDANCY, Changing
from etcd_server import EtcdServer
from grid import Grid, Service, Site, index_settings, until
from msgspec.structs import replace
from parties import Parties
from plain_http import ask

import fileops.server
import placement.server
import rli.server
from fileops.settings import FileopsSettings
from placement.settings import PlacementSettings
from reploc import service
from reploc.demo.ports import free_port
from reploc.errors import NameInvalid, Unreachable
from reploc.members import IndexSettings
from reploc.membership import MembershipSettings
from rli.settings import RliSettings


@pytest.fixture
async def etcd(tmp_path: Path) -> AsyncIterator[EtcdServer]:
    server = EtcdServer(tmp_path)
    try:
        await server.start()
        yield server
    finally:
        server.kill()


def enlisted(name: str, pool: IndexSettings, membership: MembershipSettings) -> Service:
    """An index node that knows itself and the etcd, and no other node."""
    url = pool.urls[name]
    told = RliSettings(
        node=name,
        url=url,
        listen=url.removeprefix("http://"),
        index=replace(pool, nodes=[]),
        membership=membership,
        matrix_bytes_max=1 << 30,
    )
    return Service(rli.server.compose, told, url)


class Enlisting(Changing):
    """A grid of which nobody is told anything: nodes come and go, and the etcd has it."""

    def __init__(self, world: Grid, pool: IndexSettings, rng: Random, membership: MembershipSettings) -> None:
        super().__init__(world, pool, rng)
        self._membership = membership

    async def change_to(self, names: list[str]) -> None:
        print("ring", names)
        self.world.index = replace(self.world.index, nodes=[self._pool[name] for name in names])

    async def join(self) -> None:
        name = self.rng.choice(sorted(self._pool.keys() - self.world.index.urls.keys()))
        await self.start(name)
        await self.change_to(sorted([*self.world.index.urls, name]))

    async def start(self, name: str) -> None:
        pool = replace(self.world.index, nodes=list(self._pool.values()))
        self.world.nodes[name] = enlisted(name, pool, self._membership)
        await self.world.nodes[name].start()

    async def leave(self) -> None:
        gone = self.rng.choice(sorted(self.world.index.urls))
        print("die", gone)
        await self.world.nodes.pop(gone).stop()
        await self.change_to([name for name in self.world.index.urls if name != gone])


@asynccontextmanager
async def enlisting(path: Path, etcd: EtcdServer, seed: int) -> AsyncIterator[Enlisting]:
    """Three of five nodes run, and three sites hold names that overlap."""
    print(f"seed {seed}")
    pool = index_settings(POOL, redundancy=REDUNDANCY, expiry_s=EXPIRY_S)
    membership = MembershipSettings(kind="etcd", endpoints=[etcd.url], lease_s=4, settle_s=0.5)
    world = Grid(path, replace(pool, nodes=pool.nodes[:3]))
    world.nodes = {}
    ring = Enlisting(world, pool, Random(seed), membership)
    try:
        for each in pool.nodes[:3]:
            await ring.start(each.name)
        for name, part in (("A", LFNS), ("B", LFNS[::2]), ("C", LFNS[::3])):
            world.sites[name] = Site(name, path / name, replace(pool, nodes=[]), membership)
            await world.sites[name].start()
            await world.sites[name].put(part)
        await ring.settled()
        await world.settled([*LFNS, *NOWHERE])
        yield ring
    finally:
        await world.stop()


async def test_no_lookup_becomes_wrong_while_nodes_join_and_die(tmp_path: Path, etcd: EtcdServer) -> None:
    async with enlisting(tmp_path, etcd, seed=1) as ring:
        async with ring.verified():
            for _ in range(3):
                here = len(ring.world.index.nodes)
                change = ring.rng.choice([*[ring.join] * (here < POOL), *[ring.leave] * (here > REDUNDANCY)])
                await change()
                await ring.settled()
        print(dict(ring.seen))
        assert ring.seen["old client, complete"] > 0
        assert ring.seen["new client, complete"] > 0
        await ring.world.settled([*LFNS, *NOWHERE])


async def test_everything_goes_on_while_the_etcd_is_away_and_when_it_comes_back_empty(
    tmp_path: Path, etcd: EtcdServer
) -> None:
    async with enlisting(tmp_path, etcd, 7) as ring:
        before = ring.world.index.ring.version
        async with ring.verified():
            etcd.kill()
            await asyncio.sleep(5)
            await ring.world.sites["A"].put(["/new/while/away"])
            await ring.world.settled(["/new/while/away"])
            etcd.forget()
            await etcd.start()
            await all_are_in_the_etcd_again(ring, etcd)
            for node in ring.world.nodes.values():
                assert (await ask(node.url + "/v1/members"))[1]["ring"] == before
            etcd.kill()
            etcd.forget()
            await etcd.start()
            # A new node meets the empty registry before the others have put themselves there again.
            await ring.join()
            await ring.settled()
            await all_are_in_the_etcd_again(ring, etcd)
        assert ring.seen["old client, complete"] > 0


async def all_are_in_the_etcd_again(ring: Enlisting, etcd: EtcdServer) -> None:
    names = sorted(ring.world.nodes)
    await until(etcd.nodes, lambda found: found == names, f"{names} are in the etcd again")


async def test_members_tells_every_service_as_it_describes_itself(tmp_path: Path, etcd: EtcdServer) -> None:
    async with enlisting(tmp_path, etcd, 3) as ring:
        name, node = next(iter(ring.world.nodes.items()))
        kinds = [("lrc", "A"), ("lrc", "B"), ("lrc", "C"), ("rli", "n0"), ("rli", "n1"), ("rli", "n2")]
        said = await until(
            lambda: ask(node.url + "/v1/members"),
            lambda said: sorted((one["kind"], one["name"]) for one in said[1]["services"]) == kinds,
            "all services are told",
        )
        (own,) = [one for one in said[1]["services"] if one["name"] == name]
        assert own["url"] == node.url
        assert own["parameters"]["slots"] == 16
        assert own["version"]
        assert own["since"].endswith("Z")


async def test_placement_finds_the_index_by_its_registry_and_is_found_there(tmp_path: Path, etcd: EtcdServer) -> None:
    """It is told of no node; what it hears of the index follows the nodes that are there."""
    pool = index_settings(2, redundancy=2)
    membership = MembershipSettings(kind="etcd", endpoints=[etcd.url], lease_s=1, settle_s=0.1)
    nodes = [enlisted(name, pool, membership) for name in pool.urls]
    await nodes[0].start()
    url = f"http://127.0.0.1:{free_port()}"
    told = PlacementSettings(
        listen=url.removeprefix("http://"),
        database=f"sqlite:///{tmp_path / 'placement.db'}",
        pull_interval_s=0.1,
        index=replace(pool, nodes=[]),
        membership=membership,
    )
    site = Site("A", tmp_path / "A", replace(pool, nodes=[]), membership)
    placement_service = Service(placement.server.compose, told, url)
    running = [nodes[0], site, placement_service]
    try:
        await site.start()
        await site.put(["/a"])
        await placement_service.start()

        async def heard() -> tuple[list[str], list[tuple[str, bool]]]:
            status = (await ask(url + "/v1/status"))[1]
            sites = (await ask(url + "/v1/inventory"))[1]["sites"]
            return status["index"], [(one["name"], one["complete"]) for one in sites]

        await until(heard, lambda said: said == ([nodes[0].url], [("A", True)]), "it hears the index by the one node")
        await nodes[1].start()
        running.append(nodes[1])
        both = [node.url for node in nodes]
        await until(heard, lambda said: said == (both, [("A", True)]), "it knows the second node")

        async def services() -> list[tuple[str, str, str]]:
            said = (await ask(nodes[1].url + "/v1/members"))[1]["services"]
            return [(one["kind"], one["name"], one["url"]) for one in said]

        await until(services, lambda said: ("placement", "placement", url) in said, "a node knows where it is")
        await nodes[0].stop()
        running.remove(nodes[0])
        await until(heard, lambda said: said == (both[1:], [("A", True)]), "it goes on by the node that is left")
    finally:
        for each in running[::-1]:
            await each.stop()


async def test_file_operations_are_told_of_at_the_index(tmp_path: Path, etcd: EtcdServer) -> None:
    membership = MembershipSettings(kind="etcd", endpoints=[etcd.url], lease_s=1, settle_s=0.1)
    node = enlisted("n0", index_settings(1), membership)
    journal = f"sqlite:///{tmp_path / 'journal.db'}"
    told = FileopsSettings(listen="127.0.0.1:0", journal=journal, runner="mover-1", membership=membership)
    await node.start()
    try:
        async with fileops.server.compose(told) as daemon, service.listening(daemon, told) as url:
            said = await until(
                lambda: ask(node.url + "/v1/members"),
                lambda said: len(said[1]["services"]) == 2,
                "the index knows of both",
            )
            [one] = [one for one in said[1]["services"] if one["kind"] == "fileops"]
            assert (one["name"], one["url"]) == ("mover-1", url)
            assert one["parameters"] == {"parts": "fom, runner", "sites": 0}
        await until(
            lambda: ask(node.url + "/v1/members"),
            lambda said: len(said[1]["services"]) == 1,
            "it is gone with its lease",
        )
    finally:
        await node.stop()


async def test_an_index_node_does_not_start_without_its_registry_and_says_so(tmp_path: Path) -> None:
    pool = index_settings(1)
    membership = MembershipSettings(kind="etcd", endpoints=["http://127.0.0.1:1"])
    with pytest.raises(Unreachable, match=r"etcd http://127\.0\.0\.1:1"):
        await enlisted("n0", pool, membership).start()
    site = Site("A", tmp_path / "A", replace(pool, nodes=[]), membership)
    await site.start()
    await site.put(["/a"])
    assert (await ask(site.url + "/v1/replicas?lfn=/a"))[0] == 200, "a catalog serves its site all the same"
    await site.stop()


async def test_a_second_node_of_one_name_does_not_take_the_firsts_place(tmp_path: Path, etcd: EtcdServer) -> None:
    pool = index_settings(1)
    membership = MembershipSettings(kind="etcd", endpoints=[etcd.url], lease_s=6, settle_s=0.1)
    first = enlisted("n0", pool, membership)
    await first.start()
    site = Site("A", tmp_path / "A", replace(pool, nodes=[]), membership)
    await site.start()
    second = enlisted("n0", index_settings(1), membership)
    await second.start()

    async def believed() -> list[str]:
        return [node["url"] for node in (await ask(site.url + "/v1/softstate"))[1]["nodes"]]

    try:
        await until(believed, lambda urls: urls == [first.url], "the catalog knows the first")
        await asyncio.sleep(2.5)
        assert await believed() == [first.url]
        await first.stop()
        await until(believed, lambda urls: urls == [second.url], "the second is known when the first's lease has ended")
    finally:
        for each in (site, first, second):
            await each.stop()


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    return Parties.meet(tmp_path_factory.mktemp("parties"))


@pytest.fixture
async def guarded(tmp_path: Path, parties: Parties) -> AsyncIterator[EtcdServer]:
    """An etcd that speaks https alone, and with those alone who show a certificate of the authority."""
    parties.authority.issue_host("etcd", ["127.0.0.1"])
    options = ["--cert-file", parties.path("etcd.pem"), "--key-file", parties.path("etcd.key")]
    server = EtcdServer(tmp_path, [*options, "--client-cert-auth", "--trusted-ca-file", parties.path("ca.pem")])
    try:
        await server.start()
        yield server
    finally:
        server.kill()


async def test_an_etcd_behind_certificates_is_shown_one_and_must_prove_itself(
    parties: Parties, guarded: EtcdServer
) -> None:
    pool = index_settings(1)
    shown: dict[str, Any] = {"certificate": parties.path("service.pem"), "key": parties.path("service.key")}
    believed = {"authorities": parties.path("ca.pem")}
    quick: dict[str, Any] = {"kind": "etcd", "endpoints": [guarded.url], "lease_s": 1, "settle_s": 0.1}
    for lacking in (believed, shown):
        with pytest.raises(Unreachable, match="etcd https"):
            await enlisted("n0", pool, MembershipSettings(**quick, **lacking)).start()
    membership = MembershipSettings(**quick, **shown, **believed)
    node = enlisted("n0", pool, membership)
    other = enlisted("n1", index_settings(2), membership)
    await node.start()
    await other.start()
    try:
        await until(
            lambda: ask(node.url + "/v1/members"),
            lambda said: sorted(one["name"] for one in said[1]["services"]) == ["n0", "n1"],
            "both nodes are in the etcd",
        )
    finally:
        await other.stop()
        await node.stop()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"endpoints": ["http://a:1"], "authorities": "/ca.pem"}, "http://a:1 is not https"),
        ({"endpoints": ["https://a:1"], "key": "/key.pem"}, "membership.certificate"),
    ],
)
def test_certificates_that_make_no_sense_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MembershipSettings(**wrong)


@pytest.mark.parametrize("endpoint", ["localhost:2379", "http://", "http://a:b", "ftp://a:1", "http://a:70000"])
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(NameInvalid, match="endpoint"):
        MembershipSettings(endpoints=[endpoint])


async def test_without_a_registry_each_node_describes_itself() -> None:
    pool = index_settings(1)
    node = Service(
        rli.server.compose,
        RliSettings(node="n0", listen=pool.urls["n0"].removeprefix("http://"), index=pool),
        pool.urls["n0"],
    )
    await node.start()
    _, said = await ask(node.url + "/v1/members")
    assert [(one["kind"], one["name"], one["url"]) for one in said["services"]] == [("rli", "n0", node.url)]
    await node.stop()
