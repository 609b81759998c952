"""One connection of a server: what is no HTTP at all is refused, and what is known again is answered at once.

The parser refuses before a route is known: bytes of another protocol, a line beyond its bound, a request without a
host. Such a client is told what was wrong, with a problem document as for every other error; the log gets one line and
no traceback, and the connection ends.

aiohttp makes a task, a request and a response for each request, which costs three times what a lookup does. Requests
whose head is known again (`reploc/hot.py`) are answered here without them, while aiohttp waits for its next request;
all others are aiohttp's, byte for byte as they came, and answers leave in the order of the requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from math import ceil
from typing import Any, cast

import msgspec
from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE

from reploc import hot, telemetry
from reploc.errors import Internal, ReplocError, RequestMalformed, TooManyRequests, Unauthenticated
from reploc.security.arrivals import Arrivals
from reploc.security.tls import Peer

#: Characters of the parser's words that are passed on; some of them quote what was sent.
SAID_CHARS_MAX = 200
#: Bytes behind a request that is being answered, after which no more are read.
HELD_BYTES_MAX = 64 << 10
#: Heads that one connection knows again: one for each route that has a way of its own, with room for changing headers.
HEADS_MAX = 16
#: Seconds between two looks for connections that only cost.
LOOK_S = 1.0
PROBLEM = "application/problem+json"
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Server(web.Server):
    """aiohttp's low-level server, whose connections are bounded and answer with problem documents."""

    def __init__(
        self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], arrivals: Arrivals, **settings: Any
    ) -> None:
        super().__init__(handler, keepalive_timeout=arrivals.settings.idle_s, **settings)
        self.arrivals = arrivals
        #: Whether all connections are being ended: one that was accepted just before is made only now.
        self.ended = False

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - what aiohttp calls it
        """Ends all connections, after so many seconds even those with a request under way."""
        self.ended = True
        await super().shutdown(timeout)

    async def look(self) -> float:
        """Ends connections that send no request, or take no answer, within their bounds."""
        now = asyncio.get_running_loop().time()
        for connection in self.connections:
            cast(Connection, connection).look(now)
        return LOOK_S

    def __call__(self) -> web.RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)


