"""Group commit: one thread that takes all requests that wait and makes them durable in one commit.

While one group is synced to disk the next one gathers, so a commit's cost is shared by as many requests as there are
at the time, and a single one waits for nobody. A request is acknowledged after its commit, and after the listener has
been told what changed; what one request gets wrong is undone alone. Where the disk is full nothing of the group has
changed, each of its requests gets `store-full`, and the writer goes on.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self, TypeAlias

from lrc.catalog import Catalog, Commit
from lrc.loading import needs_own_commit
from lrc.mappings import WriteBody
from reploc import telemetry
from reploc.digest import Digests
from reploc.errors import Internal, ReplocError, StoreFull, TooLarge, Unavailable
from reploc.wire import BATCH_ITEMS_MAX, RenameBody, Written

#: Items of one group: those of the largest request. A group of that size is durable in about a fifth of a second.
GROUP_ITEMS_MAX = BATCH_ITEMS_MAX
#: Items that may wait: ten groups, or two seconds of work. Who comes later is told to come again.
QUEUE_ITEMS_MAX = 10 * GROUP_ITEMS_MAX

#: Told, in the writer's thread, after each commit that changed something: digests added and removed, shape (n, 2)
#: each, and the new position. It must be quick, for every waiting request waits for it, and must not raise.
Listener: TypeAlias = Callable[[Digests, Digests, int], None]
Answer: TypeAlias = Written | ReplocError


@dataclass(frozen=True)
class _Waiting:
    body: WriteBody
    items: int
    future: asyncio.Future[Written]


class Writer:
    """The one writer of an open catalog. `start` it in the event loop that submits, and `close` it there."""

    def __init__(self, catalog: Catalog, listener: Listener | None = None) -> None:
        self._catalog = catalog
        self._listener = listener
        self._queue: deque[_Waiting] = deque()
        self._queued_items = 0
        self._closing = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="lrc-writer", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def close(self) -> None:
        """Make durable and answer what waits, then end. Later requests are `unavailable`."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def queued_items(self) -> int:
        """Items that wait, or are being written."""
        return self._queued_items

    async def submit(self, body: WriteBody) -> Written:
        """Apply a request and answer when it is durable. Unavailable where too much waits; StoreFull; TooLarge."""
        assert self._loop is not None, "the writer has not been started"
        items = max(1, len(body.names if isinstance(body, RenameBody) else body.mappings))
        waiting = _Waiting(body, items, self._loop.create_future())
        with self._wake:
            if self._closing:
                raise Unavailable("the catalog is closing")
            if self._queued_items + items > QUEUE_ITEMS_MAX:
                raise Unavailable(f"{self._queued_items:,} items wait to be written, of at most {QUEUE_ITEMS_MAX:,}")
            self._queue.append(waiting)
            self._queued_items += items
            self._wake.notify()
        return await waiting.future

    # ---- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while group := self._next_group():
            answers = self._written(group)
            with self._wake:
                self._queued_items -= sum(waiting.items for waiting in group)
            assert self._loop is not None
            with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
                self._loop.call_soon_threadsafe(_answer, group, answers)

    def _next_group(self) -> list[_Waiting]:
        """The requests of the next commit, or none when the writer has been closed and nothing waits."""
        with self._wake:
            while not self._queue and not self._closing:
                self._wake.wait()
            group: list[_Waiting] = []
            items = 0
            while self._queue and (not group or items + self._queue[0].items <= GROUP_ITEMS_MAX):
                alone = needs_own_commit(self._queue[0].body)
                if alone and group:
                    break
                group.append(self._queue.popleft())
                items += group[-1].items
                if alone:
                    break
            return group

    def _written(self, group: Sequence[_Waiting]) -> list[Answer]:
        try:
            commit = self._catalog.apply([waiting.body for waiting in group])
        except StoreFull as full:
            return [full] * len(group)
        except Exception as wrong:
            if len(group) > 1:
                return [answer for waiting in group for answer in self._written([waiting])]
            telemetry.failure("write-failed", wrong)
            return [wrong if isinstance(wrong, ReplocError) else Internal(f"the write failed: {wrong!r}")]
        self._tell(commit)
        if len(group) == 1:
            return commit.answers
        # What was too much for the group may be little enough alone.
        return [
            self._written([waiting])[0] if isinstance(answer, TooLarge) else answer
            for waiting, answer in zip(group, commit.answers, strict=True)
        ]

    def _tell(self, commit: Commit) -> None:
        if self._listener is None or not commit.changed:
            return
        try:
            self._listener(commit.added, commit.removed, commit.position)
        except Exception as wrong:
            # The commit stands whatever became of the news of it.
            telemetry.failure("listener-failed", wrong, position=commit.position)


def _answer(group: Sequence[_Waiting], answers: Sequence[Answer]) -> None:
    for waiting, answer in zip(group, answers, strict=True):
        if waiting.future.done():
            continue  # who asked has gone away
        if isinstance(answer, Written):
            waiting.future.set_result(answer)
        else:
            waiting.future.set_exception(answer)
