"""Feeds the index: the streams of one catalog, about its LFNs and, beside them, about its collections.

Each stream has a sender with rules, sequences, messages and a position of its own (`lrc/stream.py`), so that the totals
of collections, in which a deletion counts at once, wait for nothing that filters wait for.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np
from msgspec.structs import replace

from lrc.catalog import Catalog
from lrc.news import News
from lrc.settings import LrcSettings
from lrc.slot_filters import SlotBuild, build_slot
from lrc.slot_totals import SlotTotals, TotalsBuild, build_totals
from lrc.softstate import Identity, Sender
from lrc.stream import Meters, Outside, Stream
from lrc.threads import Threads
from reploc import service
from reploc.client.transport import HttpTransport, Transport
from reploc.errors import Unavailable
from reploc.members import IndexSettings
from reploc.service import Duty
from reploc.telemetry import Metrics
from reploc.wire import About, SenderStatus


class Updater:
    """All that one catalog sends. Its duties run the streams; everything else may be called at any time."""

    def __init__(
        self, catalog: Catalog, threads: Threads, settings: LrcSettings, metrics: Metrics, transport: Transport
    ) -> None:
        self._catalog = catalog
        self._settings = settings
        self._index = settings.index
        self._outside = Outside(threads, transport, Meters(metrics), catalog.raise_epoch)
        self._streams: dict[About, Stream] = {}
        self._loop = asyncio.get_running_loop()
        metrics.watch_each(
            "reploc_softstate_lag_seconds",
            "Age of the oldest change that an index node may not know yet",
            "node",
            self._lags_s,
        )
        metrics.watch("reploc_softstate_deletions", "Deleted LFNs that the filters still show", self._deletions)
        self.url = ""

    def _lags_s(self) -> dict[str, float]:
        now, lags = service.now(), dict[str, float]()
        for stream in self._streams.values():
            for node, lag in stream.sender.lags_s(now).items():
                lags[node] = max(lag, lags.get(node, 0.0))
        return lags

    def _deletions(self) -> float:
        return self._streams["names"].sender.deletions if self._streams else 0

    @classmethod
    @asynccontextmanager
    async def running(
        cls, catalog: Catalog, threads: Threads, settings: LrcSettings, metrics: Metrics
    ) -> AsyncIterator[Updater]:
        """An updater with connections of its own, which close with it."""
        transport = HttpTransport(settings.shown)
        updater = cls(catalog, threads, settings, metrics, transport)
        try:
            yield updater
        finally:
            for stream in updater._streams.values():
                await stream.close()
            await transport.close()

    def listening(self, url: str) -> str:
        """Begins this start's epoch, now that it is known where the daemon listens; the address for clients."""
        self.url = self._settings.url or url
        identity = Identity(self._catalog.site, self.url, self._catalog.sender, secrets.randbits(64))
        epoch = self._catalog.raise_epoch()
        position = self._catalog.state().position
        counts = self._catalog.slot_counts(self._index.slots)
        names = Sender(identity, epoch, self._index, counts, position=position, now=service.now())
        self._streams["names"] = Stream("names", names, self._read_filters, self._outside, self._index)
        if self._index.collections:
            collections = Sender(
                identity,
                epoch,
                self._index,
                np.zeros(self._index.slots, dtype=np.int64),
                position=position,
                now=service.now(),
                about="collections",
                form=SlotTotals(self._index.slots),
            )
            stream = Stream("collections", collections, self._read_totals, self._outside, self._index)
            self._streams["collections"] = stream
        return self.url

    def duties(self) -> list[Duty]:
        """What the catalog does unasked."""
        duties = [Duty("softstate", self._names_once)]
        return [*duties, Duty("softstate-collections", self._collections_once)] if self._index.collections else duties

    async def _names_once(self) -> float:
        return await self._required("names").run_once()

    async def _collections_once(self) -> float:
        return await self._required("collections").run_once()

    def not_ready(self) -> str:
        """Why a start is not complete, or empty text."""
        ready = self._streams and all(stream.sender.ready for stream in self._streams.values())
        return "" if ready else "the first summaries are being built"

    def status(self) -> SenderStatus:
        """What is sent, and what each node is owed. Unavailable before the daemon listens."""
        now = service.now()
        names = self._required("names").sender.status(now)
        beside = self._streams.get("collections")
        if beside is None:
            return names
        said = beside.sender.status(now)
        return replace(names, collections=said.nodes, collections_position=said.position)

    def push(self) -> None:
        """Makes everything owed due at once."""
        self._required("names")
        for stream in self._streams.values():
            stream.push()

    def change_ring(self, index: IndexSettings) -> None:
        """Other nodes, or another redundancy: who gains slots is sent them at once."""
        self._index = index
        for stream in self._streams.values():
            stream.change_ring(index)

    def _required(self, about: About) -> Stream:
        if about not in self._streams:
            raise Unavailable("the daemon is starting")
        return self._streams[about]

    # ---- the catalog ---------------------------------------------------------------------------------------------

    def changed(self, news: News) -> None:
        """Takes note of a commit; called in the writer's thread."""
        self._loop.call_soon_threadsafe(self._note, news)

    def _note(self, news: News) -> None:
        self._required("names")
        for stream in self._streams.values():
            stream.note(news)

    def _read_filters(self, slots: Sequence[int]) -> tuple[list[SlotBuild], int]:
        read = self._catalog.digests(slots, self._index.slots)
        size_class, rate = self._required("names").sender.size_class, self._index.error_rate
        return [build_slot(*of, size_class, rate) for of in zip(slots, read.digests, strict=True)], read.position

    def _read_totals(self, slots: Sequence[int]) -> tuple[list[TotalsBuild], int]:
        rows, position = self._catalog.totals()
        return build_totals(slots, rows, self._index.slots), position
