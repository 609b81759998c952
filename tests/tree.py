"""A tree of index nodes in one process: a level of nodes above the other, and catalogs below, over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from grid import Service, Site, index_settings, node, pfns, until
from msgspec import to_builtins
from msgspec.structs import replace

from reploc.client.index import RliClient
from reploc.client.resolve import Lookup
from reploc.demo.ports import free_port
from reploc.hierarchy import Child
from reploc.members import IndexSettings, Node, ParentsSettings


def level(*names: str, **changes: Any) -> IndexSettings:
    """The index of one level, whose nodes have these names: whole names, held by every node."""
    nodes = [Node(name=name, url=f"http://127.0.0.1:{free_port()}") for name in names]
    told = {"compression": "none", "collections": False, "redundancy": len(names), "lfn_partition": "none"}
    return replace(index_settings(len(names), **{**told, **changes}), nodes=nodes)


def above(parents: IndexSettings) -> ParentsSettings:
    """The same index as its children are told of it."""
    told = {key: value for key, value in to_builtins(parents).items() if key != "nodes"}
    return ParentsSettings(**told, nodes=parents.nodes)


class Tree:
    """Index nodes by name, each a node of one of the `levels`, the lowest first, and sites under the lowest ones."""

    def __init__(self, path: Path, levels: Sequence[Sequence[IndexSettings]]) -> None:
        """Each level is one index or several, of which each node tells all of the one index above."""
        self.levels = levels
        self.nodes: dict[str, Service] = {}
        self.sites: dict[str, Site] = {}
        self._path = path
        for number, indexes in enumerate(levels):
            below = [name for index in levels[number - 1] for name in index.urls] if number else []
            up = {"parents": above(levels[number + 1][0])} if number + 1 < len(levels) else {}
            for index in indexes:
                for name in index.urls:
                    children = [Child(name=child) for child in below]
                    self.nodes[name] = node(name, index, children=children, **up)
        self.root = levels[-1][0]
        self.client = RliClient(list(self.root.urls.values()))

    async def site(self, name: str, below: IndexSettings, lfns: Sequence[str] = ()) -> Site:
        """A new site that tells one of the lowest indexes, started and filled."""
        site = self.sites[name] = Site(name, self._path / name, below)
        await site.start()
        await site.put(lfns)
        return site

    async def stop(self) -> None:
        await self.client.close()
        for each in [*self.sites.values(), *self.nodes.values()]:
            await each.stop()

    def truth(self, lfns: Sequence[str]) -> Mapping[str, set[str]]:
        """The PFNs of each LFN."""
        return {lfn: {site.pfn(lfn) for site in self.sites.values() if lfn in site.held} for lfn in lfns}

    async def settled(self, lfns: Sequence[str]) -> Lookup:
        """Waits until a lookup of these LFNs, begun at the root, is complete and right."""
        truth = self.truth(lfns)

        def holds(said: Lookup) -> bool:
            return said.complete and pfns(said) == truth

        return await until(lambda: self.client.lookup(lfns), holds, f"{len(lfns)} lookups are complete and right")


@asynccontextmanager
async def tree(path: Path, *levels: Sequence[IndexSettings]) -> AsyncIterator[Tree]:
    """A tree whose nodes are running, and which has no sites yet."""
    made = Tree(path, levels)
    try:
        for each in made.nodes.values():
            await each.start()
        yield made
    finally:
        await made.stop()
