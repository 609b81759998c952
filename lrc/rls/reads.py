"""What the RLS port is asked about mappings: by LFN and by existence as arrays, by PFN and by wildcard page by page.

Results come in descending order, as from the original server, whose clients print a list from its end. Finding nothing
is an error there, never an empty list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from lrc.catalog import Catalog
from lrc.descending import Pair, PairsPage
from lrc.threads import Threads
from reploc.names import Pattern, like
from reploc.rls.protocol import DONE, Code, ObjectType, Refused, Request, cut, listing, name, object_type, window
from reploc.wire import Names, Replica

#: Mappings of one answer: about twenty megabytes. Who asks for more is told to page, or to narrow the pattern.
RESULTS_MAX = 100_000

#: Reads a page of mappings: (pattern, below) to what was found.
PageOf: TypeAlias = Callable[[Pattern, str | None], PairsPage]


class Reads:
    """The methods that change nothing."""

    def __init__(self, catalog: Catalog, threads: Threads) -> None:
        self._catalog = catalog
        self._threads = threads

    # ---- at once, as arrays ------------------------------------------------------------------------------------------

    def get_pfn(self, requests: Sequence[Request]) -> list[bytes | Refused]:
        """`lrc_get_pfn` lfn, offset, limit: each mapping of the LFN."""
        if len(requests) == 1:
            lfn = name(requests[0].parameters[0], "lfn")
            return [_mappings(requests[0], lfn, self._catalog.lookup(lfn))]
        lfns = [name(request.parameters[0], "lfn") for request in requests]
        found = self._catalog.lookup_many(lfns).replicas
        return [_mappings(request, lfn, found.get(lfn)) for request, lfn in zip(requests, lfns, strict=True)]

    def exists(self, requests: Sequence[Request]) -> list[bytes | Refused]:
        """`lrc_exists` key, object type."""
        kinds = [_object_type(request.parameters[1]) for request in requests]
        keys = [name(request.parameters[0], "name") for request in requests]
        known = self._known(list(zip(keys, kinds, strict=True)))
        return [
            DONE if there else Refused(_unknown(kind), f"{key},{kind:d}")
            for key, kind, there in zip(keys, kinds, known, strict=True)
        ]

    def mapping_exists(self, requests: Sequence[Request]) -> list[bytes | Refused]:
        """`lrc_mapping_exists` lfn, pfn."""
        pairs = [(name(one.parameters[0], "lfn"), name(one.parameters[1], "pfn")) for one in requests]
        found = self._catalog.lookup_many([lfn for lfn, _ in pairs]).replicas
        return [
            DONE if lfn in found and pfn in found[lfn].pfns else Refused(Code.MAPPING_UNKNOWN, f"{lfn},{pfn}")
            for lfn, pfn in pairs
        ]

    def _known(self, keys: Sequence[tuple[str, ObjectType]]) -> list[bool]:
        """Whether the catalog holds each LFN or PFN."""
        lfns = [key for key, kind in keys if kind is ObjectType.LRC_LFN]
        known = set(self._catalog.exists(lfns).known) if lfns else set()
        return [
            key in known if kind is ObjectType.LRC_LFN else bool(self._catalog.lfns_by_pfn(key, 1).lfns)
            for key, kind in keys
        ]

    # ---- in threads --------------------------------------------------------------------------------------------------

    async def get_lfn(self, request: Request) -> bytes:
        """`lrc_get_lfn` pfn, offset, limit: each LFN that the PFN stands under."""
        pfn = name(request.parameters[0], "pfn")
        lfns = await self._lfns_of(pfn)
        if not lfns:
            raise Refused(Code.PFN_UNKNOWN, pfn)
        return _reply(cut(request, [(lfn, pfn) for lfn in reversed(lfns)]), Code.PFN_UNKNOWN, pfn)

    async def get_pfn_wc(self, request: Request) -> bytes:
        """`lrc_get_pfn_wc` pattern of SQL, offset, limit: each mapping whose LFN matches."""
        return await self._matching(request, self._catalog.pairs_by_lfn, Code.LFN_UNKNOWN)

    async def get_lfn_wc(self, request: Request) -> bytes:
        """`lrc_get_lfn_wc` pattern of SQL, offset, limit: each mapping whose PFN matches."""
        return await self._matching(request, self._catalog.pairs_by_pfn, Code.PFN_UNKNOWN)

    async def get_pfn_bulk(self, request: Request) -> bytes:
        """`lrc_get_pfn_bulk`: for each LFN its mappings, or one entry that it is unknown."""
        lfns = [name(key, "lfn") for (key,) in request.items]
        found = (await self._threads.run(partial(self._catalog.lookup_many, lfns))).replicas
        entries: list[Sequence[str]] = []
        for lfn in lfns:
            entries += [("0", lfn, pfn) for pfn in found[lfn].pfns] if lfn in found else [_miss(Code.LFN_UNKNOWN, lfn)]
        return listing(entries)

    async def get_lfn_bulk(self, request: Request) -> bytes:
        """`lrc_get_lfn_bulk`: for each PFN the LFNs that it stands under, or one entry that it is unknown."""
        entries: list[Sequence[str]] = []
        for pfn in [name(key, "pfn") for (key,) in request.items]:
            lfns = await self._lfns_of(pfn)
            entries += [("0", lfn, pfn) for lfn in lfns] or [_miss(Code.PFN_UNKNOWN, pfn)]
            _bound(entries)
        return listing(entries)

    async def exists_bulk(self, request: Request) -> bytes:
        """`lrc_exists_bulk` object type: for each key whether it is known."""
        kind = _object_type(request.parameters[0])
        keys = [(name(key, "name"), kind) for (key,) in request.items]
        known = await self._threads.run(partial(self._known, keys))
        return listing(
            ("0", key, "") if there else _miss(_unknown(kind), key) for (key, _), there in zip(keys, known, strict=True)
        )

    async def _lfns_of(self, pfn: str) -> list[str]:
        """All LFNs that a PFN stands under, ascending."""
        found: list[str] = []
        after: str | None = None
        while True:
            page: Names = await self._threads.run(partial(self._catalog.lfns_by_pfn, pfn, after=after))
            found += page.lfns
            _bound(found)
            if page.next is None:
                return found
            after = page.next

    async def _matching(self, request: Request, page_of: PageOf, unknown: Code) -> bytes:
        """The mappings of one listing, cut to offset and limit, which the pages before are counted for."""
        text = name(request.parameters[0], "pattern")
        pattern, (offset, limit) = like(text), window(request)
        found: list[Pair] = []
        below: str | None = None
        while True:
            pairs, below = await self._threads.run(partial(page_of, pattern, below))
            skipped = min(offset, len(pairs))
            found += pairs[skipped:]
            offset -= skipped
            if below is None or (limit and len(found) >= limit):
                return _reply(found[:limit] if limit else found, unknown, text)
            _bound(found)


def _mappings(request: Request, lfn: str, found: Replica | None) -> bytes | Refused:
    pairs = cut(request, [] if found is None else [(lfn, pfn) for pfn in found.pfns])
    return listing(pairs) if pairs else Refused(Code.LFN_UNKNOWN, lfn)


def _reply(pairs: Sequence[Pair], unknown: Code, what: str) -> bytes:
    if not pairs:
        raise Refused(unknown, what)
    _bound(pairs)
    return listing(pairs)


def _bound(found: Sequence[object]) -> None:
    if len(found) > RESULTS_MAX:
        raise Refused(Code.BAD_ARGUMENT, f"more than {RESULTS_MAX} results; give a limit and page, or narrow it")


def _object_type(token: bytes) -> ObjectType:
    return object_type(token, ObjectType.LRC_LFN, ObjectType.LRC_PFN)


def _unknown(kind: ObjectType) -> Code:
    return Code.LFN_UNKNOWN if kind is ObjectType.LRC_LFN else Code.PFN_UNKNOWN


def _miss(code: Code, key: str) -> tuple[str, str]:
    return str(code.value), key
