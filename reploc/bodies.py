"""Bodies of requests on their way to a server: each is bounded in bytes and in time, and none is cut off by a stop.

Once a daemon was told to stop, the bodies that are on their way may still arrive, within a shorter time. One that does
not is refused in words, as ever: who sent it is told that nothing of it was done.
"""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage

from reploc.errors import BodyInvalid, BodyLate, TooLarge


class Bodies:
    """All bodies that one server is reading."""

    def __init__(self) -> None:
        self._reading: set[asyncio.Timeout] = set()
        #: The moment of the loop's clock at which no body is waited for any more, once the server is to stop.
        self._end: float | None = None
        self._none_left = asyncio.Event()

    async def read(self, request: web.BaseRequest, bytes_max: int, patience_s: float) -> bytes:
        """The whole body, decompressed. Raises TooLarge as soon as that is known, BodyLate, and BodyInvalid."""
        if (request.content_length or 0) > bytes_max:
            raise TooLarge(f"the body has {request.content_length:,} bytes; at most {bytes_max:,} are taken")
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        began = asyncio.get_running_loop().time()
        until = began + patience_s if self._end is None else min(began + patience_s, self._end)
        pieces, size = [], 0
        try:
            async with asyncio.timeout_at(until) as late:
                self._reading.add(late)
                async for piece in request.content.iter_any():
                    size += len(piece)
                    if size > bytes_max:
                        raise TooLarge(f"the body has over {bytes_max:,} bytes; no more are taken")
                    pieces.append(piece)
        except TimeoutError as wrong:
            waited_s = asyncio.get_running_loop().time() - began
            stopping = "" if self._end is None else ", and the service stops"
            raise BodyLate(f"{size:,} bytes of the body arrived within {waited_s:.3g} s{stopping}") from wrong
        except (web.RequestPayloadError, BadHttpMessage, ConnectionError) as wrong:
            said = str(wrong).strip().rpartition("\n")[2].strip()
            raise BodyInvalid(f"the body is cut short or broken: {said}") from wrong
        finally:
            self._reading.discard(late)
            if not self._reading:
                self._none_left.set()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def drain(self, seconds: float) -> None:
        """Waits until no body is on its way; from `seconds` on none is waited for."""
        self._end = asyncio.get_running_loop().time() + seconds
        for late in self._reading:
            if not late.expired():
                late.reschedule(min(late.when() or self._end, self._end))
        while self._reading:
            self._none_left.clear()
            await self._none_left.wait()
