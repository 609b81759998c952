"""What a node tells its parents: the distinct LFNs of all its senders, under its own name.

Where it is told filters it tells no LFNs of its own, and relays the columns of each sender beside (`rli/relay.py`).

The node is a sender by the same rules as a catalog (`reploc/sender/sender.py`), with these differences: its store is
what it holds in memory; it keeps nothing from start to start, so that its first epoch is 1 and a parent that knows a
higher one says so; it tells nothing of its slots before it holds the news of all its own senders that are not silent,
so that a restart takes nothing away from the parents; and every message says what is lacking below
(`reploc/sender/beneath.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable, Sequence

import numpy as np

from reploc import service
from reploc.client.transport import Transport
from reploc.hierarchy import BENEATH_NODES_MAX, LEVELS_MAX, MISSING_MAX, Beneath
from reploc.members import IndexSettings
from reploc.membership import CHILD, Membership, described
from reploc.sender.form import Build, Form
from reploc.sender.news import News
from reploc.sender.placing import Placing
from reploc.sender.sender import Identity, Sender
from reploc.sender.slot_filters import SlotFilters, build_slot
from reploc.sender.slot_keys import SlotFingerprints, SlotLists
from reploc.sender.stream import Meters, Outside, Stream, paced
from reploc.service import Duty
from reploc.telemetry import Metrics
from reploc.wire import Kind, NodeProgress
from rli.index import Index
from rli.relay import Relays
from rli.settings import RliSettings
from rli.union import SlotLfns, Union

#: In which form a node takes LFNs that are to be told on, by the compression of its index.
_KINDS: dict[str, Kind] = {"none": "list", "fingerprint": "fingerprint", "bloom": "bloom"}
#: Names that one visit gathers: about twenty milliseconds in which nobody is answered.
NAMES_PER_BUILD = 1 << 14
#: Seconds between two looks at what is below, if nothing else makes the node look.
LOOK_S = 0.25


class Upward:
    """The way up of one node. Its duties run it; everything else may be called at any time."""

    def __init__(
        self,
        index: Index,
        settings: RliSettings,
        above: Membership,
        not_ready: Callable[[], str],
        transport: Transport,
        metrics: Metrics,
    ) -> None:
        """`above` says who the parents are; `not_ready`, why the node does not hold yet what it is to hold after its
        start."""
        self._index = index
        self._node = settings.node
        self._above = above
        self._told: IndexSettings = settings.parents
        self._not_ready = not_ready
        parents = paced(above.over(settings.parents))
        placing = Placing(parents.partition)
        self._error_rate = parents.error_rate
        self._form = _form(parents, settings.index, placing)
        # Behind whatever an earlier start has told, as long as the clock is not set back.
        position = int(time.time() * 1e6)
        outside = Outside(transport, Meters(metrics), _next_epoch)
        kind = _KINDS[settings.index.compression]
        index.take_only(kind)
        self._relays = Relays(index, settings, parents, position, outside) if kind == "bloom" else None
        self._sender = Sender(
            _identity(settings),
            1,
            parents,
            np.zeros(placing.slots, dtype=np.int64),
            position=position,
            now=service.now(),
            form=self._form,
            names_per_build=NAMES_PER_BUILD,
            beneath=self._beneath(),
        )
        self._stream = Stream("names", self._sender, self._read, outside, parents, self._tell)
        # Where filters are told nothing is ever held in this form.
        self._union = Union(index.lfns.distinct(kind), placing, position, self._changed)
        #: Whether what was told last of what is below was that nothing is lacking.
        self._told_complete = False
        above.on_change = self._follow
        metrics.watch_each(
            "reploc_softstate_lag_seconds",
            "Age of the oldest change that a parent may not know yet",
            "node",
            self._lags_s,
        )

    def duties(self) -> list[Duty]:
        """What tells the parents, and finds them."""
        return [Duty("parents", self._stream.run_once), Duty("look-below", self.look), *self._above.duties()]

    async def look(self) -> float:
        """Sees whether what is below has changed, so that the parents hear of it soon."""
        if not self._not_ready():
            self._sender.begin()
        if self._relays is not None:
            self._relays.look()
        if self._sender.tells_anew(self._beneath()):
            self._stream.wake()
        return LOOK_S

    def _changed(self, news: News) -> None:
        """The keys are others now. Whether any are lacking is told of these very keys: a summary of them may be built
        and sent when what was lacking is there again."""
        self._stream.note(news)
        if self._told_complete != self._is_complete():
            self._tell()

    def _tell(self) -> None:
        beneath = self._beneath()
        self._told_complete = beneath.complete
        self._sender.tell(beneath, self._index.registry.oldest_news(service.now()))

    def _is_complete(self) -> bool:
        """Whether nothing is lacking below; it holds then what it is to hold after its start, too."""
        registry = self._index.registry
        if self._relays is not None and self._relays.is_full:
            return False
        return registry.knows_all() and bool(registry.complete(self._index.owned).all())

    def take(self, parents: IndexSettings) -> None:
        """Other parents, or another redundancy among them."""
        self._told = parents
        self._follow()

    def _follow(self) -> None:
        parents = paced(self._above.over(self._told))
        self._stream.change_ring(parents)
        if self._relays is not None:
            self._relays.change_ring(parents)

    @property
    def parents(self) -> dict[str, str]:
        """The index nodes that are told, name → address."""
        return self._above.over(self._told).urls

    def progress(self) -> list[NodeProgress]:
        """How far each parent has taken this node's news."""
        ours = self._sender.progress(service.now())
        return ours if self._relays is None else self._relays.progress(ours)

    def _lags_s(self) -> dict[str, float]:
        ours = self._sender.lags_s(service.now())
        return ours if self._relays is None else self._relays.lags_s(ours)

    async def close(self) -> None:
        if self._relays is not None:
            await self._relays.close()
        await self._stream.close()

    def _beneath(self) -> Beneath:
        """What is below, as it is now."""
        registry, owned = self._index.registry, self._index.owned
        complete = self._is_complete()
        below = [site.beneath for site in registry.live() if site.beneath]
        nodes = dict.fromkeys([self._node, *(name for one in below for name in one.nodes)])
        return Beneath(
            index=self._index.settings.ring.version,
            complete=complete,
            missing=[] if complete else registry.missing_sites(owned)[:MISSING_MAX],
            nodes=list(nodes)[:BENEATH_NODES_MAX],
            levels=min(LEVELS_MAX, 1 + max((one.levels for one in below), default=0)),
            relays=[] if self._relays is None else self._relays.names,
        )

    async def _read(self, slots: Sequence[int]) -> tuple[list[Build], int]:
        """What these slots hold now; the summaries are built beside the loop."""
        position, size_class = self._union.position, self._form.size_class
        contents = [self._union.read(slot) for slot in slots]
        return await asyncio.to_thread(lambda: [self._build(each, size_class) for each in contents]), position

    def _build(self, content: SlotLfns, size_class: int) -> Build:
        form = self._form
        if isinstance(form, SlotFilters):
            return build_slot(content.slot, content.digests, size_class, self._error_rate)
        assert isinstance(form, SlotFingerprints | SlotLists)
        return form.build(content.slot, content.digests, content.names)


def _form(parents: IndexSettings, here: IndexSettings, placing: Placing) -> Form:
    """The form that the parents' index asks for; with auto, filters where there are names to make them from."""
    match parents.compression:
        case "none":
            return SlotLists(placing)
        case "fingerprint":
            return SlotFingerprints(placing)
        case "auto" if here.compression == "fingerprint":
            return SlotFingerprints(placing)
        case _:
            return SlotFilters(placing, parents.error_rate)


def _identity(settings: RliSettings) -> Identity:
    """The same from start to start, so that parents take a restart for one; another for another address."""
    url = settings.own_url
    sender = hashlib.sha256(f"{settings.node} {url}".encode()).hexdigest()[:32]
    return Identity(settings.node, url, sender, secrets.randbits(64))


async def _next_epoch(above: int) -> int:
    """Nothing is kept: the epoch behind the one that a parent knows is as good as any."""
    return above + 1


def parents_of(settings: RliSettings, metrics: Metrics) -> Membership:
    """Who the parents are; in their registry, if there is one, this node is a child."""
    me = described(CHILD, settings.node, settings.own_url, settings.parents.parameters)
    return Membership(settings.parents_membership, settings.parents, me, metrics, "reploc_parents")
