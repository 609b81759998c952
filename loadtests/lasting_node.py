"""An index node whose news never expires while figures are taken, and which may say "nowhere".

A second node owns the same slots and has heard of nobody for longer than its own expiry: it vouches that there are no
other senders, and goes when the first one has taken its word. Soft state goes to that one alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from loadtests import servers
from loadtests.servers import Server
from reploc.client.node import RliNodeClient
from reploc.members import IndexSettings

NODE = "node-1"
#: Nothing expires while the figures are taken, ...
LASTING_S = 86_400.0
#: ... and the other owner, up for as long as this, knows all senders that there are.
VOUCHING_S = 1.0


@contextmanager
def lasting_node(folder: Path, *, tables: str = "", workers: int = 1) -> Iterator[tuple[Server, IndexSettings]]:
    """The node while the context lasts, and the index as its senders know it; `tables` are more settings."""
    lasting = servers.index_of(2, expiry_s=LASTING_S, forget_after_s=LASTING_S, renewal_interval_s=LASTING_S)
    vouching = msgspec.structs.replace(lasting, expiry_s=VOUCHING_S, renewal_interval_s=VOUCHING_S)
    with ExitStack() as stack:
        with servers.running(servers.node(folder, "node-2", vouching)):
            node = servers.node(folder, NODE, lasting, tables=tables, workers=workers)
            server = stack.enter_context(servers.running(node))
        yield server, lasting


async def slots_complete(server: Server) -> int:
    """For how many slots the node is complete."""
    async with RliNodeClient(server.url) as client:
        return (await client.status()).slots_complete
