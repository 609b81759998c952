"""The registry as workers see it: shown by the main process after each of its steps, read from shared memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from reploc.members import IndexSettings
from reploc.wire import Member, SoftState, Summary
from rli.arena import WORD_BYTES, Arena
from rli.completeness import Flags, Slots
from rli.decisions import Decision, DropSite, Forget, Settled
from rli.registry import Registry
from rli.shared import Shared

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, str, str]).decode


class ShownRegistry(Registry):
    """A registry that shows what answers need of it in shared memory."""

    def __init__(self, index: IndexSettings, cells: Flags, now: float, shared: Shared) -> None:
        super().__init__(index, cells, now, shared.arrays["held"])
        self._shared = shared
        self._heap = Arena(reserved=shared.reserved("heap"))
        #: The name and address that is shown under each number.
        self._shown: dict[int, tuple[str, str, str]] = {}

    def own(self, index: IndexSettings, cells: Flags, now: float) -> None:
        with self._shared:
            super().own(index, cells, now)
            self._show_slots()

    def receive(self, message: SoftState, now: float) -> Decision:
        with self._shared:
            decision = super().receive(message, now)
            self._show_text(decision.number)
            self._show_site(decision.number)
            self._show_slots()
            return decision

    def applied(self, decision: Decision, summary: Summary) -> bool:
        with self._shared:
            counts = super().applied(decision, summary)
            self._show_slots()
            return counts

    def answer(self, decision: Decision, spoiled: Mapping[int, str]) -> Settled:
        with self._shared:
            settled = super().answer(decision, spoiled)
            self._show_site(decision.number)
            self._show_slots()
            return settled

    def expire(self, now: float) -> list[DropSite | Forget]:
        with self._shared:
            decisions = super().expire(now)
            self._shared.arrays["expired_at"][0] = now
            for decided in decisions:
                self._show_site(decided.number)
            self._show_slots()
            return decisions

    def learn(self, listed: Flags, senders: Sequence[Member], now: float) -> None:
        with self._shared:
            super().learn(listed, senders, now)
            for member in senders:
                number = self.number(member.name)
                if number is not None and self._shown.get(number) != self.place(number):
                    self._show_text(number)
                    self._show_site(number)
            self._show_slots()

    def _show_site(self, number: int) -> None:
        """What is known of one site: a hundred thousand others have not changed meanwhile."""
        arrays = self._shared.arrays
        arrays["news_at"][number] = self._news_at[number]
        arrays["listed"][number] = self._completeness.is_listed(number)
        arrays["sites"][1] = len(self._news_at)

    def _show_slots(self) -> None:
        arrays = self._shared.arrays
        arrays["known"][:] = self._completeness.known & (not self.lacking)
        arrays["holders"][:] = self._completeness.holders
        arrays["sites"][0] = self._completeness.sites

    def _show_text(self, number: int) -> None:
        """The name and the address of a site, where they are others than before."""
        text = self.place(number)
        if self._shown.get(number) == text:
            return
        place = self._shared.arrays["texts"][number]
        if number in self._shown:
            self._heap.release(int(place[0]), _words(int(place[1])))
        encoded = _encode(text)
        start = self._heap.allocate(_words(len(encoded)), 1)
        self._heap.words.view(np.uint8)[start * WORD_BYTES :][: len(encoded)] = np.frombuffer(encoded, np.uint8)
        place[:] = (start, len(encoded), place[2] + 1)
        self._shown[number] = text


class SeenRegistry:
    """What a worker reads of it: the part of `Registry` that answers are made from. Read it consistently."""

    def __init__(self, shared: Shared) -> None:
        self._arrays = shared.arrays
        self._heap = shared.arrays["heap"].view(np.uint8)
        #: What was read of each site, with the count of changes that it had then.
        self._texts: dict[int, tuple[int, tuple[str, str, str]]] = {}

    def forget(self) -> None:
        """What was read last may be wrong: remember nothing of it."""
        self._texts.clear()

    def complete(self, slots: Slots) -> Flags:
        arrays = self._arrays
        complete: Flags = arrays["known"][slots] & (arrays["holders"][slots] == arrays["sites"][0])
        return complete

    def is_complete(self, slot: int) -> bool:
        arrays = self._arrays
        return bool(arrays["known"][slot] and arrays["holders"][slot] == arrays["sites"][0])

    def empty(self, slots: Slots) -> Flags:
        empty: Flags = self._arrays["holders"][slots] == 0
        return empty

    def missing_sites(self, slots: Slots) -> list[str]:
        numbers = self._arrays["sites"].item(1)
        missing = self._arrays["listed"][:numbers] & ~self._arrays["held"][:numbers, slots].T
        return sorted(self.place(number)[0] for number in np.flatnonzero(missing.any(axis=0)).tolist())

    def ages(self, numbers: NDArray[np.intp], now: float) -> NDArray[np.float64]:
        return np.maximum(now - self._arrays["news_at"][numbers], 0.0)

    def age(self, number: int, now: float) -> float:
        return max(now - float(self._arrays["news_at"][number]), 0.0)

    def place(self, number: int) -> tuple[str, str, str]:
        start, length, count = self._arrays["texts"][number].tolist()
        known = self._texts.get(number)
        if known is None or known[0] != count:
            text = _decode(self._heap[start * WORD_BYTES :][:length].tobytes())
            known = self._texts[number] = (count, text)
        return known[1]


def _words(size: int) -> int:
    return -(-size // WORD_BYTES)
