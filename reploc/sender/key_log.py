"""Which keys of a slot changed at which sequence, so that a node a little behind is told of those alone.

What is kept is bounded; who is further behind gets the slot whole. What a key *is* now the slot knows itself, so
that an increment takes any state since its base to the present one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

#: Keys that one slot's log keeps at least, however small the slot is, and at most: of the longest names so many fill a
#: quarter of a frame, and a node applies them in a few milliseconds.
KEYS_MIN, KEYS_MAX = 16, 256


class KeyLog(Generic[K]):
    """The changes of one slot from sequence to sequence, each one above the last."""

    def __init__(self, sequence: int) -> None:
        """`sequence` is the slot's now; nothing before it is known."""
        self._first = self._last = sequence
        self._changes: deque[tuple[int, tuple[K, ...]]] = deque()
        self._keys = 0

    def append(self, keys: Iterable[K], held: int) -> None:
        """The slot's next sequence has come, by a change of these keys; it holds so many keys now.

        The oldest changes go where the log is beyond half of what the slot holds.
        """
        self._last += 1
        change = tuple(keys)
        self._changes.append((self._last, change))
        self._keys += len(change)
        most = min(KEYS_MAX, max(KEYS_MIN, held // 2))
        while self._keys > most:
            self._first, oldest = self._changes.popleft()
            self._keys -= len(oldest)

    def since(self, sequence: int) -> list[K] | None:
        """The distinct keys that changed after a sequence; None where that is not known any more, or not yet."""
        if not self._first <= sequence < self._last:
            return None
        return list(dict.fromkeys(key for at, change in self._changes if at > sequence for key in change))
