"""Requests to one service: a client's address, its patience, and the two ways to ask."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from msgspec import Struct

from reploc import names
from reploc.client.retry import Retrying
from reploc.client.transport import Carried, HttpTransport, Request, Transport

T = TypeVar("T")

#: Seconds that one request may take, its retries included.
REQUEST_S = 30.0


class Calls(Carried):
    """The service at the base address `url`; close it, or use it as an async context.

    Each request, with its retries, takes at most `request_s` seconds, and then raises DeadlineExceeded. Any method may
    raise what the service raises, Unreachable, or AnswerInvalid. A `transport` that is given is its giver's to close.
    A catalog may be asked to prove its `site` (`reploc/security/credentials.py`), and then SiteUnproven is raised too.
    """

    def __init__(
        self, url: str, *, request_s: float = REQUEST_S, transport: Transport | None = None, site: str = ""
    ) -> None:
        self.url = names.require_url(url)
        self.site = site
        self._request_s = request_s
        super().__init__(transport, lambda: Retrying(HttpTransport()))

    def _until(self) -> float:
        return asyncio.get_running_loop().time() + self._request_s

    async def _get(self, path: str, kind: type[T], **query: str | None) -> T:
        given = {key: value for key, value in query.items() if value is not None}
        return await self._transport.ask(Request("GET", self.url, path, kind, given, site=self.site), self._until())

    async def _post(self, path: str, body: Struct, kind: type[T], *, idempotent: bool = True) -> T:
        request = Request("POST", self.url, path, kind, body=body, idempotent=idempotent, site=self.site)
        return await self._transport.ask(request, self._until())
