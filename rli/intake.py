"""The way of a summary into what a node holds: past the registry, verified, and shown in one step with its entry there.

Rules (who is heard, what is held, what is complete) are the registry's, contents those of one holding per kind; here
they are kept in step. A whole summary is verified, written beside what is served, and swapped; an increment changes
what is served, once it is known that what it leads to is what its sender has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from msgspec.structs import replace

from reploc.errors import ReplocError, SummaryInvalid
from reploc.wire import SoftState, SoftStateAnswer, Summary
from rli.decisions import Decision, DropSite
from rli.holding import PIECE, Holding
from rli.registry import Registry

#: Bytes of a summary above which it is verified in a thread: below it that takes less than two milliseconds.
VERIFY_BYTES = 24 << 10


class Intake:
    """Takes the messages of all senders about one thing. One event loop uses it; moments are monotonic seconds."""

    def __init__(self, registry: Registry, holdings: Mapping[str, Holding]) -> None:
        """`holdings` are those of each kind of summary that is taken."""
        self._registry = registry
        self._holdings = holdings

    async def receive(self, message: SoftState, now: float) -> SoftStateAnswer:
        """Takes a sender's message; other work goes on between the pieces of its summaries.

        Raises what `Registry.receive` raises, with nothing changed. A summary that is broken, or has no room, is asked
        for again; what was held of its slot stays.
        """
        decision = self._registry.receive(message, now)
        one_piece = message.one_piece
        self._drop([PIECE] * len(decision.dropped) if one_piece else decision.dropped.tolist(), decision.number)
        spoiled: dict[int, str] = {}
        for summary in decision.accepted:
            try:
                if summary.from_seq:
                    self._change(decision, summary, PIECE if one_piece else summary.slot)
                    await asyncio.sleep(0)
                else:
                    await self._swap_in(decision, summary, PIECE if one_piece else summary.slot)
            except ReplocError as wrong:
                spoiled[summary.slot] = f"{wrong.code}: {wrong.detail}"
        settled = self._registry.answer(decision, spoiled)
        if settled.drop is not None:
            self._drop(settled.drop.slots.tolist(), settled.drop.number)
        if settled.answer.current and decision.renews and not one_piece:
            self._drop([PIECE], decision.number)  # what an earlier epoch told, now that all slots are there
        return settled.answer

    def expire(self, now: float) -> list[str]:
        """Stops serving senders without news; their sites."""
        silent = []
        for decision in self._registry.expire(now):
            if isinstance(decision, DropSite):
                for holding in self._holdings.values():
                    holding.drop_site(decision.number)
                silent.append(decision.site)
        return silent

    def _drop(self, slots: list[int], site: int) -> None:
        for slot in slots:
            for holding in self._holdings.values():
                holding.drop(slot, site)

    def _drop_others(self, holding: Holding, slot: int, site: int) -> None:
        """What was just shown takes the place of what other kinds hold of the slot; a piece that of everything."""
        for each in self._holdings.values():
            gone = each.slots(site) if slot == PIECE else [slot]
            for other in gone:
                if each is not holding or other != slot:
                    each.drop(other, site)

    def _holding(self, summary: Summary) -> Holding:
        if summary.kind not in self._holdings:
            kinds = " or ".join(self._holdings)
            raise SummaryInvalid(f"the summary of slot {summary.slot} is of kind {summary.kind}; expected {kinds}")
        return self._holdings[summary.kind]

    def _change(self, decision: Decision, summary: Summary, slot: int) -> None:
        if self._registry.wanted(decision, summary):
            checksum = self._registry.checksum(decision, summary.slot)
            self._holding(summary).change(replace(summary, slot=slot), decision.number, checksum)
            self._registry.applied(decision, summary)

    async def _swap_in(self, decision: Decision, summary: Summary, slot: int) -> None:
        holding = self._holding(summary)
        if len(summary.body) > VERIFY_BYTES:
            whole = await asyncio.to_thread(holding.verified, summary)
        else:
            whole = holding.verified(summary)
        writing = holding.store(slot, decision.number, whole)
        # The last step swaps, and nothing comes between it and the look at the registry before it.
        while self._registry.wanted(decision, summary):
            if next(writing, writing) is writing:
                self._registry.applied(decision, summary)
                self._drop_others(holding, slot, decision.number)
                return
            await asyncio.sleep(0)
        writing.close()
