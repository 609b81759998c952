"""Jobs done side by side, a bounded number of them at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

#: Requests that one call keeps under way at one service: enough to hide the network, few enough to share the service.
REQUESTS = 4


async def side_by_side(work: Callable[[A], Awaitable[B]], jobs: Iterable[A], limit: int = REQUESTS) -> list[B]:
    """`work` over all jobs, started in their order, at most `limit` at a time; results in the order of the jobs.

    The first error stops the others and is raised.
    """
    waiting = list(jobs)
    if len(waiting) == 1:
        return [await work(waiting[0])]
    results: dict[int, B] = {}
    numbered = iter(enumerate(waiting))

    async def worker() -> None:
        for number, job in numbered:
            results[number] = await work(job)

    workers = [asyncio.ensure_future(worker()) for _ in range(min(limit, len(waiting)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for each in workers:
            each.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [results[number] for number in range(len(waiting))]
