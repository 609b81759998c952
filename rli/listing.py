"""The route of an index node that lists LFNs by a glob pattern: where it is told whole names, which alone can be read.

What other nodes hold of the index they are asked for by the client, page by page; the answer says when that is needed.
"""

from __future__ import annotations

import re
import secrets
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from reploc import names, service
from reploc.actions import Action, matching
from reploc.errors import NotIndexed, QueryInvalid
from reploc.listed import ListedLfns, ListedQuery
from reploc.routes import Call, Route, get
from rli.index import Index

_CURSOR = re.compile(r"([0-9a-f]{8})-([0-9]{1,10})")


class ListingRoutes:
    """The handler; what it answers from is the index's lists."""

    def __init__(self, index: Index) -> None:
        self._index = index
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
        compression = self._index.settings.compression
        if compression != "none":
            raise NotIndexed(
                f"this index is not told whole names: index.compression is {compression}; a pattern wants none"
            )
        page = self._index.matching(pattern, call.what.limit, self._behind(call.what), service.now())
        return page if page.next is None else replace(page, next=f"{self._life}-{page.next}")

    def _behind(self, asked: ListedQuery) -> int:
        """The number behind which to go on: of another process's cursor none, so that nothing is left out."""
        if asked.after is UNSET:
            return -1
        found = _CURSOR.fullmatch(asked.after)
        if found is None:
            raise QueryInvalid(f"after {asked.after!r} is not the `next` of any page")
        return int(found[2]) if found[1] == self._life else -1
