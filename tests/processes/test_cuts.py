"""Daemons on machines of their own, between which the network is cut or slow, or which pause: what clients see.

The table in `docs/faults.md` says it in words, with the names of these tests.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest
from daemon import process, settings_file
from grid import index_settings, pfns, until
from msgspec.structs import replace
from namespaces import Network, PlacedProcess, network

from lrc.settings import LrcSettings
from reploc.client import LrcClient, RliClient
from reploc.client.node import RliNodeClient
from reploc.client.resolve import Lookup
from reploc.members import Node
from reploc.status import RliStatus
from reploc.wire import MappingItem
from rli.settings import RliSettings

NODES = ("n0", "n1", "n2", "n3")
SITES = ("A", "B")
LFNS = [f"/lfn/{number}" for number in range(80)]
#: More than a busy machine keeps a process waiting.
EXPIRY_S = 8.0


class World:
    """Four index nodes and two catalogs, each on a machine, and one more for who asks."""

    def __init__(self, net: Network, path: Path) -> None:
        self.net = net
        nodes = [Node(name=name, url=f"http://{net.address(name)}:39290") for name in NODES]
        self.index = replace(index_settings(4, redundancy=2, expiry_s=EXPIRY_S), nodes=nodes)
        self.nodes = {name: self._node(path, name) for name in NODES}
        self.sites = {name: self._site(path, name) for name in SITES}
        self.held: dict[str, set[str]] = {name: set() for name in SITES}
        self._new = count()

    def _node(self, path: Path, name: str) -> PlacedProcess:
        url = self.index.urls[name]
        listen = url.removeprefix("http://")
        told = RliSettings(node=name, listen=listen, insecure=True, matrix_bytes_max=1 << 30, index=self.index)
        return self.net.placed(process("rli", settings_file(path / f"{name}.toml", told), url), name)

    def _site(self, path: Path, name: str) -> PlacedProcess:
        listen = f"{self.net.address(name)}:39280"
        told = LrcSettings(site=name, store=str(path / name), listen=listen, insecure=True, index=self.index)
        return self.net.placed(process("lrc", settings_file(path / f"{name}.toml", told), f"http://{listen}"), name)

    async def start(self) -> None:
        for each in (*self.nodes.values(), *self.sites.values()):
            each.start()
        for each in (*self.nodes.values(), *self.sites.values()):
            await each.answering()
        for site in SITES:
            await self.put(site, LFNS if site == "A" else LFNS[::2])

    def stop(self) -> None:
        for each in (*self.sites.values(), *self.nodes.values()):
            each.kill()

    def play(self, scenario: Callable[[RliClient], Awaitable[None]]) -> None:
        """Plays it from the client's machine, beginning and ending with a network in which all is right."""

        async def played() -> None:
            async with RliClient(list(self.index.urls.values())) as client:
                await self.settled(client)
                try:
                    await scenario(client)
                finally:
                    self.net.mend()
                await self.settled(client)

        self.net.run("client", played)

    async def put(self, site: str, lfns: list[str]) -> None:
        async with LrcClient(self.sites[site].url) as lrc:
            await lrc.put([MappingItem(lfn, f"file:///{site}{lfn}") for lfn in lfns])
        self.held[site].update(lfns)

    async def put_new(self, site: str) -> list[str]:
        new = [f"/new/{next(self._new)}" for _ in range(8)]
        await self.put(site, new)
        return new

    @property
    def names(self) -> list[str]:
        return sorted({*self.held["A"], *self.held["B"], "/nowhere/0", "/nowhere/1"})

    def copies(self, lfn: str, *, without: str = "") -> set[str]:
        return {f"file:///{site}{lfn}" for site in SITES if lfn in self.held[site] and site != without}

    def right(self, said: Lookup, *, without: str = "") -> bool:
        """Whether it names every copy, and no other; those at one site may be left out."""
        return pfns(said) == {lfn: self.copies(lfn, without=without) for lfn in said.replicas}

    async def settled(self, client: RliClient) -> Lookup:
        return await until(
            lambda: client.lookup(self.names), lambda said: said.complete and self.right(said), "all is right again"
        )

    async def status(self, node: str) -> RliStatus:
        async with RliNodeClient(self.index.urls[node]) as one:
            return await one.status()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        net = stack.enter_context(network((*NODES, *SITES, "client")))
        made = World(net, tmp_path_factory.mktemp("cuts"))
        stack.callback(made.stop)
        net.run("client", made.start)
        yield made