class Connection(web.RequestHandler):
    """Requests of known heads, one at a time, beside those that aiohttp answers.

    #: `_known` holds the heads that were answered, by method and path; `_learnable` is the request that aiohttp was
    #: given last, if it was given that one alone.
    #: `_asked` holds the bytes of the request that is being answered here, `_held` what came behind them.
    """

    def __init__(self, manager: Server, **settings: Any) -> None:
        super().__init__(manager, **settings)
        #: Whether the certificate at the other end was looked at, and what it says (`reploc/security/guard.py`).
        self.looked = False
        self.peer: Peer | None = None
        #: Whether the request that is under way was counted against the rates.
        self.counted = False
        self._server = manager
        self._arrivals = manager.arrivals
        self._address = ""
        self._made = 0.0
        self._taken = False
        #: Bytes that the other end has not taken, and since when they are not fewer.
        self._unsent = 0
        self._unsent_since = 0.0
        self._framing = hot.Framing()
        self._known: dict[bytes, hot.Head] = {}
        self._learnable: hot.Request | None = None
        self._asked = b""
        self._held = bytearray()
        self._settled: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._server.ended:
            cast(asyncio.Transport, transport).abort()
            return
        self._made = self._loop.time()
        self._address = (transport.get_extra_info("peername") or ("",))[0]
        # Workers of this daemon, who have no address, were admitted as its processes.
        self._taken = bool(self._address) and self._arrivals.admit(self._address)
        if self._taken or not self._address:
            super().connection_made(transport)
        else:
            cast(asyncio.Transport, transport).abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._taken:
            self._taken = False
            self._arrivals.leave(self._address)
        super().connection_lost(exc)

    def look(self, now: float) -> None:
        """Ends the connection where it only costs. Between two requests, aiohttp's own timer does."""
        if self.transport is None:
            return
        bounds = self._arrivals.settings
        if not self._request_count and now - self._made > bounds.head_s:
            self._arrivals.offend(self._address, "no request")
            self.transport.abort()
            return
        unsent = self.transport.get_write_buffer_size()
        if unsent < self._unsent or not self._unsent:
            self._unsent_since = now
        self._unsent = unsent
        if unsent and now - self._unsent_since > bounds.idle_s:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if not data:  # aiohttp asks itself to look at what its parser holds
            super().data_received(data)
        elif self._asked:
            self._hold(data)
        elif self._known and self._is_waiting() and (asked := hot.asked(self._known, data)):
            self._asked = data
            asked.answer(asked.query, asked.body, self._send)
        else:
            self._pass_on(data)

    def learn(self, answer: hot.Answer) -> None:
        """The request that aiohttp is answering was in order: the next ones with its head go to `answer`."""
        if self._learnable is not None and len(self._known) < HEADS_MAX:
            target, _, before, after, _ = self._learnable
            self._known[target] = hot.Head(before, after, answer)

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109  # aiohttp's own signature
        """Ends the connection, once the request that is being answered here has its answer, or after `timeout`."""
        if self._asked:
            self._settled = self._loop.create_future()
            await asyncio.wait([self._settled], timeout=timeout)
        await super().shutdown(timeout)

    def _is_waiting(self) -> bool:
        """Whether aiohttp has answered all that it was given, and the client takes its answers."""
        waiter = self._waiter
        return waiter is not None and not waiter.done() and self._framing.at_start and not self._paused

    def _pass_on(self, data: bytes) -> None:
        """Gives aiohttp what came."""
        self._learnable = hot.whole_request(data) if self._is_waiting() else None
        self._framing.feed(data)
        super().data_received(data)

    def _hold(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > HELD_BYTES_MAX and self.transport is not None:
            self.transport.pause_reading()

    def _send(self, answer: bytes | None) -> None:
        """Ends the request that is being answered; without an answer aiohttp gets it after all."""
        asked, self._asked = self._asked, b""
        held, self._held = bytes(self._held), bytearray()
        if self._settled is not None and not self._settled.done():
            self._settled.set_result(None)
        if self.transport is None:
            return
        if answer is None:
            self._pass_on(asked)
        else:
            self.counted = False
            self.transport.write(answer)
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if len(held) > HELD_BYTES_MAX:
            self.transport.resume_reading()
        if held:
            self.data_received(held)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun, and no other can follow")
        wrong: ReplocError
        if status >= 500:
            telemetry.failure("request.broke", exc or Internal(), peer=request.remote)
            wrong = Internal("the service's log says more")
        else:
            wrong = RequestMalformed(_last_line(message or str(exc)))
            self._arrivals.in_vain(self._address, wrong)
        response = problem(wrong)
        response.force_close()
        return response


def problem(wrong: ReplocError, headers: dict[str, str] | None = None) -> web.Response:
    """An error of the tree as an RFC 9457 problem document, with the headers that belong to it and perhaps more."""
    told = {"Content-Type": PROBLEM} | _headers_of(wrong) | (headers or {})
    return web.Response(body=msgspec.json.encode(wrong.problem()), status=wrong.status, headers=told)


def _headers_of(wrong: ReplocError) -> dict[str, str]:
    """What an error says in headers; a wait in whole seconds, at whose end there is room (RFC 9110, section 10.2.3)."""
    if isinstance(wrong, Unauthenticated):
        return {"WWW-Authenticate": "Bearer"}
    return {"Retry-After": str(ceil(wrong.wait_s))} if isinstance(wrong, TooManyRequests) else {}


def answer_bytes(status: int, media: str, body: bytes) -> bytes:
    """An answer as aiohttp would send it."""
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n"
        f"Date: {rfc822_formatted_time()}\r\nServer: {SERVER_SOFTWARE}\r\n\r\n"
    )
    return head.encode() + body


def _last_line(said: str) -> str:
    """The parser's words without its heading and without the picture of where in the line it stopped."""
    lines = [line.strip() for line in said.strip().splitlines()]
    words = [line.rstrip(":") for line in lines if line and not line.startswith(("400", "^", "b'", 'b"'))]
    return f"this is no HTTP request: {(words or ['it cannot be read'])[0][:SAID_CHARS_MAX]}"
