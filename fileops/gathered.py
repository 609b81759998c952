"""Things asked for one by one and done many at once: while one batch is under way, the next one gathers.

A group commit for whatever costs about as much for a thousand as for one: a transaction, a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Gathered(Generic[T, R]):
    """`send` does up to `items_max` items at once and answers for each; one batch is under way at a time.

    Where `send` raises, everyone in the batch gets what it raised. Who stops waiting disturbs nobody.
    """

    def __init__(self, send: Callable[[list[T]], Awaitable[Sequence[R]]], items_max: int) -> None:
        self._send = send
        self._items_max = items_max
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._pump: asyncio.Task[None] | None = None

    async def ask(self, item: T) -> R:
        """The answer for one item."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._pump is None:
            self._pump = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while True:
                await asyncio.sleep(0)  # whoever asks in the same turn of the loop comes along
                if not self._waiting:
                    return
                batch, self._waiting = self._waiting[: self._items_max], self._waiting[self._items_max :]
                await self._do(batch)
        finally:
            self._pump = None

    async def _do(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            answers = await self._send([item for item, _ in batch])
        except Exception as wrong:
            for _, future in batch:
                if not future.done():
                    future.set_exception(wrong)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)
