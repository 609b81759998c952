"""Daemons as processes: killed in mid-write, told to stop, started twice, and given settings that are wrong."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from daemon import failed, process, settings_file
from grid import PATIENCE_S, index_settings, until
from sender_double import SenderDouble
from service_doubles import CatalogDouble, serving

from lrc.catalog import Catalog
from lrc.check import check
from lrc.settings import LrcSettings
from reploc.client import LrcClient, RliClient
from reploc.client.node import RliNodeClient
from reploc.demo.ports import free_port
from reploc.demo.processes import Process
from reploc.errors import ReplocError
from reploc.members import IndexSettings
from reploc.wire import DeleteItem, MappingItem
from rli.settings import RliSettings

T = TypeVar("T")


class World:
    """Two index nodes and a catalog, each a process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.index = index_settings(2, redundancy=2, expiry_s=4.0)
        self.store = path / "store"
        self.nodes = [node_process(path, self.index, name) for name in self.index.urls]
        self.lrc = lrc_process(path, self.index)

    async def start(self) -> None:
        for each in (*self.nodes, self.lrc):
            each.start()
        for each in (*self.nodes, self.lrc):
            await each.answering()

    def stop(self) -> None:
        for each in (self.lrc, *self.nodes):
            each.kill()


def node_process(path: Path, index: IndexSettings, name: str) -> Process:
    listen = index.urls[name].removeprefix("http://")
    told = RliSettings(node=name, listen=listen, matrix_bytes_max=1 << 30, index=index)
    return process("rli", settings_file(path / f"{name}.toml", told), index.urls[name])


def lrc_process(path: Path, index: IndexSettings) -> Process:
    told = LrcSettings(site="A", store=str(path / "store"), listen=f"127.0.0.1:{free_port()}", index=index)
    return process("lrc", settings_file(path / "lrc.toml", told), f"http://{told.listen}")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The processes, running for all tests, each of which starts again what it stopped.

    Afterwards the catalog is checked by the product's own check.
    """
    made = World(tmp_path_factory.mktemp("world"))
    try:
        asyncio.run(made.start())
        yield made
    finally:
        made.stop()
    with Catalog.open(made.store, read_only=True) as catalog:
        assert check(catalog).findings == []


class Acknowledged:
    """What a writer knows for certain: what is there, what is gone, and what it was not told about any more."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.gone: set[str] = set()
        self.unsure: set[str] = set()

    async def write(self, url: str, writer: int) -> None:
        """Puts, and deletes every third again, until the catalog is gone."""
        async with LrcClient(url, request_s=10.0) as client:
            for step in range(1_000_000):
                lfns = [f"/{writer}/{step}/{number}" for number in range(1 + step % 5)]
                self.unsure.update(lfns)
                await client.create([MappingItem(lfn, f"file://{lfn}") for lfn in lfns])
                self.there.update(lfns)
                self.unsure.difference_update(lfns)
                if step % 3 == 0:
                    self.there.difference_update(lfns)
                    self.unsure.update(lfns)
                    await client.delete([DeleteItem(lfn) for lfn in lfns])
                    self.gone.update(lfns)
                    self.unsure.difference_update(lfns)


async def test_a_catalog_that_is_killed_in_mid_write_loses_nothing_acknowledged(world: World) -> None:
    acknowledged = Acknowledged()
    for life in range(3):
        writers = [asyncio.create_task(acknowledged.write(world.lrc.url, 8 * life + number)) for number in range(4)]
        known = len(acknowledged.there)
        await until(lambda: _value(len(acknowledged.there)), lambda count, known=known: count > known + 150, "writes")
        world.lrc.kill()
        ends = await asyncio.gather(*writers, return_exceptions=True)
        assert all(isinstance(end, ReplocError) for end in ends), ends
        world.lrc.start()
        await world.lrc.answering()
        async with LrcClient(world.lrc.url) as client:
            held = {each.lfn async for each in client.dump()}
        assert acknowledged.there <= held
        assert not acknowledged.gone & held
        assert held <= acknowledged.there | acknowledged.unsure
    async with RliClient([node.url for node in world.nodes]) as client:
        asked = [*held, *acknowledged.gone]
        await until(
            lambda: client.lookup(asked),
            lambda said: said.complete and {lfn for lfn, copies in said.replicas.items() if copies} == held,
            "the index is right about what survived",
        )


async def _value(value: int) -> int:
    return value


async def test_a_node_that_is_killed_is_full_again_after_its_restart_and_lookups_stay_right(world: World) -> None:
    lfns = [f"/{number}" for number in range(300)]
    async with LrcClient(world.lrc.url) as lrc, RliClient([node.url for node in world.nodes]) as client:
        await lrc.put([MappingItem(lfn, f"file://{lfn}") for lfn in lfns])

        async def found() -> int:
            said = await client.lookup(lfns)
            return sum(map(bool, said.replicas.values())) if said.complete else -1

        await until(found, lambda count: count == 300, "everything is found")
        for node in world.nodes:
            node.kill()
            assert await found() == 300
            node.start()
            await node.answering()
            assert await found() == 300
            async with RliNodeClient(node.url) as killed:
                await until(
                    killed.status, lambda said: said.slots_complete == said.slots_owned and said.sites_live == 1, "full"
                )
                assert all((await killed.locations(lfns)).locations.values())


