"""A tree of three levels as real processes, whose nodes are killed and paused while a client verifies every answer."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from daemon import process, settings_file
from grid import until
from tree import above, level

from lrc.settings import LrcSettings
from reploc.client import LrcClient, RliClient
from reploc.client.resolve import Lookup
from reploc.demo.ports import free_port
from reploc.demo.processes import Process
from reploc.errors import ReplocError
from reploc.hierarchy import Child
from reploc.members import IndexSettings
from reploc.wire import MappingItem
from rli.settings import RliSettings

LFNS = [f"/run/{number}" for number in range(60)]
NOWHERE = "/nowhere"
EXPIRY_S = 2.0
DEADLINE_S = 30.0


class Daemons:
    """A catalog, a node that it tells, two nodes above that know the same, and a root."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.root = level("root", expiry_s=EXPIRY_S)
        middle, low = level("mid-1", "mid-2", expiry_s=EXPIRY_S), level("low", expiry_s=EXPIRY_S)
        listen = f"127.0.0.1:{free_port()}"
        told = LrcSettings(site="a", store=str(path / "store"), listen=listen, index=low)
        self.lrc = process("lrc", settings_file(path / "lrc.toml", told), f"http://{listen}")
        self.nodes = {
            "low": self._node("low", low, [], middle),
            **{name: self._node(name, middle, ["low"], self.root) for name in middle.urls},
            "root": self._node("root", self.root, list(middle.urls), None),
        }
        self._looking = True
        #: How many answers were complete, and how many were not.
        self.complete, self.incomplete = 0, 0

    def _node(self, name: str, index: IndexSettings, children: list[str], up: IndexSettings | None) -> Process:
        url = index.urls[name]
        told = RliSettings(
            node=name,
            listen=url.removeprefix("http://"),
            matrix_bytes_max=1 << 28,
            index=index,
            children=[Child(name=child) for child in children],
            **({"parents": above(up)} if up else {}),
        )
        return process("rli", settings_file(self._path / f"{name}.toml", told), url)

    @property
    def all(self) -> list[Process]:
        return [self.lrc, *self.nodes.values()]

    async def look(self, client: RliClient) -> None:
        """Looks everything up again and again: what is called complete is right, and nothing is made up."""
        while self._looking:
            try:
                said = await client.lookup([*LFNS, NOWHERE], DEADLINE_S)
            except ReplocError:  # the root is away
                await asyncio.sleep(0.05)
                continue
            found = copies(said)
            lacking = {lfn for lfn in LFNS if found[lfn] != {f"file://{lfn}"}}
            assert lacking <= set(said.incomplete), f"complete, but without copies: {sorted(lacking)[:3]}"
            assert not any(found[lfn] for lfn in lacking)
            assert found[NOWHERE] == set()
            self.complete += said.complete
            self.incomplete += not said.complete

    @asynccontextmanager
    async def verified(self) -> AsyncIterator[RliClient]:
        """A client looks as long as the context lasts, and in the end everything is complete and right."""
        async with RliClient(list(self.root.urls.values())) as client, asyncio.TaskGroup() as tasks:
            tasks.create_task(self.look(client))
            yield client
            await until(lambda: client.lookup([*LFNS, NOWHERE], DEADLINE_S), right, "all is complete and right again")
            await until(self._complete, lambda answers: answers > 2, "some of the answers were complete")
            self._looking = False

    async def _complete(self) -> int:
        return self.complete


def copies(said: Lookup) -> dict[str, set[str]]:
    return {lfn: {pfn for each in found for pfn in each.pfns} for lfn, found in said.replicas.items()}


def right(said: Lookup) -> bool:
    """Every name has its one copy, and the one that nobody has is nowhere."""
    return said.complete and copies(said) == {NOWHERE: set()} | {lfn: {f"file://{lfn}"} for lfn in LFNS}


@asynccontextmanager
async def running(path: Path) -> AsyncIterator[Daemons]:
    daemons = Daemons(path)
    try:
        for each in daemons.all:
            each.start()
        for each in daemons.all:
            await each.answering()
        async with LrcClient(daemons.lrc.url) as lrc, RliClient(list(daemons.root.urls.values())) as client:
            await lrc.put([MappingItem(lfn, f"file://{lfn}") for lfn in LFNS])
            await until(lambda: client.lookup([*LFNS, NOWHERE], DEADLINE_S), right, "everything is found")
        yield daemons
    finally:
        for each in daemons.all:
            each.kill()


@pytest.mark.parametrize("name", ["mid-1", "low", "root"])
async def test_a_node_of_a_tree_that_is_killed_and_started_again_makes_no_complete_answer_wrong(
    tmp_path: Path, name: str
) -> None:
    """At once, and when its parents have given it up."""
    async with running(tmp_path) as daemons, daemons.verified() as client:
        for away_s in (0.0, 1.5 * EXPIRY_S):
            daemons.nodes[name].kill()
            await asyncio.sleep(away_s)
            daemons.nodes[name].start()
            await daemons.nodes[name].answering()
            await until(lambda: client.lookup([*LFNS, NOWHERE], DEADLINE_S), right, "all is complete and right again")


@pytest.mark.parametrize("name", ["mid-1", "low"])
async def test_a_node_of_a_tree_that_pauses_and_goes_on_makes_no_complete_answer_wrong(
    tmp_path: Path, name: str
) -> None:
    async with running(tmp_path) as daemons, daemons.verified():
        paused = daemons.nodes[name].running
        assert paused is not None
        paused.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(1.5 * EXPIRY_S)
        finally:
            paused.send_signal(signal.SIGCONT)
