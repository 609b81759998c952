"""The runner: takes operations as the schedule decides, carries them out side by side, writes what became of them."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from functools import partial

from fileops import order_book, submissions
from fileops.carrying import CancelAsked, Carrier, Done, LeaseLost
from fileops.copying import Copying
from fileops.deleting import Deleting, WitnessGone
from fileops.journal import Claim
from fileops.lane import Claimed, Ended, Standing
from fileops.links import Links
from fileops.operation import Event
from fileops.retries import RetrySettings, Spent, failed
from fileops.schedule import Schedule
from reploc import telemetry
from reploc.errors import ReplocError
from reploc.storage.faults import StorageFault
from reploc.telemetry import Metrics

#: Seconds between two looks for operations that came due or were submitted elsewhere.
LOOK_S = 1.0
#: Seconds that ends may gather before new operations are begun in their places: a batch costs as much as one.
TURN_S = 0.01
#: Parts of a lease between two renewals: two may be lost.
RENEWALS = 3
#: Seconds that operations under way get to tidy up when the daemon stops.
STOP_S = 4.0


class Runner:
    """Carries out what the journal holds."""

    def __init__(
        self, carrier: Carrier, schedule: Schedule, links: Links, retries: RetrySettings, metrics: Metrics
    ) -> None:
        self._carrier = carrier
        self._ledger = carrier.ledger
        self._schedule = schedule
        self._links = links
        self._retries = retries
        self._rng = random.Random()  # noqa: S311 - spreads load, guards nothing
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._to_cancel: set[int] = set()
        self._wake = asyncio.Event()
        self._look_at = 0.0
        self._ended = metrics.counter("reploc_operations", "Operations that ended an attempt, by outcome", "outcome")
        self._moved = metrics.counter("reploc_moved_bytes", "Bytes of files that were copied")
        metrics.watch("reploc_operations_active", "Operations under way", lambda: len(self._tasks))

    @property
    def active(self) -> int:
        """Operations under way."""
        return len(self._tasks)

    def wake(self) -> None:
        """Something was submitted, released or changed: look at once."""
        self._look_at = 0.0
        self._wake.set()

    async def work(self) -> float:
        """Begins what may begin; waits until something changes, a second at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self._wake.wait()
        self._wake.clear()
        now = asyncio.get_running_loop().time()
        if now >= self._look_at:
            await self._look()
            self._look_at = now + LOOK_S
        while begins := self._schedule.decide():
            claims = [Claim(begin.lane, begin.source, begin.count) for begin in begins]
            try:
                claimed = await self._ledger.claim(claims)
            except BaseException:
                for begin in begins:
                    self._schedule.began(begin, 0)
                raise
            for begin, operations in zip(begins, claimed, strict=True):
                self._schedule.began(begin, len(operations))
                for operation in operations:
                    self._start(operation)
        return TURN_S

    async def renew(self) -> float:
        """Makes the leases last on, ends what is to be cancelled, and gives back what other runners left behind."""
        for operation in await self._ledger.renew(frozenset(self._tasks)):
            task = self._tasks.get(operation)
            if task is not None and operation not in self._to_cancel:
                self._to_cancel.add(operation)
                task.cancel()
        if await self._ledger.expire():
            self.wake()
        return self._ledger.lease_s / RENEWALS

    async def stop(self) -> None:
        """Gives back everything that is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_S)

    async def _look(self) -> None:
        lanes = await self._ledger.read(submissions.ready_lanes, self._ledger.now())
        self._schedule.drained = await self._ledger.read(submissions.drained)
        self._schedule.ready(lanes)

    # ---- one operation -----------------------------------------------------------------------------------------------

    def _start(self, operation: Claimed) -> None:
        task = asyncio.create_task(self._carry(operation), name=f"operation {operation.id}")
        self._tasks[operation.id] = task
        if operation.cancel:  # it is taken up in order to be undone, which nobody should interrupt
            self._to_cancel.add(operation.id)
        task.add_done_callback(partial(self._over, operation))  # also of one that is cancelled before it has begun

    def _over(self, operation: Claimed, task: asyncio.Task[None]) -> None:
        if self._tasks.get(operation.id) is task:  # else its lease was over meanwhile, and it is taken up again
            del self._tasks[operation.id]
            self._to_cancel.discard(operation.id)
        self._schedule.ended(operation.lane, operation.source)
        self._wake.set()

    async def _carry(self, operation: Claimed) -> None:
        try:
            ended = await self._outcome(operation)
            if ended is None or not await self._ledger.end(ended):
                telemetry.event("operation.lost", operation=operation.id, fence=operation.fence)
                self._ended.labels("lost").inc()
            else:
                await self._account(ended)
        except ReplocError as wrong:  # the journal is away: the lease runs out, and the operation is done again
            telemetry.event("operation.unwritten", operation=operation.id, detail=wrong.detail)

    async def _outcome(self, operation: Claimed) -> Ended | None:
        """What became of an attempt; None where the operation is somebody else's by now."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            done = await self._attempt(operation)
        except LeaseLost:
            return None
        except CancelAsked:
            return Ended(operation, Event.CANCELLED, "cancelled before anything was done")
        except asyncio.CancelledError:
            return await self._stopped(operation)
        except StorageFault as met:
            fault = met
        except ReplocError as wrong:  # the journal did not answer
            fault = StorageFault("transient", wrong.detail)
        except Exception as wrong:
            telemetry.failure("operation.broke", wrong, operation=operation.id, lfn=operation.lfn)
            fault = StorageFault("transient", f"a fault of reploc itself: {wrong!r}")
        else:
            event = Event.CANCELLED if done.undone else Event.SUCCEEDED
            return Ended(operation, event, done.words, seconds=done.seconds, moved=done.moved, position=done.position)
        return await self._failed(operation, fault, loop.time() - began)

    async def _stopped(self, operation: Claimed) -> Ended | None:
        """What becomes of an operation that was ended on its way: cancelled, or given back, to be undone or done."""
        if operation.id not in self._to_cancel:
            return Ended(operation, Event.RETURNED, "the runner was stopped")
        standing = await self._ledger.hold(operation)
        if standing is Standing.CANCELLED:
            return Ended(operation, Event.CANCELLED, "cancelled on its way; nothing is left of it")
        if standing is Standing.LOST:
            return None
        return Ended(operation, Event.RETURNED, "to be undone, for it was cancelled")

    async def _failed(self, operation: Claimed, fault: StorageFault, seconds: float) -> Ended:
        now, order = self._ledger.now(), operation.lane.order
        if isinstance(fault, WitnessGone) and order:
            await self._ledger.do(order_book.hold_order, order, fault.said, now)
        return failed(operation, fault, self._retries, now, self._rng.random(), Spent(seconds))

    async def _attempt(self, operation: Claimed) -> Done:
        if operation.lane.kind == "delete":
            return await Deleting(self._carrier, operation).run()
        copying = Copying(self._carrier, operation)
        if not operation.cancel:
            return await copying.run()
        if operation.step != "placing":
            raise CancelAsked
        return await copying.undo()

    async def _account(self, ended: Ended) -> None:
        operation = ended.operation
        self._ended.labels(str(ended.event)).inc()
        self._moved.inc(ended.moved)
        if operation.lane.kind == "copy" and ended.event in (Event.SUCCEEDED, Event.DELAYED, Event.HELD):
            succeeded = ended.event == Event.SUCCEEDED
            if ended.moved or not succeeded:
                self._links.add(
                    operation.source,
                    operation.lane.site,
                    succeeded=succeeded,
                    moved=ended.moved,
                    seconds=ended.seconds,
                    now=self._ledger.now(),
                )
        if ended.event not in (Event.SUCCEEDED, Event.RETURNED):
            telemetry.event(f"operation.{ended.event}", operation=operation.id, lfn=operation.lfn, reason=ended.words)
