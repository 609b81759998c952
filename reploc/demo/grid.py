"""The demo's grid: three sites with a catalog and storage each, and four index nodes, all on the loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import field, to_builtins
from msgspec.structs import replace

from reploc.client import LrcClient, RliClient, RliNodeClient
from reploc.config import Settings
from reploc.demo.ports import free_port
from reploc.demo.processes import LOOK_S, Process
from reploc.demo.safety import HOST, Safety
from reploc.errors import DeadlineExceeded, Unreachable
from reploc.members import IndexSettings, Node, ParentsSettings

SITES = ("site-a", "site-b", "site-c")
NODES = ("rli-1", "rli-2", "rli-3", "rli-4")
#: The services beside the grid, which later chapters start.
SERVICES = ("placement", "fileops")
#: Seconds that the grid may take to come to rest after each act.
REST_S = 60.0

#: A real grid renews every thirty seconds and expires after ninety; a story must be shorter.
_PACE = {"increment_interval_s": 0.2, "renewal_interval_s": 1.0, "expiry_s": 4.0, "forget_after_s": 3600.0}
#: Seconds between full updates: of an index that is told nothing in between, and of any other.
_FULL_S, _FULL_BESIDE_S = 2.0, 60.0


class Example(Settings, frozen=True):
    """A file that describes an index and nothing else, as those of the example systems do; with `parents` the index
    above it, to which all of its nodes tell their news."""

    index: IndexSettings = field(default_factory=IndexSettings)
    parents: ParentsSettings = field(default_factory=ParentsSettings)


#: There is no index above.
NO_PARENTS = ParentsSettings()
#: The story's own index.
INDEX = IndexSettings(redundancy=2, nodes=[Node(name=name, url=f"http://{name}:39290") for name in NODES])


class Grid:
    """The grid in a directory: its settings files, its processes, and clients that talk to it."""

    def __init__(
        self, directory: Path, *, tls: bool = False, index: IndexSettings = INDEX, parents: IndexSettings = NO_PARENTS
    ) -> None:
        """With `tls` everyone has a certificate, and nobody may more than the rules say.

        The nodes are those of `index` and of the index above it, if there is one, at addresses of this machine, and
        everything takes less time than there.
        """
        self.directory = directory
        self.below = tuple(node.name for node in index.nodes)
        #: The nodes whom clients ask: those at the top.
        self.asked = tuple(node.name for node in parents.nodes) or self.below
        self.nodes = tuple(dict.fromkeys([*self.asked, *self.below]))
        self.safety = Safety(directory, SITES, self.nodes, SERVICES) if tls else None
        if self.safety is not None:
            self.safety.show()
        scheme = "https" if tls else "http"
        ports = {name: free_port() for name in (*SITES, *self.nodes, *SERVICES)}
        self.urls = {name: f"{scheme}://{HOST}:{port}" for name, port in ports.items()}
        self.storage = {site: directory / site / "storage" for site in SITES}
        self.settings = self._here(index)
        self.parents = self._here(parents)
        self.described = _toml("index", self.settings)
        self.processes = {name: self._process(name) for name in (*SITES, *self.nodes)}

    def _here(self, index: IndexSettings) -> IndexSettings:
        """The same index on this machine."""
        nodes = [Node(name=node.name, url=self.urls[node.name]) for node in index.nodes]
        full_s = _FULL_S if index.mode == "full" else _FULL_BESIDE_S
        return replace(index, nodes=nodes, full_interval_s=full_s, **_PACE)

    def _index_of(self, name: str) -> str:
        """What a daemon is told of the index: its own, and what is above or below that."""
        if name not in self.parents.urls:
            above = _toml("parents", self.parents) if name in self.below and self.parents.nodes else ""
            return f"{self.described}\n{above}"
        children = "".join(f'[[children]]\nname = "{child}"\n\n' for child in self.below)
        return f"{_toml('index', self.parents)}\n{children}"

    def _process(self, name: str) -> Process:
        kind, own = ("lrc", f'site = "{name}"') if name in SITES else ("rli", f'node = "{name}"')
        store = f'\nstore = "{self.directory / name / "catalog"}"' if name in SITES else ""
        return self._daemon(name, kind, f"{own}{store}\n{self._index_of(name)}")

    def _daemon(self, name: str, kind: str, own: str) -> Process:
        """A daemon with its directory, its settings file and, where there is safety, its certificate."""
        home = self.directory / name
        home.mkdir(parents=True)
        settings = home / f"{kind}.toml"
        listen = self.urls[name].partition("://")[2]
        safety = self.safety.settings(name) if self.safety is not None else ""
        settings.write_text(f'listen = "{listen}"\n{own}{safety}')
        return Process(name, [kind, "serve", "--config", str(settings)], self.urls[name], home / "log")

    async def add(self, service: str, own: str) -> None:
        """Starts a service beside the grid, with settings of its own, and returns when it answers."""
        process = self._daemon(service, service, own)
        self.processes[service] = process
        process.start()
        await process.answering()

    @property
    def variables(self) -> Mapping[str, str]:
        """What commands need in their environment to be let in."""
        return self.safety.variables if self.safety is not None else {}

    async def start(self) -> None:
        """Starts every daemon, and returns when all answer."""
        for process in self.processes.values():
            process.start()
        await asyncio.gather(*(process.answering() for process in self.processes.values()))

    def stop(self) -> None:
        """Stops every daemon that runs."""
        for process in self.processes.values():
            process.stop()

    def lrc(self, site: str) -> LrcClient:
        """A client of a site's catalog."""
        return LrcClient(self.urls[site])

    def index(self) -> RliClient:
        """A client of the index, which learns the nodes from whichever answers."""
        return RliClient([self.urls[node] for node in self.asked])

    async def settled(self, sites: tuple[str, ...] = SITES, nodes: tuple[str, ...] = NODES) -> None:
        """Waits until these nodes are complete and hold all that these sites registered. Raises DeadlineExceeded."""
        loop = asyncio.get_running_loop()
        until = loop.time() + REST_S
        waiting = "nothing"
        while loop.time() < until:
            waiting = await self._unsettled(sites, nodes)
            if not waiting:
                return
            await asyncio.sleep(LOOK_S)
        raise DeadlineExceeded(f"the grid did not come to rest within {REST_S:g} s: {waiting}")

    async def _unsettled(self, sites: tuple[str, ...], nodes: tuple[str, ...]) -> str:
        """What is still to come, or empty text."""
        for node in nodes:
            async with RliNodeClient(self.urls[node]) as client:
                try:
                    status = await client.status()
                except Unreachable:
                    return f"{node} does not answer"
                if status.slots_complete < status.slots_owned:
                    return f"{node} is complete for {status.slots_complete} of its {status.slots_owned} slots"
        for site in sites:
            async with self.lrc(site) as catalog:
                sent, position = await catalog.soft_state(), (await catalog.status()).position
            for progress in sent.nodes:
                if progress.node in nodes and (progress.applied_position < position or progress.owed_slots):
                    return f"{progress.node} has applied position {progress.applied_position} of {position} of {site}"
        return ""


def _toml(name: str, index: IndexSettings) -> str:
    """The table of an index in a settings file."""
    told: dict[str, Any] = to_builtins(index)
    tables = {key: value for key, value in told.items() if key in ("nodes", "lfn_rules", "site_rules")}
    lines = [f"[{name}]", *_pairs({key: value for key, value in told.items() if key not in tables})]
    for key, rows in tables.items():
        for row in rows:
            lines += ["", f"[[{name}.{key}]]", *_pairs(row)]
    return "\n".join([*lines, ""])


def _pairs(table: dict[str, Any]) -> list[str]:
    """Text, numbers, truth and lists of them are written in TOML as in JSON."""
    return [f"{key} = {json.dumps(value)}" for key, value in table.items() if value is not None]
