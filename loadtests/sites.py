"""Many sites as an index node hears them: senders under the product's own rules, without the catalogs behind them.

LFN number n of the world stands at `REPLICAS` of the sites, spread evenly over them, and its place follows from n
alone, so that any answer can be checked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from loadtests import world
from reploc import digest
from reploc.client.node import RliNodeClient
from reploc.digest import Digests, slots_of
from reploc.members import IndexSettings
from reploc.sender.sender import Identity, Sender
from reploc.sender.slot_filters import build_slot
from reploc.wire import SoftState, SoftStateAnswer

REPLICAS = 3
#: Names whose digests are made at once: bounds the memory that their text takes.
_CHUNK = 1 << 18
#: Multiplies a number so that neighbours are far apart (Knuth, The Art of Computer Programming 3, section 6.4).
_SPREAD = 2_654_435_761


class Listener(Protocol):
    """Whom senders tell their news: a node over HTTP, or an index of this process."""

    async def soft_state(self, message: SoftState) -> SoftStateAnswer: ...


@dataclass(frozen=True)
class Sites:
    """`count` sites that hold `names` LFNs, each at `REPLICAS` of them."""

    count: int
    names: int

    def name(self, site: int) -> str:
        return f"site-{site:04d}.example.org"

    def of(self, number: int) -> list[str]:
        """The sites that hold LFN `number`, ascending."""
        first = number * _SPREAD % (1 << 32) % self.count
        return sorted(self.name((first + shift) % self.count) for shift in self._shifts())

    def digests(self) -> Iterator[Digests]:
        """The digests of what each site holds, site by site, shape (n, 2) each."""
        everything = np.concatenate(
            [_digests(range(at, min(at + _CHUNK, self.names))) for at in range(0, self.names, _CHUNK)]
        )
        firsts = (
            np.arange(self.names, dtype=np.uint64) * np.uint64(_SPREAD) % np.uint64(1 << 32) % np.uint64(self.count)
        )
        order = np.argsort(firsts, kind="stable")
        bounds = np.searchsorted(firsts[order], np.arange(self.count + 1))
        for site in range(self.count):
            starts = [(site - shift) % self.count for shift in self._shifts()]
            yield everything[np.concatenate([order[bounds[start] : bounds[start + 1]] for start in starts])]

    def _shifts(self) -> list[int]:
        return [step * self.count // REPLICAS for step in range(REPLICAS)]

    async def told_to(self, url: str, node: str, index: IndexSettings) -> None:
        """Tells the node at an address everything that all sites hold."""
        async with RliNodeClient(url) as client:
            await self.tell(client, node, index)

    async def tell(self, listener: Listener, node: str, index: IndexSettings) -> None:
        """Tells a node everything that all sites hold, one site's news under way while the next one's is made."""
        under_way = None
        for site, digests in enumerate(self.digests()):
            news = await asyncio.to_thread(self._news, site, digests, index)
            if under_way is not None:
                await under_way
            under_way = asyncio.create_task(send(listener, news, node))
        if under_way is not None:
            await under_way

    def _news(self, site: int, digests: Digests, index: IndexSettings) -> Sender:
        """A sender with all its slots built."""
        slots = slots_of(digests, index.slots)
        counts: NDArray[np.int64] = np.bincount(slots, minlength=index.slots).astype(np.int64)
        name = self.name(site)
        identity = Identity(name, f"http://{name}:39280", f"sender of {name}", incarnation=1)
        sender = Sender(identity, 1, index, counts, position=1, now=time.monotonic())
        parts = np.split(digests[np.argsort(slots, kind="stable")], np.cumsum(counts)[:-1])
        rate = index.error_rate
        sender.rebuilt((build_slot(slot, part, sender.size_class, rate) for slot, part in enumerate(parts)), position=1)
        return sender


async def send(listener: Listener, sender: Sender, node: str) -> None:
    """Sends what is owed to one node until nothing is."""
    while sends := [send for send in sender.due(time.monotonic()) if send.node == node]:
        answer = await listener.soft_state(sends[0].message)
        sender.answered(node, sends[0].message.message, answer, time.monotonic())
        if answer.current:
            return


def _digests(numbers: range) -> Digests:
    return digest.of([world.lfn(number) for number in numbers])
