"""An index server of the Globus RLS as the protocol describes it, byte by byte, that refuses whatever is not of it.

It reads one request at a time and, as the original, would lose bytes behind one: so bytes that are there before it has
answered are a fault of who sent them. It knows nothing of reploc.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Filter:
    bits: int
    functions: int
    interval_s: int
    data: bytes


@dataclass
class RlsIndexDouble:
    """One server. `takes` is what it is told of, lists or filters, never both, as the original."""

    takes: str = "lists"
    names: dict[str, set[str]] = field(default_factory=dict)
    filters: dict[str, Filter] = field(default_factory=dict)
    heard: dict[str, int] = field(default_factory=dict)
    #: The entries of each `rli_update`, and everything that came that the protocol does not have.
    updates: list[list[bytes]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    #: Answers to the next updates in the place of success; None is success. Names that are answered with 17.
    codes: list[int | None] = field(default_factory=list)
    poison: str = "\0"
    greeting: bytes = b"0\0"
    #: What it calls a catalog, where that is not the address that was given.
    renames: bool = False
    connections: int = 0
    silent: bool = False
    port: int = 0
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"rlsn://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """As a crash: every connection ends, whatever is under way."""
        if self._server is not None:
            self._server.close()
            self.hang_up()
            await self._server.wait_closed()
            self._server = None

    def hang_up(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    def lose_memory(self) -> None:
        self.names, self.filters, self.heard = {}, {}, {}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.connections += 1
        try:
            if await _more(reader, 0.02):
                self.faults.append("spoke before the greeting")
            writer.write(self.greeting)
            if self.greeting == b"0\0":
                with suppress(asyncio.IncompleteReadError, ConnectionError):
                    while await self._request(reader, writer):
                        pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        method = await _token(reader)
        if method == b"close":
            return False
        if self.silent:
            await asyncio.sleep(3600)
        if method == b"rli_lrc_list":
            reply = self._list()
        elif method == b"rli_update":
            reply = await self._update(reader)
        elif method == b"rli_updatebf":
            reply = await self._update_filter(reader)
        else:
            self.faults.append(f"unknown method {method!r}")
            writer.write(b"8\0" + method + b"\0")
            return False
        unread = reply.startswith(b"26\0Bloom")  # the filter's bytes, after which the connection is of no more use
        if not unread and await _more(reader, 0.0):
            self.faults.append(f"more came before {method!r} was answered")
        writer.write(reply)
        await writer.drain()
        return not unread

    def _list(self) -> bytes:
        if not self.heard:
            return b"19\0Not updated by any LRC servers\0"
        entries = [(url.replace("127.0.0.1", "host.example") if self.renames else url) for url in self.heard]
        rows = [f"{shown}\0{self.heard[url]}\0" for shown, url in zip(entries, self.heard, strict=True)]
        return b"0\0" + "".join(rows).encode() + b"\0"

    async def _update(self, reader: asyncio.StreamReader) -> bytes:
        url = (await _token(reader)).decode()
        entries = []
        while entry := await _token(reader):
            entries.append(entry)
        self.updates.append(entries)
        if not entries:
            self.faults.append("an update without entries")
        if self.takes != "lists":
            return b"26\0LFNList update with Bloom filters\0"
        code = self.codes.pop(0) if self.codes else None
        for entry in entries:
            if entry[:1] not in (b"A", b"D"):
                self.faults.append(f"entry {entry[:20]!r}")
        if code is not None:
            return b"%d\0db_rli_update: told to\0" % code
        held = self.names.setdefault(url, set())
        poisoned = False
        for entry in entries:
            name = entry[1:].decode()
            poisoned |= self.poison in name
            if self.poison not in name:
                (held.add if entry[:1] == b"A" else held.discard)(name)
        self.heard[url] = int(time.time())
        return b"17\0db_rli_update: a syntax error\0" if poisoned else b"0\0"

    async def _update_filter(self, reader: asyncio.StreamReader) -> bytes:
        url = (await _token(reader)).decode()
        bits, functions, interval_s = [int(await _token(reader)) for _ in range(3)]
        if self.takes != "filters":
            return b"26\0Bloom filters not enabled\0"
        if not (1 <= bits < 1 << 31 and 1 <= functions <= 8 and interval_s >= 1):
            self.faults.append(f"{bits} bits, {functions} functions, {interval_s} s")
        data = await reader.readexactly(bits // 8 + 1)
        if self.codes and (code := self.codes.pop(0)) is not None:
            return b"%d\0told to\0" % code
        self.filters[url] = Filter(bits, functions, interval_s, data)
        self.heard[url] = int(time.time())
        return b"0\0"

    def may_hold(self, url: str, name: str) -> bool:
        """Section 12 of the protocol, bit by bit."""
        if url not in self.filters:
            return False
        told = self.filters[url]
        return all(
            told.data[at // 8] & (0x80 >> at % 8)
            for shift in (3, 5, 7, 1, 2, 4, 6, 8)[: told.functions]
            for at in [_hash(name.encode(), shift) % told.bits]
        )


def _hash(name: bytes, shift: int) -> int:
    state = 0
    for byte in name:
        extended = byte | 0xFFFFFF00 if byte >= 0x80 else byte
        state = ((state << shift | state >> (32 - shift)) & 0xFFFFFFFF) ^ extended
    return state


async def _token(reader: asyncio.StreamReader) -> bytes:
    return (await reader.readuntil(b"\0"))[:-1]


async def _more(reader: asyncio.StreamReader, wait_s: float) -> bool:
    """Whether bytes are there that nobody asked for yet."""
    await asyncio.sleep(wait_s)
    return bool(reader._buffer)  # type: ignore[attr-defined]


@asynccontextmanager
async def rls_index(takes: str = "lists", codes: Sequence[int | None] = ()) -> AsyncIterator[RlsIndexDouble]:
    """A server that runs, and to which nothing was said in the end that is not of the protocol."""
    double = RlsIndexDouble(takes, codes=list(codes))
    await double.start()
    try:
        yield double
    finally:
        await double.stop()
    assert double.faults == []
