"""Many items in many requests: how they are cut, sent side by side, and their outcomes put together again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from msgspec.structs import replace

from reploc.wire import Written

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")

#: Items in one request of a client: what a service answers in a few milliseconds, so that nobody waits behind it.
ITEMS = 1_000
#: Requests that one call keeps under way at one service: enough to hide the network, few enough to share the service.
REQUESTS = 4


def cut(items: Sequence[T], size: int = ITEMS) -> Iterator[Sequence[T]]:
    """The items in order, `size` at a time."""
    for first in range(0, len(items), size):
        yield items[first : first + size]


async def side_by_side(work: Callable[[A], Awaitable[B]], jobs: Iterable[A], limit: int = REQUESTS) -> list[B]:
    """`work` over all jobs, at most `limit` at a time; results in the order of the jobs.

    Jobs are taken as they are started. The first error stops the others and is raised.
    """
    numbered = enumerate(jobs)
    results: dict[int, B] = {}

    async def worker() -> None:
        for number, job in numbered:
            results[number] = await work(job)

    workers = [asyncio.ensure_future(worker()) for _ in range(limit)]
    try:
        await asyncio.gather(*workers)
    finally:
        for each in workers:
            each.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [results[number] for number in sorted(results)]


def joined(answers: Sequence[Written], size: int = ITEMS) -> Written:
    """One outcome for batches of `size` items each, with the errors numbered as the caller numbered its items.

    `position` is the highest: the commit that holds all of them.
    """
    return Written(
        done=sum(answer.done for answer in answers),
        errors=[
            replace(error, index=batch * size + error.index)
            for batch, answer in enumerate(answers)
            for error in answer.errors
        ],
        position=max((answer.position for answer in answers), default=0),
    )