def test_a_catalog_that_is_cut_from_its_index_nodes(world: World) -> None:
    """What it held before is found until it expires; then it is named missing, and is back soon after the cut."""

    async def scenario(client: RliClient) -> None:
        world.net.cut(["A"], NODES)
        while (said := await client.lookup(world.names)).complete:
            assert world.right(said)
        new = await world.put_new("A")
        missing = await until(
            lambda: client.lookup(world.names), lambda said: world.right(said, without="A"), "A is silent everywhere"
        )
        assert (missing.missing, set(missing.incomplete)) == (["A"], set(world.names))
        said = await client.lookup(LFNS[:4], max_age_s=60)
        assert said.missing == ["A"], "whatever is demanded, a site that expired is named"
        world.net.mend()
        await world.settled(client)
        assert (await client.lookup(new)).complete

    world.play(scenario)


def test_index_nodes_that_are_cut_from_each_other(world: World) -> None:
    """Nothing is to be seen of it; and a node that restarts meanwhile believes in itself after `expiry_s` alone."""

    async def scenario(client: RliClient) -> None:
        world.net.cut(["n0"], NODES[1:])
        world.net.cut(["n1"], NODES[2:])
        new = await world.put_new("B")
        said = await world.settled(client)
        assert set(new) <= said.replicas.keys()
        world.nodes["n0"].kill()
        world.nodes["n0"].start()
        await world.nodes["n0"].answering()
        while (status := await world.status("n0")).slots_complete < status.slots_owned:
            said = await client.lookup(world.names)
            assert world.right(said)
            assert said.complete, "the other owner of each slot answers"
        assert status.uptime_s > EXPIRY_S * 0.9, "nobody told it whom to hear, so that it waited until it knew"

    world.play(scenario)


def test_a_client_that_is_cut_from_half_of_the_nodes(world: World) -> None:
    """It asks the others; of slots whose owners are all away, through a node that reaches them."""

    async def scenario(client: RliClient) -> None:
        world.net.cut(["client"], NODES[:2])
        for _ in range(3):
            said = await client.lookup(world.names, deadline_s=30)
            assert world.right(said)
            assert said.complete
            assert set(said.nodes) <= {"n0", "n1"}
        async with RliClient(list(world.index.urls.values())) as fresh:
            assert world.right(await fresh.lookup(world.names, deadline_s=30)), "one that begins now finds its way too"

    world.play(scenario)


def test_a_node_that_pauses_and_goes_on(world: World) -> None:
    """The other owners answer. When it goes on it says nothing that was true before its pause and is not any more."""

    async def scenario(client: RliClient) -> None:
        paused = world.nodes["n2"].running
        assert paused is not None
        paused.send_signal(signal.SIGSTOP)
        try:
            new = await world.put_new("A")
            said = await until(lambda: client.lookup(new, deadline_s=30), world.right, "the other owner knows it")
            assert said.complete
            async with RliNodeClient(world.index.urls["n2"], request_s=60) as one:
                asked = [asyncio.create_task(one.locations(new)) for _ in range(4)]
                await asyncio.sleep(1.5 * EXPIRY_S)
                assert world.right(await client.lookup(world.names, deadline_s=30))
                paused.send_signal(signal.SIGCONT)
                for answer in await asyncio.gather(*asked):
                    lacking = [lfn for lfn in new if not answer.locations[lfn]]
                    assert set(lacking) <= set(answer.incomplete), "it has slept through the news, and knows it"
        finally:
            paused.send_signal(signal.SIGCONT)

    world.play(scenario)


def test_a_node_behind_a_slow_link(world: World) -> None:
    """It delays nobody else: catalogs take writes, other owners are told at once, and answers are complete."""

    async def scenario(client: RliClient) -> None:
        world.net.slow_down("n3")
        for _ in range(5):
            new = await world.put_new("B")
            await until(
                lambda new=new: client.lookup(new, deadline_s=30),
                lambda said: said.complete and world.right(said),
                "new",
            )
        async with LrcClient(world.sites["B"].url) as lrc:
            progress = {node.node: node for node in (await lrc.soft_state()).nodes}
        assert all(progress[name].state == "current" for name in NODES[:3]), progress

    world.play(scenario)