async def test_a_node_that_is_told_to_stop_answers_what_is_under_way_and_ends_well(world: World) -> None:
    """It waits for a catalog when it is told, and the catalog answers when it has begun to stop."""
    stopped = world.nodes[0]
    running = stopped.running
    assert running is not None
    asked, goes_on = asyncio.Event(), asyncio.Event()

    async def hold_up() -> None:
        asked.set()
        await goes_on.wait()

    async with (
        serving(CatalogDouble({"/a": ["file:///a"]}, trouble=hold_up).routes()) as lrc,
        RliNodeClient(stopped.url) as client,
    ):
        slots = world.index.ring.slots_owned("n0").tolist()
        sender = SenderDouble(world.index, "B", lrc, "sender-b", names=["/a"])
        await client.soft_state(sender.news([sender.summary(slot) for slot in slots]))
        asking = asyncio.create_task(client.replica("/a", deadline_s=PATIENCE_S))
        await asyncio.wait_for(asked.wait(), PATIENCE_S)
        running.terminate()
        await until(lambda: _log(stopped), lambda log: "daemon.stopping" in log, "it begins to stop")
        goes_on.set()
        assert [copy.pfns for copy in (await asking).replicas] == [["file:///a"]]
    assert await asyncio.to_thread(running.wait, PATIENCE_S) == 0
    assert "Traceback" not in await _log(stopped)
    stopped.start()
    await stopped.answering()


async def test_a_catalog_that_is_told_to_stop_in_mid_write_loses_nothing_acknowledged(world: World) -> None:
    running = world.lrc.running
    assert running is not None
    acknowledged = Acknowledged()
    writers = [asyncio.create_task(acknowledged.write(world.lrc.url, 100 + number)) for number in range(4)]
    await until(lambda: _value(len(acknowledged.there)), lambda count: count > 50, "writes")
    running.terminate()
    ends = await asyncio.gather(*writers, return_exceptions=True)
    assert all(isinstance(end, ReplocError) for end in ends), ends
    assert await asyncio.to_thread(running.wait, PATIENCE_S) == 0
    assert "Traceback" not in await _log(world.lrc)
    with Catalog.open(world.store, read_only=True) as catalog:
        assert set(catalog.exists(sorted(acknowledged.there)).known) == acknowledged.there
        assert catalog.exists(sorted(acknowledged.gone)).known == []
    world.lrc.start()
    await world.lrc.answering()


async def _log(process: Process) -> str:
    return process.log.read_text()


async def test_a_daemon_that_is_told_to_stop_while_it_streams_ends_what_it_began(world: World) -> None:
    running = world.lrc.running
    assert running is not None
    async with LrcClient(world.lrc.url) as client:
        await client.put([MappingItem(f"/stream/{number:05}", "file:///x") for number in range(5000)])
        seen = [each.lfn async for each in _told_to_stop(running, client.dump())]
    assert sum(lfn.startswith("/stream/") for lfn in seen) == 5000
    assert await asyncio.to_thread(running.wait, PATIENCE_S) == 0
    world.lrc.start()
    await world.lrc.answering()


async def _told_to_stop(running: subprocess.Popen[bytes], lines: AsyncIterator[T]) -> AsyncIterator[T]:
    """The lines; after the first the process is told to stop."""
    told = False
    async for line in lines:
        if not told:
            running.terminate()
            told = True
        yield line


async def test_a_port_in_use_is_one_line_and_nothing_is_made(world: World, tmp_path: Path) -> None:
    taken = world.nodes[0].url.removeprefix("http://")
    told = LrcSettings(site="B", store=str(tmp_path / "store"), listen=taken, index=world.index)
    for service, settings in (("lrc", settings_file(tmp_path / "b.toml", told)), ("rli", world.path / "n0.toml")):
        status, said = failed(service, settings)
        assert (status, said) == (2, [f"config-invalid: listen: cannot listen on {taken}: Address already in use"])
    assert not (tmp_path / "store").exists()


async def test_a_store_in_use_is_one_line_that_names_the_process(world: World) -> None:
    assert world.lrc.running is not None
    holder = world.lrc.running.pid
    status, said = failed("lrc", world.path / "lrc.toml", "--listen", "127.0.0.1:0")
    assert (status, said) == (
        4, [f"store-locked: store {world.store}: process {holder} has it open for writing"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("service", "text", "said"),
    [
        ("lrc", 'site = "A"\nstor = "/x"\n', "unknown key 'stor'; did you mean 'store'?"),
        ("lrc", 'site = "A"\n[index]\nrenewal_interval = 1\n', "'index.renewal_interval'; did you mean"),
        ("lrc", 'site = "A"\n[index]\nerror_rate = 2\n', "index.error_rate: Expected `float` <= 0.1"),
        ("lrc", 'site = "A"\nlisten = "0.0.0.0:39280"\nstore = "STORE"\nurl = "http://a:1"\n', "beyond loopback"),
        ("rli", 'node = "n9"\n', "node is 'n9'; expected one of index.nodes"),
    ],
)
def test_settings_that_are_wrong_are_one_line_that_names_the_key(
    tmp_path: Path, service: str, text: str, said: str
) -> None:
    settings = tmp_path / "wrong.toml"
    settings.write_text(text.replace("STORE", str(tmp_path / "store")))
    status, lines = failed(service, settings)
    assert status == 2
    assert lines[0].startswith("config-invalid: ")
    assert said in lines[0]
    assert not (tmp_path / "store").exists()
    assert len(lines) == 1 or lines[1].startswith("hint: ")


def test_a_settings_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    status, lines = failed("lrc", tmp_path / "none.toml")
    assert (status, len(lines)) == (2, 1)
    assert "none.toml: No such file" in lines[0]


def test_a_store_that_is_something_else_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "data.mdb").write_text("this is no LMDB environment" * 1000)
    told = LrcSettings(site="A", store=str(tmp_path / "store"), listen="127.0.0.1:0", index=index_settings(1))
    status, lines = failed("lrc", settings_file(tmp_path / "lrc.toml", told))
    assert (status, len(lines)) == (4, 1)
    assert lines[0].startswith("store-foreign: ")
