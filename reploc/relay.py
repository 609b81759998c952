"""Requests that only the main process can answer, handed to it by a worker as they came, and its answers handed back.

The main process listens for its workers on a socket in a directory that nobody else can enter. Bodies and answers go
through in pieces, so that neither is ever held whole here; what they may be is the main process's affair.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector, hdrs, web
from yarl import URL

from reploc.connection import problem
from reploc.errors import Unavailable
from reploc.introduction import HEADER, Introduction, introduction

#: Headers about one connection, or about a form of the body that ends at it (RFC 9110, section 7.6.1).
_OF_ONE_CONNECTION = frozenset(
    name.lower()
    for name in (
        hdrs.CONNECTION,
        hdrs.CONTENT_ENCODING,
        hdrs.EXPECT,
        hdrs.KEEP_ALIVE,
        hdrs.TE,
        hdrs.TRAILER,
        hdrs.TRANSFER_ENCODING,
        hdrs.UPGRADE,
        HEADER,
    )
)
#: Seconds for which a connection to the main process is kept; less than for which that keeps an idle one.
KEEP_S = 1.0
#: What aiohttp's client adds by itself.
_ADDED = (hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.USER_AGENT, hdrs.CONTENT_TYPE)


class Relay:
    """The way to the main process. `close` it."""

    def __init__(self, path: str) -> None:
        """`path` is that of the main process's socket."""
        self._session = ClientSession(
            connector=UnixConnector(path, limit=0, keepalive_timeout=KEEP_S),
            timeout=ClientTimeout(total=None),
            auto_decompress=False,
            skip_auto_headers=_ADDED,
        )

    async def close(self) -> None:
        await self._session.close()

    async def answer(
        self, request: web.BaseRequest, introduced: Introduction, body: bytes | None = None
    ) -> web.StreamResponse:
        """The main process's answer to a request of who is introduced, sent; a `body` that was read is in JSON.

        It is 503 where the main process does not answer. An answer that breaks off breaks the connection off.
        """
        response: web.StreamResponse | None = None
        try:
            async with self._session.request(
                request.method,
                URL(f"http://main{request.raw_path}", encoded=True),
                headers=[*_passed_on(request.headers, read=body is not None), (HEADER, introduced.header())],
                data=await _body(request) if body is None else body,
                allow_redirects=False,
            ) as said:
                response = web.StreamResponse(status=said.status, reason=said.reason, headers=_passed_on(said.headers))
                await response.prepare(request)
                async for piece in said.content.iter_any():
                    await response.write(piece)
                await response.write_eof()
                return response
        except (ClientError, ConnectionError, OSError) as wrong:
            if response is None:
                return problem(Unavailable(f"the main process of this service does not answer: {wrong}"))
            if request.transport is not None:
                request.transport.abort()
            return response


def introduced(request: web.BaseRequest) -> Introduction | None:
    """What a worker says of who asks; None for a request that no worker handed on."""
    ours = request.transport.get_extra_info("socket") if request.transport else None
    if ours is None or ours.family != socket.AF_UNIX:
        return None
    return introduction(request.headers.get(HEADER))


async def _body(request: web.BaseRequest) -> object:
    """The body of a request, in pieces, or None."""
    if not request.can_read_body:
        return None
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    return request.content


def _passed_on(headers: Mapping[str, str], *, read: bool = False) -> list[tuple[str, str]]:
    """The headers of a message that are passed on. One whose body was unpacked on the way has no known length, and one
    whose body was read has another body."""
    dropped = set(_OF_ONE_CONNECTION)
    if read or hdrs.CONTENT_ENCODING in headers:
        dropped.add("content-length")
    passed_on = [(name, value) for name, value in headers.items() if name.lower() not in dropped]
    if not read:
        return passed_on
    others = [(name, value) for name, value in passed_on if name.lower() != "content-type"]
    return [*others, (hdrs.CONTENT_TYPE, "application/json")]
