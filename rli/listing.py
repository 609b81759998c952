"""LFNs by a glob pattern, as an index node lists them: where it is told whole names, which alone can be read.

Over HTTP a page is of this node alone: what other nodes of the index hold, and index nodes below, the client asks them
for, and the answer says when that is needed. Clients of the RLS port know one node, which asks the others itself.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from reploc import names, service
from reploc.actions import Action, matching
from reploc.client.listing import Listed
from reploc.errors import NotIndexed, QueryInvalid
from reploc.listed import ListedLfns, ListedQuery
from reploc.routes import Call, Route, get
from rli.forward import Forward
from rli.index import Index

_CURSOR = re.compile(r"([0-9a-f]{8})-([0-9]{1,10})")


class Listing:
    """What it answers from are the index's lists."""

    def __init__(self, index: Index, forward: Forward) -> None:
        self._index = index
        self._forward = forward
        #: Which process this is: the numbers in its cursors are its own.
        self._life = secrets.token_hex(4)

    def routes(self) -> list[Route[Any]]:
        """The route, whether or not this index is told whole names."""
        return [
            get(
                "/v1/lfns",
                self.lfns,
                ListedQuery,
                "LFNs that match a glob pattern, with the sites that have them, where the index is told whole names",
                action=Action.READ_INDEX,
                acts_on=matching,
            )
        ]

    async def lfns(self, call: Call[ListedQuery]) -> ListedLfns:
        pattern = names.pattern(call.what.pattern)
        self._require_names()
        page = self._index.matching(pattern, call.what.limit, self._behind(call.what), service.now())
        return page if page.next is None else replace(page, next=f"{self._life}-{page.next}")

    async def everywhere(self, pattern: str, limit: int) -> Listed:
        """Up to `limit` LFNs that match, of the whole index and all below. Raises NotIndexed and NameInvalid."""
        self._require_names()
        compiled = names.pattern(pattern)

        async def ours(_: str, most: int, after: str | None) -> ListedLfns:
            await asyncio.sleep(0)  # others are answered between two pages
            return self._index.matching(compiled, most, -1 if after is None else int(after), service.now())

        return await self._forward.listed(pattern, limit, ours)

    def _require_names(self) -> None:
        compression = self._index.settings.compression
        if compression != "none" and not self._index.registry.has_children:
            raise NotIndexed(
                f"this index is not told whole names: index.compression is {compression}; a pattern wants none"
            )

    def _behind(self, asked: ListedQuery) -> int:
        """The number behind which to go on: of another process's cursor none, so that nothing is left out."""
        if asked.after is UNSET:
            return -1
        found = _CURSOR.fullmatch(asked.after)
        if found is None:
            raise QueryInvalid(f"after {asked.after!r} is not the `next` of any page")
        return int(found[2]) if found[1] == self._life else -1
