"""A tree of index nodes on a network that loses, delays and doubles messages: the real index, its way up, and descents.

Unlike the rest of this package it runs in real time, since the way up is a shell of its own (`rli/upward.py`): what is
drawn is drawn from the seed, but not in which order tasks come to their turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Any, TypeVar

import msgspec
import numpy as np

from reploc import digest, service
from reploc.client.descent import Descent
from reploc.client.transport import Request
from reploc.errors import Unreachable
from reploc.hierarchy import Child
from reploc.members import IndexSettings, Node, ParentsSettings
from reploc.sender.form import Build
from reploc.sender.news import NO_DIGESTS, News
from reploc.sender.placing import Placing
from reploc.sender.sender import Identity, Sender
from reploc.sender.slot_filters import SlotFilters, build_slot
from reploc.sender.slot_keys import SlotLists
from reploc.sender.stream import Meters, Outside, Stream
from reploc.telemetry import Metrics
from reploc.wire import Locations, SoftState
from rli.children import Children
from rli.index import Index
from rli.settings import RliSettings
from rli.union import Told
from rli.upward import Upward, parents_of
from simnet.network import CALM, Faults

T = TypeVar("T")

EXPIRY_S = 0.8
#: The pace of every level.
PACE: dict[str, Any] = {
    "slots": 4,
    # Beside so few names no site is named falsely in any run.
    "error_rate": 1e-7,
    "collections": False,
    "lfn_partition": "none",
    "increment_interval_s": 0.02,
    "rebuild_interval_s": 0.1,
    "renewal_interval_s": 0.1,
    "full_interval_s": 1.0,
    "expiry_s": EXPIRY_S,
}
BYTES_MAX = 1 << 28


class Air:
    """The network: parties by address. Requests and answers are what would be on the wire."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.faults = CALM
        self.parties: dict[str, TreeNode] = {}

    async def ask(self, request: Request[T], until: float) -> T:
        """Loses, delays and doubles soft state; questions of clients pass."""
        node = self.parties[request.url]
        if not isinstance(request.body, SoftState):
            return await node.answer(request)
        wire = msgspec.msgpack.encode(request.body)
        await self._way()
        answer = await node.answer(replace_body(request, wire))
        if self.rng.random() < self.faults.doubled:
            await self._way()
            await node.answer(replace_body(request, wire))
        await self._way()
        return answer

    async def _way(self) -> None:
        await asyncio.sleep(self.rng.uniform(0, self.faults.delay_max_s))
        if self.rng.random() < self.faults.lost:
            raise Unreachable("lost on the way")

    def stream(self, request: Request[T], idle_s: float) -> AsyncIterator[T]:
        raise AssertionError(f"{request}: nodes ask each other nothing that is streamed")

    async def close(self) -> None:
        """There is nothing to close."""


def replace_body(request: Request[T], wire: bytes) -> Request[T]:
    """The request as it arrives."""
    body = msgspec.msgpack.decode(wire, type=SoftState)
    return Request(request.method, request.url, request.path, request.kind, body=body)


class TreeNode:
    """One index node; it loses everything when it is started again."""

    def __init__(self, settings: RliSettings, air: Air) -> None:
        self.settings = settings
        self._air = air
        self._tasks: list[asyncio.Task[None]] = []
        self._upward: Upward | None = None
        self.index: Index | None = None
        air.parties[settings.own_url] = self

    def start(self) -> None:
        """A new process."""
        settings = self.settings
        self.index = Index(settings.index, settings.node, BYTES_MAX, service.now())
        self._children = Children(settings.node, settings.children)
        self.index.registry.expect(self._children.expected, service.now())
        duties: list[Callable[[], Awaitable[float]]] = [self._expire]
        if settings.parents.nodes:
            metrics = Metrics()
            above = parents_of(settings, metrics)
            self._upward = Upward(self.index, settings, above, self._not_ready, self._air, metrics)
            duties += [duty.run_once for duty in self._upward.duties()]
        self._tasks = [asyncio.create_task(_forever(duty)) for duty in duties]

    async def stop(self) -> None:
        self.index = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._upward is not None:
            await self._upward.close()

    async def answer(self, request: Request[T]) -> T:
        """Soft state, or where LFNs are."""
        index = self.index
        if index is None:
            raise Unreachable(f"{self.settings.node} is down")
        if isinstance(request.body, SoftState):
            self._children.require(request.body)
            said: Any = await index.receive(request.body, service.now())
        else:
            lfns = request.body.lfns  # type: ignore[union-attr]
            said = self.located(lfns)
        return said  # type: ignore[no-any-return]

    def located(self, lfns: list[str]) -> Locations:
        """What this node itself knows."""
        assert self.index is not None
        return self.index.locations(lfns, digest.of(lfns), service.now())

    async def _expire(self) -> float:
        assert self.index is not None
        self.index.expire(service.now())
        return 0.05

    def _not_ready(self) -> str:
        assert self.index is not None
        registry = self.index.registry
        silent = {member.name for member in registry.members(service.now()) if member.state == "silent"}
        awaited = set(registry.missing_here(self.index.owned)) - silent
        return "" if registry.knows_all() and not awaited else "not all is heard"


