"""Questions that arrive in one turn of the event loop, answered as one array.

One name costs an index almost as much as fifty, and a catalog a snapshot: the price is that of the calls. So a question
waits until the loop has taken in what else has arrived, which is no time at all when nothing has, and all are asked at
once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class Turn(Generic[Answer]):
    """Gathers the names of one turn for `answer_all`, which gives as many answers or errors, in the names' order."""

    def __init__(self, answer_all: Callable[[Sequence[str]], Sequence[Answer | Exception]]) -> None:
        self._answer_all = answer_all
        self._waiting: list[tuple[str, Callable[[Answer | Exception], None]]] = []

    def begin(self, name: str, done: Callable[[Answer | Exception], None]) -> None:
        """Asks for one name; `done` gets its answer, given together with those of its turn, or what was wrong."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._end)
        self._waiting.append((name, done))

    async def ask(self, name: str) -> Answer:
        """The answer for one name. Raises its error, or what `answer_all` raises."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.begin(name, lambda answer: settle(future, answer))
        return await future

    def _end(self) -> None:
        waiting, self._waiting = self._waiting, []
        for (_, done), answer in zip(waiting, self._answers([name for name, _ in waiting]), strict=True):
            done(answer)

    def _answers(self, names: Sequence[str]) -> Sequence[Answer | Exception]:
        """What all are answered; where all together break, each is asked alone."""
        try:
            return self._answer_all(names)
        except Exception as wrong:
            return [wrong] if len(names) == 1 else [answer for name in names for answer in self._answers([name])]


def settle(future: asyncio.Future[Answer], answer: Answer | Exception) -> None:
    """Gives a future its value, or its error, unless who waited for it has gone away."""
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
