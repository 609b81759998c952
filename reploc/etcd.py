"""One connection to an etcd, as a registry of services: what is under a prefix, and one key of our own with a lease.

It speaks the JSON form of etcd's third interface (`/v3/…`), in which keys and values are base64. Every call takes at
most `CALL_S`, and whatever goes wrong is Unreachable, after which the connection is of no more use.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import aiohttp
import msgspec
from msgspec import Struct

from reploc.errors import Unreachable
from reploc.security.credentials import TlsContext

T = TypeVar("T")

#: Seconds that one call may take: an etcd answers in milliseconds, one that elects a leader in a second or two.
CALL_S = 5.0
#: Bytes of one answer: a thousand descriptions of sixteen kilobytes, as base64.
ANSWER_BYTES_MAX = 32 << 20


class _Token(Struct):
    token: str


class _Granted(Struct):
    ID: str


class _Kept(Struct):
    """Without a time to live the lease has ended."""

    TTL: str = "0"


class _KeptAnswer(Struct):
    result: _Kept


class _Row(Struct):
    key: str
    value: str = ""


class _Range(Struct):
    kvs: list[_Row] = []


class _Nothing(Struct):
    """What is answered to a write, and is of no interest."""


class Etcd:
    """An open connection. `changed` is set when anything under the prefix may have changed."""

    def __init__(self, session: aiohttp.ClientSession, url: str, prefix: str) -> None:
        self._session = session
        self._url = url
        self._prefix = prefix.encode()
        #: From the prefix to the first key that does not begin with it.
        self._within = {"key": _text(self._prefix), "range_end": _text(_behind(self._prefix))}
        self._lease = ""
        self.changed = asyncio.Event()

    async def log_in(self, user: str, password: str) -> None:
        """Be that user from now on."""
        said = await self._call("auth/authenticate", {"name": user, "password": password}, _Token)
        self._session.headers["Authorization"] = said.token

    async def listed(self) -> dict[str, bytes]:
        """Everything under the prefix: the rest of the key → value."""
        found = (await self._call("kv/range", self._within, _Range)).kvs
        return {_raw(one.key)[len(self._prefix) :].decode(errors="replace"): _raw(one.value) for one in found}

    async def claim(self, key: str, value: bytes, lease_s: int) -> None:
        """Put a key that lives as long as its lease, which `keep` renews."""
        lease = (await self._call("lease/grant", {"TTL": lease_s}, _Granted)).ID
        put = {"key": _text(self._prefix + key.encode()), "value": _text(value), "lease": lease}
        await self._call("kv/put", put, _Nothing)
        self._lease = lease

    async def keep(self) -> bool:
        """Renew the lease; False where it has ended, and the key with it, or was never granted."""
        if not self._lease:
            return False
        return int((await self._call("lease/keepalive", {"ID": self._lease}, _KeptAnswer)).result.TTL) > 0

    async def watch(self) -> None:
        """Set `changed` at every change under the prefix. Ends with Unreachable, when the watch has ended."""
        try:
            patience = aiohttp.ClientTimeout(total=None, sock_connect=CALL_S)
            request = {"create_request": self._within}
            async with self._session.post(f"{self._url}/v3/watch", json=request, timeout=patience) as response:
                async for _ in response.content.iter_any():
                    self.changed.set()
        except (aiohttp.ClientError, OSError) as wrong:
            raise Unreachable(f"etcd {self._url}: the watch broke: {wrong}") from wrong
        raise Unreachable(f"etcd {self._url}: the watch ended")

    async def _call(self, path: str, body: dict[str, Any], kind: type[T]) -> T:
        try:
            async with (
                asyncio.timeout(CALL_S),
                self._session.post(f"{self._url}/v3/{path}", json=body) as response,
            ):
                # A renewal is answered with a line of a stream that goes on.
                raw = await response.content.readline() if kind is _KeptAnswer else await response.read()
        except TimeoutError as wrong:
            raise Unreachable(f"etcd {self._url}: no answer within {CALL_S:g} s") from wrong
        except (aiohttp.ClientError, OSError, ValueError) as wrong:
            raise Unreachable(f"etcd {self._url}: {wrong}") from wrong
        if response.status != 200 or len(raw) > ANSWER_BYTES_MAX:
            raise Unreachable(
                f"etcd {self._url}: {path} answered {response.status}: {raw[:200].decode('utf-8', 'replace')}"
            )
        try:
            return msgspec.json.decode(raw, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
            raise Unreachable(f"etcd {self._url}: {path} answered something else: {wrong}") from wrong


@asynccontextmanager
async def connected(
    url: str, prefix: str, user: str, password: str, context: TlsContext | None = None
) -> AsyncIterator[Etcd]:
    """A connection while the context lasts, over https with this `context`. Raises Unreachable."""
    connector = aiohttp.TCPConnector(ssl=context or True)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        etcd = Etcd(session, url, prefix)
        if user:
            await etcd.log_in(user, password)
        yield etcd


Connection: TypeAlias = AbstractAsyncContextManager[Etcd]


def _behind(prefix: bytes) -> bytes:
    """The first key behind all that begin with a prefix, whose last byte is no 0xff, since it is UTF-8."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def _text(raw: bytes) -> str:
    return b64encode(raw).decode()


def _raw(text: str) -> bytes:
    return b64decode(text)
