"""The routes of a catalog about index servers of the Globus RLS that it sends updates to."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from lrc.rls.feed import RlsFeed
from reploc.actions import Action, everything
from reploc.errors import BodyInvalid
from reploc.rls.feeding import AddIndexBody, PaceBody, RemoveIndexBody, RlsFeedStatus
from reploc.rls.protocol import Refused, canonical
from reploc.routes import Call, NoQuery, Route, get, post


class RlsRoutes:
    """Their handlers."""

    def __init__(self, feed: RlsFeed) -> None:
        self._feed = feed

    def routes(self) -> list[Route[Any]]:
        """Every route under /v1/rls."""
        change = Action.ADMINISTER
        return [
            get(
                "/v1/rls/indexes",
                self.indexes,
                NoQuery,
                "The index servers of the Globus RLS that are sent updates, and how far each is",
                action=Action.MONITOR,
            ),
            post(
                "/v1/rls/indexes",
                self.add,
                AddIndexBody,
                "Send updates to such a server",
                action=change,
                acts_on=everything,
            ),
            post(
                "/v1/rls/indexes/delete",
                self.remove,
                RemoveIndexBody,
                "Send it no more",
                action=change,
                acts_on=everything,
            ),
            post("/v1/rls/pace", self.pace, PaceBody, "How updates are sent, until the next start", action=change),
        ]

    async def indexes(self, _: Call[NoQuery]) -> RlsFeedStatus:
        return self._feed.status()

    async def add(self, call: Call[AddIndexBody]) -> RlsFeedStatus:
        body = call.what
        pattern = None if body.pattern is UNSET else body.pattern
        await self._feed.add(_canonical(body.url), filters=body.filters, pattern=pattern)
        return self._feed.status()

    async def remove(self, call: Call[RemoveIndexBody]) -> RlsFeedStatus:
        await self._feed.remove(_canonical(call.what.url), None if call.what.pattern is UNSET else call.what.pattern)
        return self._feed.status()

    async def pace(self, call: Call[PaceBody]) -> RlsFeedStatus:
        self._feed.pace(call.what)
        return self._feed.status()


def _canonical(url: str) -> str:
    try:
        return canonical(url.encode(errors="replace"))
    except Refused as wrong:
        raise BodyInvalid(f"url: {wrong.detail}") from wrong
