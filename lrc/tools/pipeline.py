"""Jobs that come one after the other from a slow source, done side by side while the next ones come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

#: Batches under way at one time: as many as a client sends side by side.
BATCHES = 4


async def each_as_it_comes(
    jobs: AsyncIterable[T], work: Callable[[T], Coroutine[Any, Any, None]], limit: int = BATCHES
) -> None:
    """`work` over all jobs, at most `limit` at a time; the next job is asked for when there is room for it.

    The first error stops the others and is raised.
    """
    running: set[asyncio.Task[None]] = set()
    try:
        async for job in jobs:
            running.add(asyncio.create_task(work(job)))
            if len(running) >= limit:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for each in done:
                    each.result()
        await asyncio.gather(*running)
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)
