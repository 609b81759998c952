"""How a node that is told filters tells its parents: it relays its senders' columns under its own name.

Each sender that the node holds whole is a sender at the parents too, by the rules of every other, under the name
NODE/SENDER; the node itself is one without LFNs, which says what is below it and whom it relays (`rli/upward.py`). So a
parent misses a sender for as long as it lacks any of its columns, and an answer names the node. Columns change whenever
the sender says so, and what changed within `increment_interval_s` goes out as one increment.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from reploc import service
from reploc.hierarchy import BENEATH_NODES_MAX, LEVELS_MAX, RELAYED_MAX, Beneath, is_relayed, relayed_name
from reploc.members import IndexSettings
from reploc.sender.form import Build
from reploc.sender.sender import Identity, Sender
from reploc.sender.stream import Outside, Stream
from reploc.service import Duty
from reploc.wire import NodeProgress
from rli.columns import ColumnNews, SlotColumns
from rli.filters import Column
from rli.index import Index
from rli.settings import RliSettings
from rli.site import Site

#: From the best to the worst.
_STATES = ("current", "behind", "unreachable", "refused")


@dataclass(frozen=True, eq=False)
class Relay:
    """One sender on its way up."""

    site: Site
    stream: Stream
    task: asyncio.Task[None]


class Relays:
    """All that one node relays. `look` is to be called often; everything else may be at any time."""

    def __init__(
        self, index: Index, settings: RliSettings, parents: IndexSettings, position: int, outside: Outside
    ) -> None:
        """Nothing is held yet. `parents` are those of now, and `position` is what the first change comes behind."""
        self._index = index
        self._node, self._url = settings.node, settings.own_url
        self._parents = parents
        self._outside = outside
        self._position = position
        #: By the number of the sender: the columns outlive its silence, and may become those of another one.
        self._columns: dict[int, SlotColumns] = {}
        #: By the number of the sender too.
        self._relays: dict[int, Relay] = {}
        self._ending: set[asyncio.Task[None]] = set()
        index.lfns.filters.watch(self._changed)

    def _changed(self, column: Column) -> None:
        self._position += 1
        if column.site not in self._columns:
            self._columns[column.site] = SlotColumns(self._index.matrix, column.site)
        self._columns[column.site].take(column)
        if column.site in self._relays:
            self._relays[column.site].stream.note(ColumnNews.of(self._position, column.slot))

    def look(self) -> None:
        """Begins to relay senders that are held whole, and ends it for those that are silent."""
        live = self._live()
        numbers = {site.number: site for site in live}
        for relay in list(self._relays.values()):
            if numbers.get(relay.site.number) is not relay.site:
                self._end(relay)
        for site in live:
            known = self._relays.get(site.number)
            if known is not None and known.stream.sender.tells_anew(self._beneath(site)):
                known.stream.wake()
            elif known is None and self._holds_whole(site):
                self._begin(site)

    def _live(self) -> list[Site]:
        """The senders of LFNs, as many as may be relayed: catalogs, and what index nodes below relay."""
        told = [one for one in self._index.registry.live() if one.beneath is None or is_relayed(one.name)]
        return sorted(told, key=lambda one: one.name)[:RELAYED_MAX]

    @property
    def is_full(self) -> bool:
        """Whether there may be senders that are not relayed, because there are too many."""
        return len(self.names) >= RELAYED_MAX

    @property
    def names(self) -> list[str]:
        """Who is relayed, or will be when it is held whole."""
        return [site.name for site in self._live()]

    def _holds_whole(self, site: Site) -> bool:
        return site.number in self._columns and self._index.registry.holds(site.number, self._index.owned)

    def _begin(self, site: Site) -> None:
        sender = Sender(
            self._identity(site.name),
            1,
            self._parents,
            np.zeros(self._index.settings.slots, dtype=np.int64),
            position=self._position,
            now=service.now(),
            form=self._columns[site.number],
            beneath=self._beneath(site),
        )
        sender.begin()
        stream = Stream("names", sender, _nothing_to_build, self._outside, self._parents, lambda: self._tell(site))

        async def send() -> float:
            await stream.run_once()
            return min(self._parents.increment_interval_s, self._parents.renewal_interval_s / 2)

        task = asyncio.create_task(service.again_and_again(Duty(f"relay of {site.name}", send)))
        self._relays[site.number] = Relay(site, stream, task)

    def _identity(self, name: str) -> Identity:
        """The same from start to start, so that parents take a restart for one."""
        sender = hashlib.sha256(f"{self._node} {self._url} {name}".encode()).hexdigest()[:32]
        return Identity(relayed_name(self._node, name), self._url, sender, secrets.randbits(64))

    def _tell(self, site: Site) -> None:
        relay = self._relays.get(site.number)
        if relay is not None and relay.site is site:
            now = service.now()
            oldest_at = now - self._index.registry.age(site.number, now)
            relay.stream.sender.tell(self._beneath(site), oldest_at)

    def _beneath(self, site: Site) -> Beneath:
        """What stands behind one sender's columns: what it is itself, or is relayed by."""
        nodes = [self._node, *(site.beneath.nodes if site.beneath else ())]
        return Beneath(
            index=self._index.settings.ring.version,
            complete=self._holds_whole(site) and site.number not in self._index.registry.lacking,
            missing=[],
            nodes=list(dict.fromkeys(nodes))[:BENEATH_NODES_MAX],
            levels=min(LEVELS_MAX, 1 + (site.beneath.levels if site.beneath else 0)),
        )

    def _end(self, relay: Relay) -> None:
        del self._relays[relay.site.number]
        relay.task.cancel()
        closing = asyncio.create_task(relay.stream.close())
        self._ending.add(closing)
        closing.add_done_callback(self._ending.discard)

    def change_ring(self, parents: IndexSettings) -> None:
        """Other parents, or another redundancy among them."""
        self._parents = parents
        for relay in self._relays.values():
            relay.stream.change_ring(parents)

    def progress(self, ours: Sequence[NodeProgress]) -> list[NodeProgress]:
        """How far each parent has taken all of it: the worst that any stream says, `ours` included."""
        now = service.now()
        said = [each for relay in self._relays.values() for each in relay.stream.sender.progress(now)]
        return [_worst(one, [each for each in said if each.node == one.node]) for one in ours]

    def lags_s(self, ours: dict[str, float]) -> dict[str, float]:
        """For each parent the age of the oldest change that it may lack."""
        lags = [relay.stream.sender.lags_s(service.now()) for relay in self._relays.values()]
        return {node: max([lag_s, *(each.get(node, 0.0) for each in lags)]) for node, lag_s in ours.items()}

    async def close(self) -> None:
        """Gives up what is under way."""
        for relay in list(self._relays.values()):
            self._end(relay)
        await asyncio.gather(*self._ending, return_exceptions=True)


async def _nothing_to_build(slots: Sequence[int]) -> tuple[Sequence[Build], int]:
    raise AssertionError(f"slots {slots} are to be built, but columns are told as they came")


def _worst(ours: NodeProgress, others: Sequence[NodeProgress]) -> NodeProgress:
    every = [ours, *others]
    worst = max(every, key=lambda one: _STATES.index(one.state))
    return replace(
        ours,
        state=worst.state,
        owed_slots=sum(one.owed_slots for one in every),
        error=next((one.error for one in every if one.error), ""),
        lag_s=max(one.lag_s for one in every),
    )
