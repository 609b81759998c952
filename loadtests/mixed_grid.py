"""The grid of the mixed load: two sites that hold the same names, and two index nodes that are complete."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtests import servers
from loadtests.program import Scale, said
from loadtests.servers import Server
from loadtests.stores import copied
from reploc.client.node import RliNodeClient

SITES = ("site-a", "site-b")
#: Short enough that the nodes are soon complete; three renewals, as by default.
RENEWAL_S, EXPIRY_S = 2.0, 6.0
#: Seconds that the nodes may take to be complete, and between two looks.
COMPLETE_S, LOOK_S = 60.0, 0.1


@dataclass(frozen=True)
class Grid:
    """Catalogs and index nodes that answer."""

    catalogs: list[Server]
    nodes: list[Server]

    @property
    def cpu_s(self) -> float:
        """Processor seconds that all of them have used."""
        return sum(server.cpu_s for server in (*self.catalogs, *self.nodes))


@contextmanager
def grid(scale: Scale, folder: Path) -> Iterator[Grid]:
    """The grid while the context lasts; both sites hold files 0 to `scale.names`."""
    index = servers.index_of(len(SITES), renewal_interval_s=RENEWAL_S, expiry_s=EXPIRY_S)
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(servers.running(servers.node(folder, node.name, index), ready=False))
            for node in index.nodes
        ]
        stores = {site: copied(scale, folder, site=site) for site in SITES}
        catalogs = [
            stack.enter_context(servers.running(servers.catalog(folder, site, store, index)))
            for site, store in stores.items()
        ]
        said("waiting until the nodes are complete")
        for node in nodes:
            asyncio.run(_complete(node))
        yield Grid(catalogs, nodes)


async def _complete(node: Server) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + COMPLETE_S
    async with RliNodeClient(node.url) as client:
        while True:
            status = await client.status()
            if status.sites_live == len(SITES) and status.slots_complete == status.slots:
                return
            assert loop.time() < until, f"after {COMPLETE_S:.0f} s {status.slots_complete} slots are complete"
            await asyncio.sleep(LOOK_S)
