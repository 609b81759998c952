"""A transport that asks again where that can help, with pauses that grow and differ between clients.

Asked again is what the error tree calls retryable, when asking twice comes to the same, and whatever never reached the
service because there was no connection. Pauses double and are drawn at random from nothing to the full pause, so that
clients that failed together do not come back together (Brooker, "Exponential backoff and jitter", AWS 2015).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import TypeVar

from reploc.client.transport import Request, Transport
from reploc.errors import NotConnected, ReplocError

T = TypeVar("T")

#: How often one request is sent at most: what two more tries do not mend in two seconds is an outage.
ATTEMPTS = 3
#: Seconds of the longest pause before the second attempt; each further one is twice as long, up to PAUSE_S_MAX.
PAUSE_S = 0.2
PAUSE_S_MAX = 5.0


class Retrying:
    """`inner`, with up to `attempts` tries for each request. A stream that broke is not resumed."""

    def __init__(self, inner: Transport, attempts: int = ATTEMPTS, rng: random.Random | None = None) -> None:
        self._inner = inner
        self._attempts = attempts
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing

    async def ask(self, request: Request[T], until: float) -> T:
        for attempt in range(1, self._attempts):
            try:
                return await self._inner.ask(request, until)
            except ReplocError as wrong:
                pause = pause_s(attempt, self._rng.random())
                if not may_retry(request, wrong) or asyncio.get_running_loop().time() + pause >= until:
                    raise
            await asyncio.sleep(pause)
        return await self._inner.ask(request, until)

    def stream(self, request: Request[T], idle_s: float) -> AsyncIterator[T]:
        return self._inner.stream(request, idle_s)

    async def close(self) -> None:
        await self._inner.close()


def may_retry(request: Request[T], wrong: ReplocError) -> bool:
    """Whether the same request may be sent again after this error."""
    return isinstance(wrong, NotConnected) or (wrong.retryable and request.idempotent)


def pause_s(attempt: int, chance: float) -> float:
    """Seconds to wait after failed attempt number `attempt` (from 1); `chance` is drawn from [0, 1)."""
    return chance * min(PAUSE_S * 2.0 ** (attempt - 1), PAUSE_S_MAX)
