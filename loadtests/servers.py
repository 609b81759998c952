"""The servers of a load test: catalogs and index nodes as processes of their own, as `reploc … serve` runs them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import msgspec

from reploc.client.transport import HttpTransport, Request
from reploc.demo.ports import free_port
from reploc.demo.processes import Process
from reploc.errors import ReplocError, Unreachable
from reploc.members import IndexSettings, Node
from reploc.status import Health

#: Seconds that a server may take to build its first summaries: a catalog of ten million names needs about ten.
READY_S = 120.0
LOOK_S = 0.02
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def index_of(nodes: int, **settings: Any) -> IndexSettings:
    """An index of so many nodes on free ports of the loopback, each slot at two of them where there are two."""
    listed = [Node(name=f"node-{number}", url=f"http://127.0.0.1:{free_port()}") for number in range(1, nodes + 1)]
    return IndexSettings(nodes=listed, redundancy=min(2, max(1, nodes)), **settings)


#: Settings above all tables.
Head: TypeAlias = dict[str, str | int]


class PeerMissing(Exception):
    """A server that ours is compared with is not installed."""


@dataclass(frozen=True)
class Server:
    """One server process: where it answers, and what it has used of the machine."""

    process: Process

    @property
    def url(self) -> str:
        return self.process.url

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def cpu_s(self) -> float:
        """Processor seconds that it has used, in its own code and in the kernel's."""
        return cpu_s_of(self.pid)

    def share(self, before_s: float, seconds: float, count: int) -> str:
        """What so many answers have cost since the server had used `before_s`, and how busy one processor was."""
        return shared(self.cpu_s - before_s, seconds, count)

    @property
    def resident_bytes(self) -> int:
        """Bytes of memory that are its own: not those of a store that it has mapped."""
        return self._status_bytes("RssAnon") + self._status_bytes("RssShmem")

    @property
    def peak_bytes(self) -> int:
        """Bytes of memory that it had at most so far, files that it has mapped included."""
        return self._status_bytes("VmHWM")

    def _status_bytes(self, name: str) -> int:
        text = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        lines = dict(line.split(":", 1) for line in text.splitlines())
        return int(lines[name].split()[0]) << 10

    @property
    def pid(self) -> int:
        """Its process."""
        running = self.process.running
        assert running is not None, "the server has been stopped"
        return running.pid


def shared(used_s: float, seconds: float, count: int) -> str:
    """What a server's processor seconds come to: its share of a core, and for each of so many answers."""
    return f"server {used_s / seconds:.0%} of a core, {used_s / count * 1e6:,.1f} µs each"


def cpu_s_of(pid: int, *, children: bool = False) -> float:
    """Processor seconds of a process; with `children` of those that it started too, whether they have ended or not."""
    fields = _stat(Path(f"/proc/{pid}/stat"))
    used = sum(map(int, fields[11 : 15 if children else 13])) / _TICKS_PER_S
    if not children:
        return used
    return used + sum(cpu_s_of(int(path.parent.name), children=True) for path in _stats() if _parent(path) == pid)


def _stats() -> Iterator[Path]:
    return Path("/proc").glob("[0-9]*/stat")


def _parent(path: Path) -> int:
    try:
        return int(_stat(path)[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0  # it has ended meanwhile, and counts with those that its parent waited for


def _stat(path: Path) -> list[str]:
    """The fields of a process from its state on, which its name cannot confuse."""
    return path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def catalog(
    folder: Path,
    site: str,
    store: Path,
    index: IndexSettings,
    *,
    tables: str = "",
    scheme: str = "http",
    workers: int = 1,
) -> Process:
    """The command of a catalog on a free port, with its settings and log in the folder; `tables` are more settings."""
    port = free_port()
    head: Head = {"site": site, "store": str(store), "listen": f"127.0.0.1:{port}", "workers": workers}
    return _process("lrc", f"lrc-{site}", folder, head, index, f"{scheme}://127.0.0.1:{port}", tables)


def node(folder: Path, name: str, index: IndexSettings, *, tables: str = "", workers: int = 1) -> Process:
    """The command of an index node where the index says that it is; `tables` are more settings."""
    url = index.urls[name]
    head: Head = {"node": name, "listen": urlsplit(url).netloc, "workers": workers}
    return _process("rli", name, folder, head, index, url, tables)


@contextmanager
def running(process: Process, *, ready: bool = True) -> Iterator[Server]:
    """A server while the context lasts; once it is `ready` to do its work, or else as soon as it answers."""
    process.start()
    try:
        asyncio.run(_answering(process, ready))
        yield Server(process)
    finally:
        process.stop()


def shared_by(server: Server, processes: int) -> None:
    """Waits until so many processes of a server listen on its port."""
    until = time.monotonic() + READY_S
    while listeners(server.port) < processes:
        assert time.monotonic() < until, f"{listeners(server.port)} processes listen on port {server.port}"
        time.sleep(LOOK_S)


def listeners(port: int) -> int:
    """How many sockets listen on a port of the loopback."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return sum(row[1] == f"0100007F:{port:04X}" and row[3] == "0A" for row in rows)


async def _answering(process: Process, ready: bool) -> None:
    await process.answering()
    if not ready:
        return
    transport = HttpTransport()
    loop = asyncio.get_running_loop()
    until = loop.time() + READY_S
    try:
        while loop.time() < until:
            try:
                await transport.ask(Request("GET", process.url, "/readyz", Health), loop.time() + 1.0)
                return
            except ReplocError:
                await asyncio.sleep(LOOK_S)
    finally:
        await transport.close()
    raise Unreachable(f"{process.name} was not ready within {READY_S:.0f} s")


def _process(
    kind: str, name: str, folder: Path, head: Head, index: IndexSettings, url: str, tables: str = ""
) -> Process:
    settings = folder / f"{name}.toml"
    settings.write_text(_toml(head, index) + tables, encoding="utf-8")
    return Process(name, [kind, "serve", "--config", str(settings)], url, folder / f"{name}.log")


def _toml(head: Head, index: IndexSettings) -> str:
    """Settings as TOML writes them: JSON's forms agree for text and numbers."""
    fields = {name: value for name, value in msgspec.structs.asdict(index).items() if name != "nodes"}
    lines = [f"{key} = {_value(value)}" for key, value in head.items()]
    lines += ["[index]", *(f"{key} = {_value(value)}" for key, value in fields.items())]
    for listed in index.nodes:
        lines += ["[[index.nodes]]", f"name = {_value(listed.name)}", f"url = {_value(listed.url)}"]
    return "\n".join([*lines, ""])


def _value(value: str | float) -> str:
    return msgspec.json.encode(value).decode()
