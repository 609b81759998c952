"""One connection of a server: what is no HTTP at all is refused as every other error is, with a problem document.

The parser refuses before a route is known: bytes of another protocol, a line beyond its bound, a request without a
host. Such a client is told what was wrong, the log gets one line and no traceback, and the connection ends.
"""

from __future__ import annotations

import logging

import msgspec
from aiohttp import web

from reploc import telemetry
from reploc.errors import Internal, ReplocError, RequestMalformed

#: Characters of the parser's words that are passed on; some of them quote what was sent.
SAID_CHARS_MAX = 200


class Server(web.Server):
    """aiohttp's low-level server, whose connections answer with problem documents."""

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
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
    media = {"Content-Type": "application/problem+json"}
    return web.Response(body=msgspec.json.encode(wrong.problem()), status=wrong.status, headers=media | (headers or {}))


def _last_line(said: str) -> str:
    """The parser's words without its heading and without the picture of where in the line it stopped."""
    lines = [line.strip() for line in said.strip().splitlines()]
    words = [line.rstrip(":") for line in lines if line and not line.startswith(("400", "^", "b'", 'b"'))]
    return f"this is no HTTP request: {(words or ['it cannot be read'])[0][:SAID_CHARS_MAX]}"
