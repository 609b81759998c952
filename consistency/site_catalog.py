"""A site's catalog as a run asks it: the local replica catalog over HTTP.

After a listing it says from its log which LFNs it changed since it was read; what they are now is asked of the catalog
itself, as far as it still holds them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import polars as pl

from consistency.catalog import Paths, frame
from consistency.check import CatalogState, Changes
from reploc.client.lrc import LrcClient
from reploc.errors import ChangesForgotten
from reploc.wire import LfnReplica


class SiteCatalog:
    """The catalog behind a client, which is its giver's to close."""

    def __init__(self, client: LrcClient, paths: Paths) -> None:
        self._client = client
        self._paths = paths

    async def state(self) -> CatalogState:
        """Its position and size. Raises what the catalog raises, or Unreachable."""
        status = await self._client.status()
        return CatalogState(status.position, status.mappings)

    def files(self) -> AsyncIterator[LfnReplica]:
        """All that it holds."""
        return self._client.dump()

    async def changes(self, after: int, since: float | None) -> Changes | None:
        """What it changed after a position, or since a moment; None where its log does not reach back so far."""
        moments: dict[bytes, float] = {}
        try:
            async for change in self._client.changes(after if since is None else 0, since):
                moments[change.lfn.encode()] = change.at
        except ChangesForgotten:
            return None
        return Changes(moments, await self._now([lfn.decode() for lfn in moments]))

    async def _now(self, lfns: list[str]) -> pl.DataFrame:
        found = await self._client.replicas(lfns)
        rows = [
            (path, file.size, file.checksum, lfn.encode())
            for lfn, file in found.replicas.items()
            for pfn in file.pfns
            if (path := self._paths.of(pfn)) is not None
        ]
        return frame(rows)
