"""The journal as the daemon uses it: SQL in one thread, and everything that many ask for at once in one transaction."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine

from fileops import journal
from fileops.gathered import Gathered
from fileops.journal import Claim, Hold
from fileops.lane import Claimed, Ended, Standing
from fileops.operation import Step
from fileops.tables import MIGRATIONS
from reploc import sql

P = ParamSpec("P")
T = TypeVar("T")

#: Operations in one transaction: a few milliseconds of the thread, so that claims do not wait for ends.
ITEMS_MAX = 500
#: Threads for what only reads: a long listing does not hold up a status.
READERS = 2


class Ledger:
    """The journal in the database at `url`, as the runner `runner` sees it. Close it."""

    def __init__(self, url: str, runner: str, lease_s: float, clock: Callable[[], float] = time.time) -> None:
        self.runner = runner
        self.lease_s = lease_s
        self.now = clock
        self._engine = sql.opened(url, "fileops", MIGRATIONS, idle_s=lease_s)
        self._reading = self._engine.execution_options(**{sql.READING: True})
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="journal reader")
        self._holds: Gathered[Hold, Standing] = Gathered(self._hold, ITEMS_MAX)
        self._ends: Gathered[Ended, bool] = Gathered(self._end, ITEMS_MAX)

    async def do(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` returns, done in one transaction of its own. Raises what it raises, Unavailable, StoreError."""

        return await self._in(self._thread, self._engine, lambda connection: work(connection, *args, **kwargs))

    async def read(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for what only reads: it waits for no writer, and no writer for it."""
        return await self._in(self._readers, self._reading, lambda connection: work(connection, *args, **kwargs))

    async def _in(self, threads: ThreadPoolExecutor, engine: Engine, work: Callable[[Connection], T]) -> T:
        def done() -> T:
            with sql.failures("the journal"), engine.begin() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(threads, done)

    async def claim(self, claims: Sequence[Claim]) -> list[list[Claimed]]:
        """Takes operations for this runner."""
        return await self.do(journal.claim, claims, self.runner, self.now(), self.lease_s)

    async def hold(self, operation: Claimed, step: Step = "", pfns: Sequence[str] = ()) -> Standing:
        """How an operation stands, just before what cannot be undone: the step is written where it is OURS."""
        return await self._holds.ask(Hold(operation, step, tuple(pfns)))

    async def end(self, ended: Ended) -> bool:
        """Writes what became of an operation; False where it was no longer ours."""
        return await self._ends.ask(ended)

    async def renew(self, held: Collection[int]) -> frozenset[int]:
        """Makes this runner's leases of what it holds last on; the operations that are to be cancelled."""
        return await self.do(journal.renew, self.runner, held, self.now(), self.lease_s)

    async def expire(self) -> int:
        """Gives back what other runners left behind."""
        return await self.do(journal.expire, self.now())

    async def start_again(self) -> int:
        """Gives back what this runner had before it was started; how many."""
        return await self.do(journal.expire, self.now(), self.runner)

    async def close(self) -> None:
        """Ends the thread and the connections."""
        for threads in (self._thread, self._readers):
            await asyncio.get_running_loop().run_in_executor(None, threads.shutdown)
        self._engine.dispose()

    async def _hold(self, holds: list[Hold]) -> list[Standing]:
        return await self.do(journal.hold, holds)

    async def _end(self, ends: list[Ended]) -> list[bool]:
        return await self.do(journal.end, ends, self.now())
