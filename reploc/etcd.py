"""One connection to an etcd, as a registry of services: what is under a prefix, and one key of our own with a lease.

The one place where aetcd, an optional extra, is met. Every call takes at most `CALL_S`, and whatever goes wrong is
Unreachable, after which the connection is of no more use.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, TypeAlias

from reploc.errors import ConfigInvalid, Unreachable

#: Seconds that one call may take: an etcd answers in milliseconds, one that elects a leader in a second or two.
CALL_S = 5.0


class Etcd:
    """An open connection. `changed` is set when anything under the prefix may have changed."""

    def __init__(self, client: Any, where: str, prefix: str) -> None:
        self._client = client
        self._where = where
        self._prefix = prefix.encode()
        self._lease: Any = None
        self.changed = asyncio.Event()

    async def listed(self) -> dict[str, bytes]:
        """Everything under the prefix: the rest of the key → value."""
        found = await self._call(self._client.get_prefix(self._prefix))
        return {one.key[len(self._prefix) :].decode(errors="replace"): bytes(one.value) for one in found}

    async def claim(self, key: str, value: bytes, lease_s: int) -> None:
        """Put a key that lives as long as its lease, which `keep` renews."""
        self._lease = await self._call(self._client.lease(lease_s))
        await self._call(self._client.put(self._prefix + key.encode(), value, lease=self._lease))

    async def keep(self) -> bool:
        """Renew the lease; False where it has ended, and the key with it."""
        return self._lease is not None and (await self._call(self._client.refresh_lease(self._lease.id))).TTL > 0

    async def watch(self) -> None:
        """Set `changed` at every change under the prefix. Ends with Unreachable, when the watch has ended."""
        events = await self._call(self._client.watch_prefix(self._prefix))
        self.changed.set()
        try:
            async for _ in events:
                self.changed.set()
        except Exception as wrong:
            raise Unreachable(f"etcd {self._where}: the watch broke: {wrong}") from wrong
        raise Unreachable(f"etcd {self._where}: the watch ended")

    async def _call(self, call: Any) -> Any:
        try:
            async with asyncio.timeout(CALL_S):
                return await call
        except TimeoutError as wrong:
            raise Unreachable(f"etcd {self._where}: no answer within {CALL_S:g} s") from wrong
        except Exception as wrong:
            raise Unreachable(f"etcd {self._where}: {wrong}") from wrong


@asynccontextmanager
async def connected(endpoint: str, prefix: str, user: str, password: str) -> AsyncIterator[Etcd]:
    """A connection to HOST:PORT while the context lasts. Raises Unreachable, or ConfigInvalid without the extra."""
    try:
        import aetcd
    except ImportError as wrong:
        raise ConfigInvalid(
            f"membership.kind: etcd needs the package aetcd ({wrong})", hint="install reploc with its extra etcd"
        ) from wrong
    host, _, port = endpoint.rpartition(":")
    client = aetcd.Client(host=host, port=int(port), username=user or None, password=password or None)
    etcd = Etcd(client, endpoint, prefix)
    try:
        await etcd._call(client.connect())
        yield etcd
    finally:
        with suppress(Exception):  # a connection that broke need not close well
            async with asyncio.timeout(CALL_S):
                await client.close()


Connection: TypeAlias = AbstractAsyncContextManager[Etcd]
