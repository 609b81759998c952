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
from functools import partial
from queue import SimpleQueue
from typing import Self, TypeAlias

from lrc.catalog import Catalog, Commit
from lrc.loading import WriteBody, item_count, needs_own_commit
from reploc import telemetry
from reploc.errors import Internal, ReplocError, StoreFull, TooLarge, Unavailable
from reploc.sender.news import News
from reploc.turn import settle
from reploc.wire import BATCH_ITEMS_MAX, Written

#: Items of one group: those of the largest request. A group of that size is durable in about a fifth of a second.
GROUP_ITEMS_MAX = BATCH_ITEMS_MAX
#: Items that may wait: ten groups, or two seconds of work. Who comes later is told to come again.
QUEUE_ITEMS_MAX = 10 * GROUP_ITEMS_MAX

#: Told, in the writer's thread, after each commit that changed something. It must be quick, for every waiting request
#: waits for it, and must not raise.
Listener: TypeAlias = Callable[[News], None]
Answer: TypeAlias = Written | ReplocError


@dataclass(frozen=True)
class _Waiting:
    body: WriteBody
    items: int
    done: Callable[[Answer], None]


class Writer:
    """The one writer of an open catalog. `start` it in the event loop that submits, and `close` it there.

    What waits is the loop's affair alone: the thread is handed a whole group, and hands back its answers. So a group
    costs two hops between threads however many requests it holds, and a request costs none.
    """

    def __init__(self, catalog: Catalog, listener: Listener | None = None) -> None:
        self._catalog = catalog
        self._listener = listener
        self._queue: deque[_Waiting] = deque()
        #: Items that wait, or are being written.
        self.queued_items = 0
        self._closing = False
        #: A group that is being written, or a look at the queue that is about to come.
        self._busy = False
        self._groups: SimpleQueue[list[_Waiting]] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="lrc-writer", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None] | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._thread.start()

    async def close(self) -> None:
        """Make durable and answer what waits, then end. Later requests are `unavailable`."""
        self._closing = True
        if self._ended is not None:
            self._wake()
            await self._ended
            await asyncio.to_thread(self._thread.join)

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def submit(self, body: WriteBody) -> Written:
        """Apply a request and answer when it is durable. Unavailable where too much waits; StoreFull; TooLarge."""
        future: asyncio.Future[Written] = asyncio.get_running_loop().create_future()
        self.begin(body, partial(settle, future))
        return await future

    def begin(self, body: WriteBody, done: Callable[[Answer], None]) -> None:
        """The same; `done` gets the answer, in the loop. Raises Unavailable at once, with nothing begun."""
        items = max(1, item_count(body))
        if self._closing:
            raise Unavailable("the catalog is closing")
        if self.queued_items + items > QUEUE_ITEMS_MAX:
            raise Unavailable(f"{self.queued_items:,} items wait to be written, of at most {QUEUE_ITEMS_MAX:,}")
        self._queue.append(_Waiting(body, items, done))
        self.queued_items += items
        self._wake()

    # ---- in the loop -------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Looks at the queue once the loop has taken in what else has arrived, unless a group is being written."""
        assert self._loop is not None, "the writer has not been started"
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        """Gives the thread the next group; an empty one, which ends it, when nothing waits and nothing will."""
        self._busy = bool(self._queue)
        if self._busy or self._closing:
            self._groups.put(self._next_group())

    def _next_group(self) -> list[_Waiting]:
        """The requests of the next commit."""
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

    def _answer(self, group: Sequence[_Waiting], answers: Sequence[Answer]) -> None:
        """What became of a group. The next is handed over first, so that it is written while this one is answered."""
        self.queued_items -= sum(waiting.items for waiting in group)
        self._hand_over()
        for waiting, answer in zip(group, answers, strict=True):
            waiting.done(answer)

    # ---- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        assert self._loop is not None
        assert self._ended is not None
        with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            while group := self._groups.get():
                self._loop.call_soon_threadsafe(self._answer, group, self._written(group))
            self._loop.call_soon_threadsafe(self._ended.set_result, None)

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
            self._listener(commit.news)
        except Exception as wrong:
            # The commit stands whatever became of the news of it.
            telemetry.failure("listener-failed", wrong, position=commit.position)
