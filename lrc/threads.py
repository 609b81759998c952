"""Threads for the long reads of a catalog, all of which end before the catalog is closed.

A task that is cancelled leaves its thread reading, and a store that is closed under a read takes the process with it.
So whoever opens a catalog opens the threads after it, and they are waited for before it closes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

T = TypeVar("T")

#: Long reads at one time: one that builds summaries, and a few listings. They share the interpreter, so that more
#: would only hold more snapshots open.
THREADS_MAX = 4


class Threads:
    """Use as an async context; `run` may be called while it lasts."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="lrc-read")

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, or raises. Where the caller is cancelled, work that has begun goes on to its end."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)
