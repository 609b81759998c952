"""A grid whose ring changes while clients verify every answer, for the tests of such changes."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

from grid import Grid, grid, index_settings, node, pfns, until
from msgspec.structs import replace

from reploc.client.index import RliClient
from reploc.client.node import RliNodeClient
from reploc.client.resolve import Lookup
from reploc.errors import ReplocError
from reploc.members import IndexSettings

LFNS = [f"/lfn/{number}" for number in range(48)]
NOWHERE = [f"/nowhere/{number}" for number in range(12)]
POOL = 5
#: More than a busy machine keeps a sender from speaking, which no change of the ring is to blame for.
EXPIRY_S = 6.0
REDUNDANCY = 2
#: Seconds that a lookup may take where the machine does other things too.
PATIENCE_S = 60.0
#: The rules that an index of these nodes has, as settings, where it had those of another.
Rules: TypeAlias = Callable[[IndexSettings, Sequence[str]], dict[str, Any]]


def no_rules(_: IndexSettings, __: Sequence[str]) -> dict[str, Any]:
    return {}


class Changing:
    """A grid whose ring changes, and what its clients saw."""

    def __init__(self, world: Grid, pool: IndexSettings, rng: Random, rules: Rules = no_rules) -> None:
        """`pool` has all the nodes that there may be; `rules` makes what goes with some of them."""
        self.world = world
        self.rng = rng
        self.seen: Counter[str] = Counter()
        self._pool = {each.name: each for each in pool.nodes}
        self._rules = rules
        self._leaving: list[str] = []
        self._done = asyncio.Event()

    # ---- what the clients do -------------------------------------------------------------------------------------

    def verify(self, lfns: list[str], said: Lookup, who: str) -> None:
        """No copy is named that is none, and none is lacking but of LFNs that are said to be incomplete, as they are
        where a busy machine lets a catalog answer too late."""
        found, truth = pfns(said), self.world.truth(lfns)
        wrong = {
            lfn: (sorted(found[lfn]), sorted(truth[lfn]))
            for lfn in lfns
            if found[lfn] - truth[lfn] or (found[lfn] != truth[lfn] and lfn not in said.incomplete)
        }
        assert not wrong, f"{who}, complete {said.complete}, found and should have: {wrong}"
        late = said.unreachable or said.nodes
        self.seen[f"{who}, {'complete' if said.complete else 'too late' if late else 'incomplete'}"] += 1

    async def look_again_and_again(self, client: RliClient, who: str) -> None:
        """A client that lives as long as the test, and so has the view from before each change for a while."""
        while not self._done.is_set():
            lfns = [*self.rng.sample(LFNS, 16), *self.rng.sample(NOWHERE, 4)]
            said = await client.lookup(lfns, PATIENCE_S)
            self.verify(lfns, said, who)

    async def look_for_the_first_time(self) -> None:
        """One client after the other, each of which knows a single node of the newest ring and nothing else."""
        while not self._done.is_set():
            url = self.rng.choice(list(self.world.index.urls.values()))
            lfns = [*self.rng.sample(LFNS, 16), *self.rng.sample(NOWHERE, 4)]
            async with RliClient([url]) as client:
                try:
                    said = await client.lookup(lfns, PATIENCE_S)
                except ReplocError:
                    self.seen["new client, its node is away"] += 1
                    await asyncio.sleep(0.05)
                    continue
            self.verify(lfns, said, "new client")

    @asynccontextmanager
    async def verified(self) -> AsyncIterator[None]:
        """All clients look, as long as the context lasts and as long as each answer is right."""
        old = [RliClient(list(self.world.index.urls.values())) for _ in range(2)]
        try:
            async with asyncio.TaskGroup() as looking:
                for client in old:
                    looking.create_task(self.look_again_and_again(client, "old client"))
                looking.create_task(self.look_for_the_first_time())
                yield
                self._done.set()
        finally:
            for client in old:
                await client.close()

    # ---- what happens to the ring --------------------------------------------------------------------------------

    def _of(self, names: Sequence[str]) -> IndexSettings:
        """The index of these nodes."""
        nodes = [self._pool[name] for name in names]
        return replace(self.world.index, nodes=nodes, **self._rules(self.world.index, names))

    async def change_to(self, index: IndexSettings) -> None:
        """Everyone is told of this index, one after the other in any order."""
        names = list(index.urls)
        print("ring", names)
        self.world.index = index
        told = [*self.world.sites.values(), *(self.world.nodes[name] for name in names if name in self.world.nodes)]
        self.rng.shuffle(told)
        for each in told:
            each.retell(self.world.index)
            await asyncio.sleep(self.rng.choice([0.0, 0.02, 0.3]))

    async def join(self) -> None:
        name = self.rng.choice(sorted(self._pool.keys() - self.world.index.urls.keys()))
        index = self._of([*self.world.index.urls, name])
        if name not in self.world.nodes:
            self.world.nodes[name] = node(name, index)
            await self.world.nodes[name].start()
        await self.change_to(index)

    async def leave(self) -> None:
        gone = self.rng.choice(list(self.world.index.urls))
        await self.change_to(self._of([name for name in self.world.index.urls if name != gone]))
        self._leaving.append(gone)

    async def kill_and_restart(self) -> None:
        name = self.rng.choice(list(self.world.index.urls))
        print("kill", name)
        await self.world.nodes[name].stop()
        await asyncio.sleep(self.rng.uniform(0, 1))
        await self.world.nodes[name].start()

    async def settled(self) -> None:
        """All nodes of the ring are complete, and those that left are ended."""
        for name in self.world.index.urls:
            await until(lambda name=name: self._status(name), bool, f"{name} is complete in its slots")
        await asyncio.sleep(EXPIRY_S if self._leaving else 0)
        while self._leaving:
            name = self._leaving.pop()
            if name not in self.world.index.urls:
                await self.world.nodes.pop(name).stop()

    async def _status(self, name: str) -> bool:
        async with RliNodeClient(self.world.nodes[name].url) as client:
            said = await client.status()
        return said.ring == self.world.index.ring.version and said.slots_complete == said.slots_owned


@asynccontextmanager
async def changing(path: Path, seed: int, rules: Rules = no_rules, **parted: str) -> AsyncIterator[Changing]:
    """Three of five nodes run, and three sites hold names that overlap; the index is `parted` so, with these rules."""
    print(f"seed {seed}")
    pool = index_settings(POOL, redundancy=REDUNDANCY, expiry_s=EXPIRY_S)
    first = [each.name for each in pool.nodes[:3]]
    async with grid(path, index=replace(pool, nodes=pool.nodes[:3], **parted, **rules(pool, first))) as world:
        await world.site("A", LFNS)
        await world.site("B", LFNS[::2])
        await world.site("C", LFNS[::3])
        await world.settled([*LFNS, *NOWHERE])
        yield Changing(world, pool, Random(seed), rules)
    gc.collect()
