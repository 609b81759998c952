"""Whom the checker asks for help: file operations, which make new copies, and the index, which knows other copies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from reploc.client.calls import Calls
from reploc.wire import Answer, Body

#: States of operations that are under way, or will be.
OPEN_STATES = ("queued", "active", "waiting", "held")


class _Copy(Body, frozen=True):
    """A copy that is wanted; the rest of it file operations ask of the sources' catalogs."""

    site: str
    lfn: str
    sources: tuple[str, ...]
    size: int | None
    checksum: str | None
    collection: str | None
    kind: str = "copy"


class _Copies(Body, frozen=True):
    operations: list[_Copy]


class _Submitted(Answer, frozen=True):
    ids: list[int]


class _Operation(Answer, frozen=True):
    lfn: str


class _Operations(Answer, frozen=True):
    operations: list[_Operation]
    next: int | None = None


class Carriers(Calls):
    """File operations at the base address `url`, as far as the checker needs them."""

    async def copy(
        self,
        lfn: str,
        site: str,
        sources: Sequence[str],
        *,
        size: int | None,
        checksum: str | None,
        collection: str | None,
    ) -> int:
        """Orders a new copy of a file, durably; the number of the operation."""
        wanted = _Copy(site, lfn, tuple(sources), size, checksum, collection)
        return (await self._post("/v1/operations", _Copies([wanted]), _Submitted)).ids[0]

    async def under_way(self, site: str) -> AsyncIterator[str]:
        """The LFNs of all operations at a site that have not ended."""
        for state in OPEN_STATES:
            after: int | None = 0
            while after is not None:
                page = await self._get("/v1/operations", _Operations, site=site, state=state, after=str(after))
                for operation in page.operations:
                    yield operation.lfn
                after = page.next
