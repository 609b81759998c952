"""A virtual clock: what is to happen at which moment, in order, with no waiting."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

Action = Callable[[], None]


class Clock:
    """Actions at the same moment run in the order in which they were set."""

    def __init__(self) -> None:
        #: Not zero, so that a rule which takes 0 for "never" is found out.
        self.now = 1000.0
        self._waiting: list[tuple[float, int, Action]] = []
        self._order = count()

    def after(self, seconds: float, action: Action) -> None:
        heapq.heappush(self._waiting, (self.now + seconds, next(self._order), action))

    def run_for(self, seconds: float) -> None:
        """Runs everything that is due within so many seconds."""
        end = self.now + seconds
        while self._waiting and self._waiting[0][0] <= end:
            self.now, _, action = heapq.heappop(self._waiting)
            action()
        self.now = end