class TreeSite:
    """One catalog: a set of names, and the real sender over it. It keeps all that it knows while it is silent."""

    def __init__(self, name: str, index: IndexSettings, air: Air, names: set[str]) -> None:
        self.name = name
        self.names = names
        placing = Placing(index.partition)
        self._error_rate = index.error_rate
        told_whole = index.compression == "none"
        self._form: SlotLists | SlotFilters = (
            SlotLists(placing) if told_whole else SlotFilters(placing, index.error_rate)
        )
        self._placing = placing
        self._position = 1
        counts = np.bincount(self._slots(sorted(names)), minlength=placing.slots)
        identity = Identity(name, f"http://{name}:1", f"sender-{name}", 7)
        self._sender = Sender(identity, 1, index, counts, position=1, now=service.now(), form=self._form)
        outside = Outside(air, Meters(Metrics()), _above)
        self._stream = Stream("names", self._sender, self._read, outside, index)
        self.speak()

    def speak(self) -> None:
        """Sends, until it is `silent`."""
        self._task = asyncio.create_task(_forever(self._stream.run_once))

    async def silent(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def write(self, added: set[str], removed: set[str]) -> None:
        """One commit."""
        came, went = sorted(added - self.names), sorted(removed & self.names)
        self.names = (self.names | set(came)) - set(went)
        self._position += 1
        told = [Told(name) for name in came], [Told(name) for name in went]
        self._stream.note(News(self._position, digest.of(came), digest.of(went), *told))

    async def stop(self) -> None:
        await self.silent()
        await self._stream.close()

    def _slots(self, names: list[str]) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        return self._placing.of(names, digest.of(names), [None] * len(names))

    async def _read(self, slots: Any) -> tuple[list[Build], int]:
        names = sorted(self.names)
        of = self._slots(names)
        builds: list[Build] = []
        for slot in slots:
            mine = [name for name, at in zip(names, of.tolist(), strict=True) if at == slot]
            builds.append(self._build(slot, mine))
        return builds, self._position

    def _build(self, slot: int, names: list[str]) -> Build:
        digests = digest.of(names) if names else NO_DIGESTS
        if isinstance(self._form, SlotLists):
            return self._form.build(slot, digests, names)
        return build_slot(slot, digests, self._form.size_class, self._error_rate)


class FaultyTree:
    """Three levels: a root, two nodes in the middle that know the same, two below them, and two sites under each.

    Told whole names they make sets of them, and told filters they relay these.
    """

    def __init__(self, seed: int, compression: str = "none") -> None:
        self.rng = Random(seed)
        self.air = Air(self.rng)
        lows = [_index(compression, f"low-{number}") for number in range(2)]
        above = self.rng.choice(["none", "bloom"]) if compression == "none" else compression
        middle, root = _index(compression, "middle-0", "middle-1"), _index(above, "root")
        low_names, middle_names = [low.nodes[0].name for low in lows], list(middle.urls)
        self.nodes = {
            **{low.nodes[0].name: self._node(low.nodes[0].name, low, [], middle) for low in lows},
            **{name: self._node(name, middle, low_names, root) for name in middle_names},
            "root": self._node("root", root, middle_names, None),
        }
        for node in self.nodes.values():
            node.start()
        self.names = [f"/name/{number}" for number in range(60)]
        self.stable = self.names[:20]
        self.sites = [
            TreeSite(f"site-{number}", lows[number % 2], self.air, {*self.stable[number::2], self.names[20 + number]})
            for number in range(4)
        ]

    def _node(self, name: str, index: IndexSettings, children: list[str], up: IndexSettings | None) -> TreeNode:
        parents = ParentsSettings(**{**PACE, **_told(up)}) if up else ParentsSettings()
        below = [Child(name=child) for child in children]
        return TreeNode(RliSettings(node=name, index=index, children=below, parents=parents), self.air)

    async def stop(self) -> None:
        for each in [*self.sites, *self.nodes.values()]:
            await each.stop()

    def truth(self, lfn: str) -> set[str]:
        return {site.name for site in self.sites if lfn in site.names}

    async def found(self) -> Locations:
        """Where all names are, asked from the root down."""
        said = self.nodes["root"].located(self.names)
        return await Descent(self.air, asyncio.get_running_loop().time() + 5.0).followed(said)

    async def check(self) -> None:
        """A complete answer misses no copy of a name that was there all the time."""
        if self.nodes["root"].index is None:
            return
        said = await self.found()
        for lfn in set(self.stable) - set(said.incomplete):
            lacking = self.truth(lfn) - set(said.locations[lfn])
            assert not lacking, f"{lfn} is called complete without {lacking}: {said.locations[lfn]}"

    async def settled(self, patience_s: float) -> None:
        """Waits until every name is complete and found exactly where it is."""
        end = service.now() + patience_s
        while True:
            said = await self.found()
            wrong = [lfn for lfn in self.names if set(said.locations[lfn]) != self.truth(lfn)]
            if not wrong and not said.incomplete:
                return
            assert service.now() < end, f"{wrong[:3]} wrong, {len(said.incomplete)} incomplete, missing {said.missing}"
            await asyncio.sleep(0.02)

    async def rough_times(self, steps: int, faults: Faults) -> None:
        """Writes all the while, restarts and silent sites now and then, moments in which the machine does something
        else, and a network of that kind; at the end all is mended."""
        self.air.faults = faults
        for _ in range(steps):
            site = self.rng.choice(self.sites)
            free = self.names[20:]
            site.write(set(self.rng.sample(free, 3)), set(self.rng.sample(free, 3)))
            node = self.rng.choice(list(self.nodes.values()))
            if self.rng.random() < 0.06:
                await node.stop()
                await self._go_on(0.1)
                node.start()
            if self.rng.random() < 0.05:
                time.sleep(self.rng.uniform(0, 1.2 * EXPIRY_S))
            if self.rng.random() < 0.04:
                await self._heard(site)
                await site.silent()
                await self._go_on(2 * EXPIRY_S)
                site.speak()
                await self._go_on(EXPIRY_S)
            await self._go_on(0.05)
        self.air.faults = CALM

    async def _heard(self, site: TreeSite) -> None:
        """Waits until the one node that a site tells knows of it: who starts while a site is silent cannot."""
        while not any(node.index and node.index.registry.is_live(site.name) for node in self.nodes.values()):
            await self._go_on(0.02)

    async def _go_on(self, most_s: float) -> None:
        """Checks for so long at most."""
        end = service.now() + self.rng.uniform(0, most_s)
        while service.now() < end:
            await self.check()
            await asyncio.sleep(0.01)


def _index(compression: str, *names: str) -> IndexSettings:
    nodes = [Node(name=name, url=f"http://{name}:1") for name in names]
    return IndexSettings(**{**PACE, "compression": compression, "redundancy": len(names), "nodes": nodes})


def _told(index: IndexSettings) -> dict[str, Any]:
    return {"compression": index.compression, "redundancy": index.redundancy, "nodes": index.nodes}


async def _above(epoch: int) -> int:
    return epoch + 1


async def _forever(duty: Callable[[], Awaitable[float]]) -> None:
    with suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(await duty())
