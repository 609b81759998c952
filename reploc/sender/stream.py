"""One stream of soft state: builds the summaries that are due, sends the messages, and reports what came of them.

The decisions are those of `reploc/sender/sender.py`; here are the connections and the clock. What is sent from is never
made to wait: a commit only leaves a note in the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from msgspec.structs import replace

from reploc import service, telemetry
from reploc.client.transport import Request, Transport
from reploc.errors import ReplocError
from reploc.members import IndexSettings
from reploc.sender.form import Build
from reploc.sender.news import News
from reploc.sender.sender import Sender, SendSoftState
from reploc.telemetry import Metrics
from reploc.wire import SIZE_MAX, About, SoftStateAnswer

#: After a build the next one waits for so many times as long as it took, so that at most a third of a processor builds:
#: many deletions touch every slot at once, and would else hold the writers up. The first builds do not wait.
REST_AFTER_BUILD = 2.0
#: Seconds that a node may take for one message of at most four megabytes.
SEND_S = 30.0

#: Reads slots and builds their summaries, without holding the loop up: the builds, and the position of the snapshot.
ReadAndBuild: TypeAlias = Callable[[Sequence[int]], Awaitable[tuple[Sequence[Build], int]]]


class Meters:
    """What all streams of a catalog count, by what they are about."""

    def __init__(self, metrics: Metrics) -> None:
        self.messages = metrics.counter(
            "reploc_softstate_messages",
            "Soft-state messages to index nodes, by what came of them",
            "node",
            "outcome",
            "about",
        )
        self.built = metrics.counter("reploc_softstate_slots_built", "Summaries built from the catalog", "about")
        self.summaries = metrics.counter(
            "reploc_softstate_sent_summaries",
            "Summaries sent to index nodes, whole or increments",
            "node",
            "kind",
            "about",
        )
        self.bytes = metrics.counter(
            "reploc_softstate_sent_bytes",
            "Bytes of summaries sent to index nodes, whole or increments",
            "node",
            "kind",
            "about",
        )
        self.resends = metrics.counter(
            "reploc_softstate_asked_again", "Summaries that index nodes asked for again", "node", "about"
        )


@dataclass(frozen=True)
class Outside:
    """What a stream meets: connections to nodes, and what is counted.

    `raise_epoch` makes a new epoch durable, where anything is, above the one given.
    """

    transport: Transport
    meters: Meters
    raise_epoch: Callable[[int], Awaitable[int]]


class Stream:
    """The shell around one `Sender`. Its duty is `run_once`; everything else may be called at any time."""

    def __init__(
        self,
        about: About,
        sender: Sender,
        read: ReadAndBuild,
        outside: Outside,
        index: IndexSettings,
        before_sending: Callable[[], None] = lambda: None,
    ) -> None:
        self.sender = sender
        self._about = about
        self._read = read
        self._outside = outside
        self._index = index
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        #: The moment until which the duty waits for something to happen; none while it does not wait.
        self._waits_until = 0.0
        self._sending: set[asyncio.Task[None]] = set()
        self._rests_until = 0.0
        self._before_sending = before_sending

    async def close(self) -> None:
        """Gives up what is under way."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    def push(self) -> None:
        """Makes everything owed due at once."""
        self.sender.push()
        self._rests_until = 0.0
        self._wake.set()

    def change_ring(self, index: IndexSettings) -> None:
        """Other nodes, or another redundancy: who gains slots is sent them at once."""
        self._index = index
        self.sender.change_ring(index, service.now())
        self._wake.set()

    def note(self, news: News) -> None:
        """Takes note of a commit. Not each of them is worth a look at all slots: the first of many sets the clock."""
        now, had_much = service.now(), self.sender.has_much_to_take_in
        self.sender.changed(news, now)
        is_sooner = now + self._index.increment_interval_s < self._waits_until
        if is_sooner or (self.sender.has_much_to_take_in and not had_much):
            self._wake.set()

    # ---- the duty ------------------------------------------------------------------------------------------------

    async def run_once(self) -> float:
        """Builds and sends what is due, then waits until something is due again or happens."""
        sender = self.sender
        self._wake.clear()
        if sender.behind:
            await self._restart()
        began = service.now()
        if began >= self._rests_until:
            sender.advance(began)
            self._rest(began)
            await self._build(began)
        self._send_due()
        now = service.now()
        due_s = sender.next_due(now, self._rests_until)
        self._waits_until = now + due_s
        with suppress(TimeoutError):
            async with asyncio.timeout(due_s):
                await self._wake.wait()
        self._waits_until = 0.0
        return 0.0

    async def _restart(self) -> None:
        behind = self.sender.behind
        epoch = await self._outside.raise_epoch(behind)
        telemetry.event("softstate.epoch-raised", about=self._about, epoch=epoch, known=behind)
        self.sender.restart(epoch, service.now())

    async def _build(self, began: float) -> None:
        """Builds some of what is due; messages leave between two such visits to the catalog."""
        stale = self.sender.stale_slots(began).tolist()
        if not stale:
            return
        builds, position = await self._read(stale)
        self.sender.rebuilt(builds, position)
        self._outside.meters.built.labels(self._about).inc(len(builds))
        self._rest(began)

    def _rest(self, began: float) -> None:
        """Leaves the processor to others for a while, once there are summaries to send."""
        if self.sender.ready:
            ended = service.now()
            self._rests_until = ended + REST_AFTER_BUILD * (ended - began)

    def wake(self) -> None:
        """Something may be due that was not."""
        self._wake.set()

    def _send_due(self) -> None:
        self._before_sending()
        for send in self.sender.due(service.now()):
            task = asyncio.create_task(self._send(send))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send(self, send: SendSoftState) -> None:
        request = Request("POST", send.url, "/v1/softstate", SoftStateAnswer, body=send.message)
        number, meters, sender = send.message.message, self._outside.meters, self.sender
        self._count(send)
        try:
            answer = await self._outside.transport.ask(request, self._loop.time() + SEND_S)
            sender.answered(send.node, number, answer, service.now())
            again = sum(slot.status == "resend" for slot in answer.slots)
            meters.resends.labels(send.node, self._about).inc(again)
            meters.messages.labels(send.node, "answered", self._about).inc()
        except ReplocError as wrong:
            meters.messages.labels(send.node, wrong.code, self._about).inc()
            telemetry.event("softstate.failed", node=send.node, code=wrong.code, detail=wrong.detail)
            sender.failed(send.node, number, wrong.detail, retryable=wrong.retryable, now=service.now())
        except Exception as wrong:
            meters.messages.labels(send.node, "broke", self._about).inc()
            telemetry.failure("softstate.broke", wrong, node=send.node)
            sender.failed(send.node, number, repr(wrong), retryable=True, now=service.now())
        self._wake.set()

    def _count(self, send: SendSoftState) -> None:
        meters = self._outside.meters
        for summary in send.message.summaries:
            kind = "increment" if summary.from_seq else "whole"
            meters.summaries.labels(send.node, kind, self._about).inc()
            meters.bytes.labels(send.node, kind, self._about).inc(len(summary.body))


def paced(index: IndexSettings) -> IndexSettings:
    """The settings by which streams send: in mode full what changed waits for the next full update."""
    if index.mode == "partial":
        return index
    whole = index.full_interval_s
    return replace(index, increment_interval_s=whole, increment_changes=SIZE_MAX, rebuild_interval_s=whole)
