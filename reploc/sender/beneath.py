"""What an index node may say of the senders below it, by how much of their news its own summaries hold already.

What is lacking is said at once. That nothing is lacking, and how old the oldest news is, holds for the keys that the
node had at that moment; so it is said when the summaries have come to that position, and not before. Nor is it said of
summaries that stopped on the way, at keys of which some were lacking: so a word is told with the very change of the
keys from which on it holds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from msgspec.structs import replace

from reploc.hierarchy import MISSING_MAX, Beneath

#: Words that may wait for the summaries; while so many do, of later ones only what is lacking counts, from the last on.
WAITING_MAX = 256


@dataclass(frozen=True)
class Word:
    """What held when the keys stood at a position: all that was there before `oldest_at` is among them."""

    position: int
    beneath: Beneath
    oldest_at: float


class BeneathLog:
    """The words of one node about what is below it."""

    def __init__(self, word: Word) -> None:
        """The first word is of a node that holds nothing."""
        self._held = self._last = word
        self._waiting: deque[Word] = deque()

    def tell(self, word: Word) -> None:
        """A new word, at the same position as the last one or a later one."""
        self._last = word
        if self._waiting and self._waiting[-1].position == word.position:
            self._waiting.pop()
        if len(self._waiting) < WAITING_MAX:
            self._waiting.append(word)
        elif not word.beneath.complete:
            last = self._waiting[-1]
            self._waiting[-1] = Word(last.position, word.beneath, last.oldest_at)

    def at(self, position: int) -> tuple[Beneath, float]:
        """What to say with summaries of this position, and since which moment they may lack something."""
        while self._waiting and self._waiting[0].position <= position:
            self._held = self._waiting.popleft()
        said, held = self._last.beneath, self._held.beneath
        missing = sorted({*said.missing, *held.missing})[:MISSING_MAX]
        return replace(said, complete=said.complete and held.complete, missing=missing), self._held.oldest_at
