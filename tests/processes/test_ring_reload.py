"""An index node joins and one leaves real daemons by SIGHUP, while a client verifies every answer."""

import asyncio
import signal
from pathlib import Path

from daemon import process, settings_file
from grid import index_settings, until
from msgspec.structs import replace

from lrc.settings import LrcSettings
from reploc.client import LrcClient, RliClient
from reploc.client.node import RliNodeClient
from reploc.client.resolve import Lookup
from reploc.demo.ports import free_port
from reploc.demo.processes import Process
from reploc.members import IndexSettings
from reploc.wire import MappingItem
from rli.settings import RliSettings

LFNS = [f"/lfn/{number}" for number in range(100)]


class Daemons:
    """Index nodes and a catalog, whose files change and who are told so."""

    def __init__(self, path: Path, index: IndexSettings) -> None:
        self._path = path
        self._listen = f"127.0.0.1:{free_port()}"
        self.lrc = process("lrc", self._lrc_file(index), f"http://{self._listen}")
        self.nodes = {each.name: process("rli", self._node_file(each.name, index), each.url) for each in index.nodes}

    def change(self, index: IndexSettings) -> None:
        self._lrc_file(index)
        for name in index.urls:
            self._node_file(name, index)
        for each in (self.lrc, *self.nodes.values()):
            if each.running is not None:
                each.running.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        for each in (self.lrc, *self.nodes.values()):
            each.kill()

    def _lrc_file(self, index: IndexSettings) -> Path:
        told = LrcSettings(site="A", store=str(self._path / "store"), listen=self._listen, index=index)
        return settings_file(self._path / "lrc.toml", told)

    def _node_file(self, name: str, index: IndexSettings) -> Path:
        listen = index.urls[name].removeprefix("http://")
        told = RliSettings(node=name, listen=listen, matrix_bytes_max=1 << 30, index=index)
        return settings_file(self._path / f"{name}.toml", told)


async def started(*processes: Process) -> None:
    for each in processes:
        each.start()
    for each in processes:
        await each.answering()


async def test_nodes_join_and_leave_running_daemons_and_no_answer_becomes_wrong(tmp_path: Path) -> None:
    whole = index_settings(3, redundancy=1, expiry_s=8.0)
    first, last = replace(whole, nodes=whole.nodes[:2]), replace(whole, nodes=whole.nodes[1:])
    daemons = Daemons(tmp_path, whole)
    try:
        daemons.change(first)
        await started(daemons.lrc, daemons.nodes["n0"], daemons.nodes["n1"])
        async with LrcClient(daemons.lrc.url) as lrc, RliClient(list(first.urls.values())) as client:
            await lrc.put([MappingItem(lfn, f"file://{lfn}") for lfn in LFNS])
            await until(lambda: client.lookup([*LFNS, "/nowhere"]), _right, "everything is found")
            for index in (whole, last):
                daemons.change(index)
                if index is whole:
                    await started(daemons.nodes["n2"])
                while not await _taken(daemons, index):
                    assert _right(await client.lookup([*LFNS, "/nowhere"]))
        daemons.nodes["n0"].kill()
        async with RliClient(list(last.urls.values())) as client:
            await until(lambda: client.lookup([*LFNS, "/nowhere"]), _right, "without the node that left")
        wrong = daemons.nodes["n1"]
        (tmp_path / "n1.toml").write_text("this is no TOML")
        assert wrong.running is not None
        wrong.running.send_signal(signal.SIGHUP)
        async with RliNodeClient(wrong.url) as node:
            said = await until(node.status, lambda status: status.reload_error != "", "the file is refused")
        assert "n1.toml: is not TOML" in said.reload_error
        assert said.ring == last.ring.version
    finally:
        daemons.stop()


def _right(said: Lookup) -> bool:
    """Every name has its one copy, and the one that nobody has is nowhere."""
    found = {lfn: [copy.pfns for copy in copies] for lfn, copies in said.replicas.items()}
    return said.complete and found == {"/nowhere": []} | {lfn: [[f"file://{lfn}"]] for lfn in LFNS}


async def _taken(daemons: Daemons, index: IndexSettings) -> bool:
    """Whether the nodes of the index, and the catalog, have taken it, and the nodes are complete."""
    async with LrcClient(daemons.lrc.url) as lrc:
        if (await lrc.status()).ring != index.ring.version:
            return False
    for name in index.urls:
        async with RliNodeClient(daemons.nodes[name].url) as node:
            said = await node.status()
        if said.ring != index.ring.version or said.slots_complete != said.slots_owned:
            return False
    await asyncio.sleep(index.expiry_s / 10)
    return True
