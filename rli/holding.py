"""What a node holds of one kind of summary, for every sender and slot, behind one interface.

One implementation per kind (`rli/filters.py`, `rli/totals.py`, …), one suite over all of them
(`tests/test_kinds.py`). Who is heard and which sequence is held is the registry's affair; the way of a summary
past both is in `rli/intake.py`. Sites are the small numbers that the registry gives.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Protocol, TypeAlias

from reploc.wire import Summary

#: Stands for a slot where a sender tells everything in one piece.
PIECE = -1

#: Long work in pieces: run it by iterating, abandon it by `close`.
Steps: TypeAlias = Generator[None, None, None]


class Holding(Protocol):
    """All summaries of one kind."""

    def verified(self, summary: Summary) -> Any:
        """What a whole summary says, fit to be stored; may run in a thread. SummaryInvalid: it is broken."""

    def store(self, slot: int, site: int, whole: Any) -> Steps:
        """Puts what was verified in place of what is held, in short steps; questions see it after the last one.

        Closed early it leaves what was there.
        """

    def change(self, summary: Summary, site: int, checksum: int) -> None:
        """Applies an increment to what is held, which has that checksum, in one step.

        SummaryInvalid, with nothing changed: it is broken, or what would be held after it is not what the sender has.
        """

    def slots(self, site: int) -> Sequence[int]:
        """The slots of which something is held of a site."""

    def drop(self, slot: int, site: int) -> bool:
        """Forgets what is held of a slot of a site; whether there was anything."""

    def drop_site(self, site: int) -> int:
        """Forgets all that is held of a site; of how many slots that was."""
