"""The client of one local replica catalog: every operation, for any number of items.

Bulk operations are cut into batches (`reploc/client/batches.py`); an error of an item comes back in the answer under
the caller's own index, an error of the service is raised. What earlier batches did then stays done: `put` and `add` may
simply be done again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal

from msgspec import UNSET

from reploc import names
from reploc.changes import Change, Changes
from reploc.client.attributes import AttributesClient
from reploc.client.batches import batch_size, cut, joined
from reploc.client.calls import Calls
from reploc.client.concurrency import side_by_side
from reploc.client.transport import Request
from reploc.errors import LfnUnknown
from reploc.rls.feeding import AddIndexBody, PaceBody, RemoveIndexBody, RlsFeedStatus
from reploc.status import LrcStatus
from reploc.wire import (
    PAGE_ITEMS,
    Collections,
    CollectionTotals,
    DeleteBody,
    DeleteItem,
    Exists,
    Files,
    LfnReplica,
    LfnsBody,
    MappingItem,
    MappingsBody,
    Mode,
    Names,
    Nothing,
    RenameBody,
    RenameItem,
    Replicas,
    SenderStatus,
    Written,
)


class LrcClient(Calls):
    """The catalog at the base address `url`; close it, or use it as an async context."""

    @property
    def attributes(self) -> AttributesClient:
        """The attributes of the catalog's names, over the same connections."""
        return AttributesClient(self.url, request_s=self._request_s, transport=self._transport, site=self.site)

    # ---- writing

    async def write(
        self, mappings: Sequence[MappingItem], mode: Mode = "put", *, atomic: bool = False, update: bool = False
    ) -> Written:
        """Registers mappings. `atomic`: all or none, in one request of at most 10,000 (TooLarge)."""
        size = batch_size(mappings, atomic)
        again = mode != "create"

        async def send(batch: Sequence[MappingItem]) -> Written:
            body = MappingsBody(mode, list(batch), atomic=atomic, update=update)
            return await self._post("/v1/mappings", body, Written, idempotent=again)

        return joined(await side_by_side(send, cut(mappings, size)), size)

    async def create(self, mappings: Sequence[MappingItem], *, atomic: bool = False) -> Written:
        """Registers new LFNs; one that exists is the error `lfn-exists`."""
        return await self.write(mappings, "create", atomic=atomic)

    async def add(self, mappings: Sequence[MappingItem], *, atomic: bool = False, update: bool = False) -> Written:
        """Adds PFNs to known LFNs; one that is unknown is the error `lfn-unknown`."""
        return await self.write(mappings, "add", atomic=atomic, update=update)

    async def put(self, mappings: Sequence[MappingItem], *, atomic: bool = False, update: bool = False) -> Written:
        """Registers mappings whether their LFNs are known or not; one that is there already is success."""
        return await self.write(mappings, "put", atomic=atomic, update=update)

    async def delete(self, mappings: Sequence[DeleteItem], *, atomic: bool = False) -> Written:
        """Deletes mappings, or whole LFNs where no PFN is given."""
        size = batch_size(mappings, atomic)

        async def send(batch: Sequence[DeleteItem]) -> Written:
            body = DeleteBody(list(batch), atomic=atomic)
            return await self._post("/v1/mappings/delete", body, Written, idempotent=False)

        return joined(await side_by_side(send, cut(mappings, size)), size)

    async def rename(
        self, what: Literal["lfn", "pfn"], renames: Sequence[RenameItem], *, atomic: bool = False
    ) -> Written:
        """Renames LFNs or PFNs, in the order given: one may take the name that an earlier one gave up."""
        size = batch_size(renames, atomic)

        async def send(batch: Sequence[RenameItem]) -> Written:
            body = RenameBody(what, list(batch), atomic=atomic)
            return await self._post("/v1/mappings/rename", body, Written, idempotent=False)

        return joined(await side_by_side(send, cut(renames, size), limit=1), size)

    # ---- reading

    async def lookup(self, lfn: str) -> LfnReplica:
        """What the catalog knows of one LFN. Raises LfnUnknown."""
        return await self._get("/v1/replicas", LfnReplica, lfn=names.require(lfn))

    async def find(self, lfn: str) -> LfnReplica | None:
        """The same, or None where the catalog does not hold the LFN."""
        try:
            return await self.lookup(lfn)
        except LfnUnknown:
            return None

    async def replicas(self, lfns: Sequence[str]) -> Replicas:
        """What the catalog knows of many LFNs; `unknown` holds those that it does not know."""

        async def send(batch: Sequence[str]) -> Replicas:
            return await self._post("/v1/replicas", LfnsBody(list(batch)), Replicas)

        answers = await side_by_side(send, cut(_names(lfns)))
        found = Replicas({}, [])
        for answer in answers:
            found.replicas.update(answer.replicas)
            found.unknown.extend(answer.unknown)
        return found

    async def exists(self, lfns: Sequence[str]) -> Exists:
        """Which of many LFNs the catalog holds."""

        async def send(batch: Sequence[str]) -> Exists:
            return await self._post("/v1/exists", LfnsBody(list(batch)), Exists)

        answers = await side_by_side(send, cut(_names(lfns)))
        return Exists(
            [lfn for each in answers for lfn in each.known], [lfn for each in answers for lfn in each.unknown]
        )

    async def lfns_page(
        self,
        *,
        pattern: str | None = None,
        pfn: str | None = None,
        limit: int = PAGE_ITEMS,
        after: str | None = None,
    ) -> Names:
        """One page of the LFNs that match a glob or that a PFN stands under: at most `limit`, behind `after`."""
        return await self._get("/v1/lfns", Names, pattern=pattern, pfn=pfn, limit=str(limit), after=after)

    async def lfns(self, *, pattern: str | None = None, pfn: str | None = None) -> AsyncIterator[str]:
        """All LFNs that match a glob or that a PFN stands under, page after page."""
        after: str | None = None
        while True:
            page = await self.lfns_page(pattern=pattern, pfn=pfn, after=after)
            for lfn in page.lfns:
                yield lfn
            if (after := page.next) is None:
                return

    async def collections_page(
        self, pattern: str = "*", *, limit: int = PAGE_ITEMS, after: str | None = None
    ) -> Collections:
        """One page of the collections that match a glob, with their totals."""
        return await self._get("/v1/collections", Collections, pattern=pattern, limit=str(limit), after=after)

    async def collections(self, pattern: str = "*") -> AsyncIterator[CollectionTotals]:
        """All collections that match a glob, page after page."""
        after: str | None = None
        while True:
            page = await self.collections_page(pattern, after=after)
            for totals in page.collections:
                yield totals
            if (after := page.next) is None:
                return

    async def collection(self, name: str) -> CollectionTotals:
        """The totals of one collection. Raises CollectionUnknown."""
        return await self._get("/v1/collection", CollectionTotals, name=names.require(name, "collection"))

    def collection_files(self, name: str) -> AsyncIterator[LfnReplica]:
        """The files of one collection as the catalog streams them. Raises CollectionUnknown."""
        query = {"name": names.require(name, "collection")}
        request = Request("GET", self.url, "/v1/collection/files", LfnReplica, query, site=self.site)
        return self._transport.stream(request, self._request_s)

    async def collection_files_page(self, name: str, *, limit: int = PAGE_ITEMS, after: str | None = None) -> Files:
        """One page of a collection's files: at most `limit`, behind `after`. Raises CollectionUnknown."""
        name = names.require(name, "collection")
        return await self._get("/v1/collection/files", Files, name=name, limit=str(limit), after=after)

    async def dump_page(self, *, limit: int = PAGE_ITEMS, after: str | None = None) -> Files:
        """One page of everything that the catalog holds."""
        return await self._get("/v1/dump", Files, limit=str(limit), after=after)

    def dump(self) -> AsyncIterator[LfnReplica]:
        """Everything that the catalog holds, streamed."""
        request = Request("GET", self.url, "/v1/dump", LfnReplica, site=self.site)
        return self._transport.stream(request, self._request_s)

    # ---- the service itself

    async def changes(self, after: int = 0, since: float | None = None) -> AsyncIterator[Change]:
        """What commits changed after a position, by position; of that only what they did from the moment `since` on
        (seconds since the epoch, by the catalog's clock). Raises ChangesForgotten."""
        follow: int | None = after
        moment = {} if since is None else {"since": repr(since)}
        while follow is not None:
            page = await self._get("/v1/changes", Changes, after=str(follow), **moment)
            for change in page.changes:
                yield change
            follow = page.next

    async def rls_indexes(self) -> RlsFeedStatus:
        """The index servers of the Globus RLS that the catalog sends updates to, and how far each is."""
        return await self._get("/v1/rls/indexes", RlsFeedStatus)

    async def add_rls_index(self, url: str, *, filters: bool = False, pattern: str | None = None) -> RlsFeedStatus:
        """Makes it send to one more, or of one more pattern. Raises RlsIndexExists and RlsPortClosed."""
        body = AddIndexBody(url, filters, UNSET if pattern is None else pattern)
        return await self._post("/v1/rls/indexes", body, RlsFeedStatus, idempotent=False)

    async def remove_rls_index(self, url: str, pattern: str | None = None) -> RlsFeedStatus:
        """Makes it send there no more, or not of that pattern. Raises RlsIndexUnknown."""
        body = RemoveIndexBody(url, UNSET if pattern is None else pattern)
        return await self._post("/v1/rls/indexes/delete", body, RlsFeedStatus, idempotent=False)

    async def pace_rls(self, body: PaceBody) -> RlsFeedStatus:
        """Changes how it sends there, until its daemon starts anew."""
        return await self._post("/v1/rls/pace", body, RlsFeedStatus)

    async def push(self) -> SenderStatus:
        """Makes the catalog send what it owes the index now, and says what it then still owes."""
        return await self._post("/v1/softstate/push", Nothing(), SenderStatus)

    async def soft_state(self) -> SenderStatus:
        """What the catalog sends to the index, and what each node is owed."""
        return await self._get("/v1/softstate", SenderStatus)

    async def status(self) -> LrcStatus:
        """Who the catalog is and what it holds."""
        return await self._get("/v1/status", LrcStatus)


def _names(lfns: Sequence[str]) -> Sequence[str]:
    names.require_all(lfns)
    return lfns
