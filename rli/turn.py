"""Questions that arrive in one turn of the event loop, answered as one array.

One LFN costs the matrix almost as much as fifty: the price is that of the calls, not of the bits. So a question waits
until the loop has taken in what else has arrived, which is no time at all when nothing has, and all are asked at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class Turn(Generic[Answer]):
    """Gathers the names of one turn for `answer_all`, which gives as many answers, in the order of the names."""

    def __init__(self, answer_all: Callable[[Sequence[str]], Sequence[Answer]]) -> None:
        self._answer_all = answer_all
        self._waiting: list[tuple[str, asyncio.Future[Answer]]] = []

    async def ask(self, name: str) -> Answer:
        """The answer for one name, given together with those of its turn. Raises what `answer_all` raises."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._end)
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((name, future))
        return await future

    def _end(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            answers = self._answer_all([name for name, _ in waiting])
        except Exception as wrong:
            for _, future in waiting:
                if not future.done():
                    future.set_exception(wrong)
            return
        for (_, future), answer in zip(waiting, answers, strict=True):
            if not future.done():  # else who asked has gone away
                future.set_result(answer)
