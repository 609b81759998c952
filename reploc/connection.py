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
import logging
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE

from reploc import hot, telemetry
from reploc.errors import Internal, ReplocError, RequestMalformed

#: Characters of the parser's words that are passed on; some of them quote what was sent.
SAID_CHARS_MAX = 200
#: Bytes behind a request that is being answered, after which no more are read.
HELD_BYTES_MAX = 64 << 10
#: Heads that one connection knows again: one for each route that has a way of its own, with room for changing headers.
HEADS_MAX = 16
PROBLEM = "application/problem+json"
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Server(web.Server):
    """aiohttp's low-level server, whose connections answer with problem documents."""

    def __call__(self) -> web.RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)


class Connection(web.RequestHandler):
    """Requests of known heads, one at a time, beside those that aiohttp answers.

    #: `_known` holds the heads that were answered, by method and path; `_learnable` is the request that aiohttp was
    #: given last, if it was given that one alone.
    #: `_asked` holds the bytes of the request that is being answered here, `_held` what came behind them.
    """

    def __init__(self, manager: web.Server, **settings: Any) -> None:
        super().__init__(manager, **settings)
        self._framing = hot.Framing()
        self._known: dict[bytes, hot.Head] = {}
        self._learnable: hot.Request | None = None
        self._asked = b""
        self._held = bytearray()
        self._settled: asyncio.Future[None] | None = None

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
            telemetry.event("request.malformed", level=logging.WARNING, peer=request.remote, detail=wrong.detail)
        response = problem(wrong)
        response.force_close()
        return response


def problem(wrong: ReplocError, headers: dict[str, str] | None = None) -> web.Response:
    """An error of the tree as an RFC 9457 problem document."""
    media = {"Content-Type": PROBLEM}
    return web.Response(body=msgspec.json.encode(wrong.problem()), status=wrong.status, headers=media | (headers or {}))


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
