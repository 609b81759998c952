"""What the RLS port is told to change: requests become those of the one writer, and its errors the protocol's codes.

A request is acknowledged when it is durable. The items of a bulk request are independent of each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Literal, TypeAlias

from lrc.catalog import Catalog
from lrc.clearing import clear_mappings
from lrc.threads import Threads
from lrc.writer import Writer
from reploc.rls.port import code_of
from reploc.rls.protocol import DONE, Code, Refused, Request, listing, name
from reploc.wire import DeleteBody, DeleteItem, ItemError, MappingItem, MappingsBody, RenameBody, RenameItem

Pairs: TypeAlias = Sequence[tuple[str, str]]


class Writes:
    """The methods that change mappings."""

    def __init__(self, catalog: Catalog, threads: Threads, writer: Writer) -> None:
        self._catalog = catalog
        self._threads = threads
        self._writer = writer

    async def create(self, request: Request) -> bytes:
        """`lrc_create` lfn, pfn: the LFN must be new."""
        return _single(await self._register("create", [_pair(request.parameters)]), request)

    async def add(self, request: Request) -> bytes:
        """`lrc_add` lfn, pfn: the LFN must be known, the mapping new."""
        return _single(await self._register("add", [_pair(request.parameters)]), request)

    async def delete(self, request: Request) -> bytes:
        """`lrc_delete` lfn, pfn."""
        return _single(await self._remove([_pair(request.parameters)]), request)

    async def rename_lfn(self, request: Request) -> bytes:
        """`lrc_renamelfn` old, new."""
        return _single(await self._rename("lfn", [_pair(request.parameters, "old", "new")]), request)

    async def rename_pfn(self, request: Request) -> bytes:
        """`lrc_renamepfn` old, new."""
        return _single(await self._rename("pfn", [_pair(request.parameters, "old", "new")]), request)

    async def create_bulk(self, request: Request) -> bytes:
        """`lrc_create_bulk`: the failed items alone are listed, as by all that follow."""
        pairs = [_pair(item) for item in request.items]
        return _failed(await self._register("create", pairs), pairs)

    async def add_bulk(self, request: Request) -> bytes:
        """`lrc_add_bulk`."""
        pairs = [_pair(item) for item in request.items]
        return _failed(await self._register("add", pairs), pairs)

    async def delete_bulk(self, request: Request) -> bytes:
        """`lrc_delete_bulk`."""
        pairs = [_pair(item) for item in request.items]
        return _failed(await self._remove(pairs), pairs)

    async def rename_lfn_bulk(self, request: Request) -> bytes:
        """`lrc_renamelfn_bulk`."""
        pairs = [_pair(item, "old", "new") for item in request.items]
        return _failed(await self._rename("lfn", pairs), pairs)

    async def rename_pfn_bulk(self, request: Request) -> bytes:
        """`lrc_renamepfn_bulk`."""
        pairs = [_pair(item, "old", "new") for item in request.items]
        return _failed(await self._rename("pfn", pairs), pairs)

    async def clear(self, _: Request) -> bytes:
        """`lrc_clear`: every mapping goes, in commits of some LFNs each."""
        await clear_mappings(self._catalog, self._threads, self._writer)
        return DONE

    # ---- the writer's side -------------------------------------------------------------------------------------------

    async def _register(self, mode: Literal["create", "add"], pairs: Pairs) -> list[ItemError]:
        """What is wrong with each item. A mapping that is there is success to the writer, and an error here."""
        body = MappingsBody(mode, [MappingItem(lfn, pfn) for lfn, pfn in pairs])
        if mode == "create":
            return (await self._writer.submit(body)).errors
        there = await self._there(pairs)
        known = [
            ItemError(index, "mapping-exists", f"{lfn},{pfn}")
            for index, (lfn, pfn) in enumerate(pairs)
            if (lfn, pfn) in there
        ]
        return (await self._writer.submit(body)).errors + known

    async def _there(self, pairs: Pairs) -> set[tuple[str, str]]:
        """Those of the mappings that the catalog holds now."""
        found = await self._threads.run(partial(self._catalog.lookup_many, [lfn for lfn, _ in pairs]))
        return {(lfn, pfn) for lfn, pfn in pairs if lfn in found.replicas and pfn in found.replicas[lfn].pfns}

    async def _remove(self, pairs: Pairs) -> list[ItemError]:
        body = DeleteBody([DeleteItem(lfn, pfn) for lfn, pfn in pairs])
        return [await self._precise(wrong, pairs) for wrong in (await self._writer.submit(body)).errors]

    async def _precise(self, wrong: ItemError, pairs: Pairs) -> ItemError:
        """The protocol tells a PFN that is nowhere from one that stands under other LFNs."""
        if wrong.code != "mapping-unknown":
            return wrong
        held = await self._threads.run(partial(self._catalog.lfns_by_pfn, pairs[wrong.index][1], 1))
        return wrong if held.lfns else ItemError(wrong.index, "pfn-unknown", wrong.message)

    async def _rename(self, what: Literal["lfn", "pfn"], pairs: Pairs) -> list[ItemError]:
        body = RenameBody(what, [RenameItem(old, new) for old, new in pairs])
        return (await self._writer.submit(body)).errors


def _pair(tokens: Sequence[bytes], first: str = "lfn", second: str = "pfn") -> tuple[str, str]:
    return name(tokens[0], first), name(tokens[1], second)


def _single(errors: Sequence[ItemError], request: Request) -> bytes:
    """The reply to a request of one item; the detail of an error is the name that it is about."""
    if not errors:
        return DONE
    first, second = (token.decode() for token in request.parameters)
    rename = request.method.startswith(b"lrc_rename")
    code = code_of(errors[0].code)
    detail = {
        Code.LFN_EXISTS: second if rename else first,
        Code.LFN_UNKNOWN: first,
        Code.PFN_UNKNOWN: first if rename else second,
        Code.MAPPING_UNKNOWN: f"{first},{second}",
        Code.MAPPING_EXISTS: f"{first},{second}",
    }
    raise Refused(code, detail.get(code, f"{errors[0].code}: {errors[0].message}"))


def _failed(errors: Iterable[ItemError], pairs: Pairs) -> bytes:
    """The reply to a bulk request."""
    return listing((str(code_of(wrong.code).value), *pairs[wrong.index]) for wrong in errors)
