"""Whom the checker asks: file operations, which move files, and placement, which knows what is still being filled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from reploc.client.calls import Calls
from reploc.orders import BlockFiles
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


class _DatasetRow(Answer, frozen=True):
    name: str
    is_open: bool
    last_update: int


class _Datasets(Answer, frozen=True):
    datasets: list[_DatasetRow]
    next: str | None = None


class _ReplicaRow(Answer, frozen=True):
    block: str


class _Dataset(Answer, frozen=True):
    replicas: list[_ReplicaRow]


class OpenBlocks(Calls):
    """Placement at the base address `url`, as far as it knows which datasets are still being filled."""

    async def lfns(self, since: float) -> AsyncIterator[str]:
        """The LFNs of all blocks of open datasets that were updated since a moment (seconds since the epoch)."""
        after: str | None = None
        while True:
            page = await self._get("/v1/datasets", _Datasets, after=after)
            for dataset in page.datasets:
                if dataset.is_open and dataset.last_update >= since:
                    async for lfn in self._of_dataset(dataset.name):
                        yield lfn
            if page.next is None:
                return
            after = page.next

    async def _of_dataset(self, name: str) -> AsyncIterator[str]:
        found = await self._get("/v1/dataset", _Dataset, name=name)
        for block in dict.fromkeys(replica.block for replica in found.replicas):
            async for lfn in self._of_block(block):
                yield lfn

    async def _of_block(self, name: str) -> AsyncIterator[str]:
        after: str | None = None
        while True:
            page = await self._get("/v1/block/files", BlockFiles, name=name, after=after)
            for file in page.files:
                yield file.lfn
            if page.next is None:
                return
            after = page.next
