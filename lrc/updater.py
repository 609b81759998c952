"""Feeds the index: the streams of one catalog, about its LFNs and, beside them, about its collections.

Each stream has a sender with rules, sequences, messages and a position of its own (`reploc/sender/stream.py`), so that
the totals of collections, in which a deletion counts at once, wait for nothing that filters wait for.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np
from msgspec.structs import replace

from lrc import names_stream
from lrc.catalog import Catalog
from lrc.names_stream import SCANNED_NAMES_PER_BUILD, Choice, NamesForm
from lrc.settings import LrcSettings
from lrc.slot_totals import SlotTotals, TotalsBuild, build_totals
from lrc.threads import Threads
from reploc import service, telemetry
from reploc.client.transport import HttpTransport, Transport
from reploc.errors import Unavailable
from reploc.members import IndexSettings
from reploc.sender.form import Build
from reploc.sender.news import News
from reploc.sender.sender import NAMES_PER_BUILD, Identity, Sender
from reploc.sender.stream import Meters, Outside, Stream, paced
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
        self._threads = threads
        self._outside = Outside(transport, Meters(metrics), self._raise_epoch)
        self._streams: dict[About, Stream] = {}
        self._identity: Identity | None = None
        self._names: NamesForm | None = None
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
        return self._streams["names"].sender.deletions if "names" in self._streams else 0

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
        self._identity = Identity(self._catalog.site, self.url, self._catalog.sender, secrets.randbits(64))
        epoch = self._catalog.raise_epoch()
        if self._index.tells_names:
            choice = names_stream.choose(self._index, self._catalog.state().lfns, None)
            self._streams["names"] = self._names_stream(choice, epoch)
        if self._index.tells_collections:
            partition, position = self._index.partition, self._catalog.state().position
            collections = Sender(
                self._identity,
                epoch,
                paced(self._index),
                np.zeros(partition.slots, dtype=np.int64),
                position=position,
                now=service.now(),
                about="collections",
                form=SlotTotals(partition),
            )
            stream = Stream("collections", collections, self._read_totals, self._outside, paced(self._index))
            self._streams["collections"] = stream
        return self.url

    def _names_stream(self, choice: Choice, epoch: int) -> Stream:
        assert self._identity is not None, "the daemon does not listen yet"
        self._names = names = NamesForm.of(choice, self._catalog, self._index)
        counts, position = names.reading.counts()
        sender = Sender(
            self._identity,
            epoch,
            paced(self._index),
            counts,
            position=position,
            now=service.now(),
            form=names.form,
            names_per_build=SCANNED_NAMES_PER_BUILD if names.reading.scans else NAMES_PER_BUILD,
        )

        async def read(slots: Sequence[int]) -> tuple[Sequence[Build], int]:
            return await self._threads.run(lambda: names.read_and_build(slots))

        return Stream("names", sender, read, self._outside, paced(self._index))

    def duties(self) -> list[Duty]:
        """What the catalog does unasked."""
        told = [
            Duty("softstate", self._names_once) if self._index.tells_names else None,
            Duty("softstate-collections", self._collections_once) if self._index.tells_collections else None,
        ]
        return [duty for duty in told if duty is not None]

    async def _names_once(self) -> float:
        stream, names = self._required("names"), self._names
        if names is not None:
            choice = names_stream.choose(self._index, stream.sender.names, names.choice)
            if choice != names.choice:
                await self._begin_anew(choice)
                stream = self._required("names")
        return await stream.run_once()

    async def _begin_anew(self, choice: Choice) -> None:
        """From now on LFNs are told in another form, in an epoch of its own."""
        before = self._streams["names"]
        epoch = self._catalog.raise_epoch(before.sender.epoch)
        self._streams["names"] = self._names_stream(choice, epoch)
        telemetry.event("softstate.form-changed", site=self._catalog.site, form=choice, epoch=epoch)
        await before.close()

    async def _collections_once(self) -> float:
        return await self._required("collections").run_once()

    def not_ready(self) -> str:
        """Why a start is not complete, or empty text."""
        ready = self._streams and all(stream.sender.ready for stream in self._streams.values())
        return "" if ready else "the first summaries are being built"

    def status(self) -> SenderStatus:
        """What is sent, and what each node is owed. Unavailable before the daemon listens."""
        now, beside = service.now(), self._streams.get("collections")
        if not self._index.tells_names:
            return replace(self._required("collections").sender.status(now), nodes=[], names=0)
        names = self._required("names").sender.status(now)
        if beside is None:
            return names
        said = beside.sender.status(now)
        return replace(names, collections=said.nodes, collections_position=said.position)

    def push(self) -> None:
        """Makes everything owed due at once."""
        if not self._streams:
            raise Unavailable("the daemon is starting")
        for stream in self._streams.values():
            stream.push()

    def change_ring(self, index: IndexSettings) -> None:
        """Other nodes, or another redundancy: who gains slots is sent them at once."""
        self._index = index
        for stream in self._streams.values():
            stream.change_ring(paced(index))

    def _required(self, about: About) -> Stream:
        if about not in self._streams:
            raise Unavailable("the daemon is starting")
        return self._streams[about]

    # ---- the catalog ---------------------------------------------------------------------------------------------

    def changed(self, news: News) -> None:
        """Takes note of a commit; called in the writer's thread."""
        self._loop.call_soon_threadsafe(self._note, news)

    def _note(self, news: News) -> None:
        for stream in self._streams.values():
            stream.note(news)

    async def _read_totals(self, slots: Sequence[int]) -> tuple[list[TotalsBuild], int]:
        def read() -> tuple[list[TotalsBuild], int]:
            rows, position = self._catalog.totals()
            return build_totals(slots, rows, self._index.partition), position

        return await self._threads.run(read)

    async def _raise_epoch(self, above: int) -> int:
        return await self._threads.run(lambda: self._catalog.raise_epoch(above))
