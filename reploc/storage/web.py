"""HTTP as movers speak it: one pooled session, this service's credentials, and failures as faults of storage.

The one place where movers meet aiohttp.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from yarl import URL

from reploc import __version__
from reploc.security.credentials import Credentials
from reploc.storage.faults import SAID_CHARS_MAX, Absent, StorageFault

#: Seconds to open one connection.
CONNECT_S = 10.0
#: Connections to one door: as many as copies may be under way there.
CONNECTIONS_PER_HOST = 64
CONNECTIONS = 1_000
#: Bytes of one body that is read whole: a listing of some hundred thousand names.
BODY_BYTES_MAX = 256 << 20
#: Statuses that another attempt may not meet: the server is busy, being restarted, or behind something that is.
TRANSIENT = frozenset({408, 409, 423, 425, 429, 500, 502, 503, 504})
#: Statuses of a storage that is full.
FULL = frozenset({507, 413})
#: Statuses of a request that can never be right.
PERMANENT = frozenset({400, 405, 411, 414, 415, 501})


class Web:
    """Connections, opened when they are needed. `credentials` None: nothing is shown, and no authority is named."""

    def __init__(self, credentials: Credentials | None = None) -> None:
        self._credentials = credentials
        self._pooled, self._fresh = _Session(pooled=True), _Session(pooled=False)

    @asynccontextmanager
    async def asked(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, data: Any = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response, its body unread, whatever its status. Raises StorageFault where there is none."""
        shown = self._credentials.headers(url) if self._credentials else {}
        context = self._credentials.context(url) if self._credentials else None

        async def sent(session: aiohttp.ClientSession) -> aiohttp.ClientResponse:
            return await session.request(
                method,
                URL(url, encoded=True),
                headers={**shown, **(headers or {})},
                data=data,
                allow_redirects=method in ("GET", "HEAD"),
                ssl=True if context is None else context,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            )

        try:
            try:
                response = await sent(self._pooled.opened())
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as wrong:
                # A pooled connection that the server closes or resets just then, and others with it: nothing was
                # answered, and a request without a body can be sent again, over a connection that was never used, since
                # all that movers ask for comes to the same when it is done twice.
                if data is not None or isinstance(wrong, aiohttp.ClientConnectorError):
                    raise
                response = await sent(self._fresh.opened())
            async with response:
                yield response
        except (aiohttp.ClientError, OSError) as wrong:
            if isinstance(wrong, TimeoutError) and not isinstance(wrong, aiohttp.ClientError):
                raise
            said = str(wrong) or type(wrong).__name__
            raise StorageFault("transient", f"{method} {url}: {said}") from wrong

    async def body(self, response: aiohttp.ClientResponse) -> bytes:
        """The whole body. Raises StorageFault beyond its bound."""
        pieces, size = [], 0
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > BODY_BYTES_MAX:
                raise StorageFault("permanent", f"{response.url}: answered over {BODY_BYTES_MAX:,} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def authorization(self, url: str) -> str | None:
        """What a third party is to show at an address in our name."""
        return self._credentials.headers(url).get("Authorization") if self._credentials else None

    async def close(self) -> None:
        """Closes all connections."""
        await self._pooled.close()
        await self._fresh.close()


class _Session:
    """One session, opened when it is first asked for."""

    def __init__(self, *, pooled: bool) -> None:
        self._pooled = pooled
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    def opened(self) -> aiohttp.ClientSession:
        """The session, whose connections are kept for the next request or opened for each. Raises
        ClientConnectionError: it was closed."""
        if self._closed:
            raise aiohttp.ClientConnectionError("this mover was closed")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=CONNECTIONS, limit_per_host=CONNECTIONS_PER_HOST, force_close=not self._pooled
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": f"reploc/{__version__}"},
                auto_decompress=False,
            )
        return self._session

    async def close(self) -> None:
        """Closes its connections, for good."""
        self._closed = True
        if self._session is not None:
            await self._session.close()


async def refusal(method: str, url: str, response: aiohttp.ClientResponse) -> StorageFault:
    """The fault of a response that is no success, with what the server says."""
    said = (await response.content.read(SAID_CHARS_MAX)).decode(errors="replace").strip()
    what = f"{method} {url}: {response.status} {said or response.reason or ''}".rstrip()
    status = response.status
    if status in (404, 410) or (status in (400, 409, 500) and "no such file" in said.lower()):
        return Absent("source", what)
    if status in FULL or "no space" in said.lower() or "quota" in said.lower():
        return StorageFault("destination", what)
    if status in PERMANENT:
        return StorageFault("permanent", what)
    return StorageFault("transient" if status in TRANSIENT else "source", what)
