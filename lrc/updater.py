"""Feeds the index: builds the summaries that the rules call for, sends the messages, and reports what came of them.

The decisions are those of `lrc/softstate.py`; here are the catalog that is read, the threads that build, the
connections and the clock. The catalog is never made to wait: a commit only leaves a note in the event loop.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

from lrc.catalog import Catalog
from lrc.settings import LrcSettings
from lrc.slot_filters import SlotBuild, build_slot
from lrc.softstate import Identity, Sender, SendSoftState
from lrc.threads import Threads
from reploc import service, telemetry
from reploc.client.transport import HttpTransport, Request, Transport
from reploc.digest import Digests
from reploc.errors import ReplocError, Unavailable
from reploc.members import IndexSettings
from reploc.telemetry import Metrics
from reploc.wire import SenderStatus, SoftStateAnswer

#: After a build the next one waits for so many times as long as it took, so that at most a third of a processor builds:
#: many deletions touch every slot at once, and would else hold the writers up. The first builds do not wait.
REST_AFTER_BUILD = 2.0
#: Seconds that a node may take for one message of at most four megabytes.
SEND_S = 30.0


class Updater:
    """The shell around one catalog's `Sender`. Its duty is `run_once`; everything else may be called at any time."""

    def __init__(
        self, catalog: Catalog, threads: Threads, settings: LrcSettings, metrics: Metrics, transport: Transport
    ) -> None:
        self._catalog = catalog
        self._threads = threads
        self._settings = settings
        self._index = settings.index
        self._transport = transport
        self._sender: Sender | None = None
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._noted = 0
        self._sending: set[asyncio.Task[None]] = set()
        self._rests_until = 0.0
        self._messages = metrics.counter(
            "reploc_softstate_messages", "Soft-state messages to index nodes, by what came of them", "node", "outcome"
        )
        self._built = metrics.counter("reploc_softstate_slots_built", "Summaries built from the catalog")
        self._summaries = metrics.counter(
            "reploc_softstate_sent_summaries", "Summaries sent to index nodes, whole or increments", "node", "kind"
        )
        self._bytes = metrics.counter(
            "reploc_softstate_sent_bytes", "Bytes of summaries sent to index nodes, whole or increments", "node", "kind"
        )
        self._resends = metrics.counter(
            "reploc_softstate_asked_again", "Summaries that index nodes asked for again", "node"
        )
        metrics.watch_each(
            "reploc_softstate_lag_seconds",
            "Age of the oldest LFN that an index node may not know yet",
            "node",
            self._lags_s,
        )
        metrics.watch("reploc_softstate_deletions", "Deleted LFNs that the filters still show", self._deletions)
        self.url = ""

    def _lags_s(self) -> dict[str, float]:
        return self._sender.lags_s(service.now()) if self._sender else {}

    def _deletions(self) -> float:
        return self._sender.deletions if self._sender else 0

    @classmethod
    @asynccontextmanager
    async def running(
        cls, catalog: Catalog, threads: Threads, settings: LrcSettings, metrics: Metrics
    ) -> AsyncIterator[Updater]:
        """An updater with connections of its own, which close with it."""
        transport = HttpTransport()
        updater = cls(catalog, threads, settings, metrics, transport)
        try:
            yield updater
        finally:
            for task in updater._sending:
                task.cancel()
            await asyncio.gather(*updater._sending, return_exceptions=True)
            await transport.close()

    def listening(self, url: str) -> None:
        """Begins this start's epoch, now that the address is known that the index will give to clients."""
        self.url = self._settings.url or url
        identity = Identity(self._catalog.site, self.url, self._catalog.sender, secrets.randbits(64))
        epoch = self._catalog.raise_epoch()
        state = self._catalog.state()
        counts = self._catalog.slot_counts(self._index.slots)
        self._sender = Sender(identity, epoch, self._index, counts, position=state.position, now=service.now())

    def not_ready(self) -> str:
        """Why a start is not complete, or empty text."""
        ready = self._sender is not None and self._sender.ready
        return "" if ready else "the first summaries are being built"

    def status(self) -> SenderStatus:
        """What is sent, and what each node is owed. Unavailable before the daemon listens."""
        return self._required().status(service.now())

    def push(self) -> None:
        """Makes everything owed due at once."""
        self._required().push()
        self._rests_until = 0.0
        self._wake.set()

    def change_ring(self, index: IndexSettings) -> None:
        """Other nodes, or another redundancy: who gains slots is sent them at once."""
        self._index = index
        if self._sender is not None:
            self._sender.change_ring(index, service.now())
            self._wake.set()

    def _required(self) -> Sender:
        if self._sender is None:
            raise Unavailable("the daemon is starting")
        return self._sender

    # ---- the writer's news ---------------------------------------------------------------------------------------

    def changed(self, added: Digests, removed: Digests, position: int) -> None:
        """Takes note of a commit; called in the writer's thread."""
        self._loop.call_soon_threadsafe(self._note, added, removed, position)

    def _note(self, added: Digests, removed: Digests, position: int) -> None:
        sender = self._required()
        sender.changed(added, removed, position, service.now())
        first = self._noted == 0
        self._noted += 1 + len(added) + len(removed)
        if first or self._noted >= self._index.increment_changes:
            self._wake.set()

    # ---- the duty ------------------------------------------------------------------------------------------------

    async def run_once(self) -> float:
        """Builds and sends what is due, then waits until something is due again or happens."""
        sender = self._required()
        self._wake.clear()
        if sender.behind:
            await self._restart(sender)
        self._noted = 0
        began = service.now()
        if began >= self._rests_until:
            sender.advance(began)
            self._rest(sender, began)
            await self._build(sender, began)
        self._send_due(sender)
        with suppress(TimeoutError):
            async with asyncio.timeout(sender.next_due(service.now(), self._rests_until)):
                await self._wake.wait()
        return 0.0

    async def _restart(self, sender: Sender) -> None:
        epoch = await self._threads.run(lambda: self._catalog.raise_epoch(sender.behind))
        telemetry.event("softstate.epoch-raised", site=self._catalog.site, epoch=epoch, known=sender.behind)
        sender.restart(epoch, service.now())

    async def _build(self, sender: Sender, began: float) -> None:
        """Builds some of what is due; messages leave between two such visits to the catalog."""
        stale = sender.stale_slots(began).tolist()
        if not stale:
            return
        builds, position = await self._threads.run(partial(self._read_and_build, stale, sender.size_class))
        sender.rebuilt(builds, position)
        self._built.inc(len(builds))
        self._rest(sender, began)

    def _rest(self, sender: Sender, began: float) -> None:
        """Leaves the processor to others for a while, once there are filters to send."""
        if sender.ready:
            ended = service.now()
            self._rests_until = ended + REST_AFTER_BUILD * (ended - began)

    def _read_and_build(self, slots: list[int], size_class: int) -> tuple[list[SlotBuild], int]:
        read = self._catalog.digests(slots, self._index.slots)
        rate = self._index.error_rate
        return [build_slot(*of, size_class, rate) for of in zip(slots, read.digests, strict=True)], read.position

    def _send_due(self, sender: Sender) -> None:
        for send in sender.due(service.now()):
            task = asyncio.create_task(self._send(sender, send))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send(self, sender: Sender, send: SendSoftState) -> None:
        request = Request("POST", send.url, "/v1/softstate", SoftStateAnswer, body=send.message)
        number = send.message.message
        self._count(send)
        try:
            answer = await self._transport.ask(request, self._loop.time() + SEND_S)
            sender.answered(send.node, number, answer, service.now())
            self._resends.labels(send.node).inc(sum(slot.status == "resend" for slot in answer.slots))
            self._messages.labels(send.node, "answered").inc()
        except ReplocError as wrong:
            self._messages.labels(send.node, wrong.code).inc()
            telemetry.event("softstate.failed", node=send.node, code=wrong.code, detail=wrong.detail)
            sender.failed(send.node, number, wrong.detail, retryable=wrong.retryable, now=service.now())
        except Exception as wrong:
            self._messages.labels(send.node, "broke").inc()
            telemetry.failure("softstate.broke", wrong, node=send.node)
            sender.failed(send.node, number, repr(wrong), retryable=True, now=service.now())
        self._wake.set()

    def _count(self, send: SendSoftState) -> None:
        for summary in send.message.summaries:
            kind = "increment" if summary.from_seq else "whole"
            self._summaries.labels(send.node, kind).inc()
            self._bytes.labels(send.node, kind).inc(len(summary.body))
