"""A connection to an index server of the Globus RLS, as a catalog that sends it updates: lists of names, and filters.

The protocol is in `reploc/rls/protocol.py`. Requests go one at a time: original servers throw away what arrives before
they have answered. A reply that says no is `RlsSaidNo`; anything else that goes wrong is Unreachable or AnswerInvalid,
after which the connection is of no more use.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from reploc.errors import AnswerInvalid, ReplocError, Unreachable
from reploc.rls.protocol import CLOSE, TOKEN_BYTES_MAX, host_and_port
from reploc.security.credentials import TlsContext

#: Codes that say that the request was not looked at, or not to its end: an input/output error, and a timeout.
LOST = frozenset({1, 27})
#: Catalogs of one answer.
SENDERS_MAX = 100_000
#: Bytes of a filter that are written at once: within one piece's time a slow server must have taken one.
PIECE_BYTES = 1 << 18


class RlsSaidNo(Exception):
    """The server answered with a code that is not success."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"code {code}: {detail}")
        self.code = code


class RlsConnection:
    """An open connection, whose server has greeted. Each step of a call takes at most `timeout_s`."""

    def __init__(self, url: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout_s: float) -> None:
        self._url = url
        self._reader = reader
        self._writer = writer
        self._timeout_s = timeout_s

    async def greeted(self) -> None:
        """Reads what the server says first."""
        await self._success()

    async def update(self, own_url: str, came: Sequence[str], went: Sequence[str]) -> None:
        """`rli_update`: names that the catalog at `own_url` holds, and such that it does not hold any more."""
        entries = [b"A" + name.encode() for name in came] + [b"D" + name.encode() for name in went]
        await self._send(_tokens(b"rli_update", own_url.encode(), *entries, b""))
        await self._success()

    async def update_filter(self, own_url: str, bits: int, functions: int, interval_s: int, data: memoryview) -> None:
        """`rli_updatebf`: a filter of all names of the catalog, `bits // 8 + 1` bytes; the next follows by then."""
        numbers = [str(number).encode() for number in (bits, functions, interval_s)]
        await self._send(_tokens(b"rli_updatebf", own_url.encode(), *numbers))
        for at in range(0, len(data), PIECE_BYTES):
            await self._send(data[at : at + PIECE_BYTES])
        await self._success()

    async def senders(self) -> dict[str, int]:
        """`rli_lrc_list`: the addresses of the catalogs that the server has heard from, with the Unix time of that."""
        await self._send(_tokens(b"rli_lrc_list"))
        await self._success()
        found: dict[str, int] = {}
        while url := await self._token():
            moment = await self._token()
            found[url] = int(moment) if moment.isdecimal() else 0
            if len(found) > SENDERS_MAX:
                raise AnswerInvalid(f"{self._url}: lists more than {SENDERS_MAX:,} catalogs")
        return found

    async def ended(self) -> None:
        """Returns when the other end closes, or says what nobody asked for. Not to be called beside another call."""
        with suppress(OSError):
            await self._reader.read(1)

    async def close(self) -> None:
        """Says goodbye, where the other end still listens."""
        with suppress(ReplocError):
            await self._send(_tokens(CLOSE))
            self._writer.close()

    def abort(self) -> None:
        """Ends the connection at once."""
        self._writer.transport.abort()

    async def _success(self) -> None:
        code = await self._token()
        if not code.isdecimal():
            raise AnswerInvalid(f"{self._url}: answered {code[:40]!r}; expected a code of the RLS protocol")
        if int(code) == 0:
            return
        detail = await self._token()
        if int(code) in LOST:
            raise Unreachable(f"{self._url}: code {code}: {detail}")
        raise RlsSaidNo(int(code), detail)

    async def _token(self) -> str:
        try:
            async with asyncio.timeout(self._timeout_s):
                return (await self._reader.readuntil(b"\0"))[:-1].decode(errors="replace")
        except TimeoutError as wrong:
            raise Unreachable(f"{self._url}: no answer within {self._timeout_s:g} s") from wrong
        except asyncio.LimitOverrunError as wrong:
            raise AnswerInvalid(f"{self._url}: answered something that is not of the RLS protocol") from wrong
        except (OSError, asyncio.IncompleteReadError) as wrong:
            raise Unreachable(f"{self._url}: the connection ended before an answer") from wrong

    async def _send(self, data: bytes | memoryview) -> None:
        try:
            self._writer.write(data)
            async with asyncio.timeout(self._timeout_s):
                await self._writer.drain()
        except TimeoutError as wrong:
            raise Unreachable(f"{self._url}: takes nothing for {self._timeout_s:g} s") from wrong
        except OSError as wrong:
            raise Unreachable(f"{self._url}: the connection broke: {wrong}") from wrong


@asynccontextmanager
async def connected(url: str, context: TlsContext | None, timeout_s: float) -> AsyncIterator[RlsConnection]:
    """A connection to the server at `rls://HOST:PORT` or `rlsn://HOST:PORT`. Raises Unreachable, AnswerInvalid and
    RlsSaidNo."""
    host, port = host_and_port(url)
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port, ssl=context, limit=2 * TOKEN_BYTES_MAX)
    except TimeoutError as wrong:
        raise Unreachable(f"{url}: cannot connect within {timeout_s:g} s") from wrong
    except OSError as wrong:
        raise Unreachable(f"{url}: cannot connect: {wrong.strerror or wrong}") from wrong
    connection = RlsConnection(url, reader, writer, timeout_s)
    try:
        await connection.greeted()
        yield connection
        await connection.close()
    finally:
        connection.abort()


def _tokens(*tokens: bytes) -> bytes:
    return b"\0".join((*tokens, b""))
