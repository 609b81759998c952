"""What a catalog changed, as its log of changes tells it: which LFN, at which position, and when.

A reader asks `GET /v1/changes?after=POSITION` and goes on with what `next` says until it is absent. The log is bounded:
a reader that asks for a position before its beginning is told so (`changes-forgotten`) and reads the catalog anew. An
LFN that changed several times is told once for each commit; what it is now, the catalog itself says.
"""

from __future__ import annotations

from reploc.wire import PAGE_ITEMS, Answer, Body, Count, Limit


class ChangesQuery(Body, frozen=True):
    """The changes after a position, in the order of their positions; with `since` only those from that moment on, and
    the log need not reach back further than to it."""

    after: Count = 0
    since: float | None = None
    limit: Limit = PAGE_ITEMS


class Change(Answer, frozen=True):
    """One LFN that a commit added, changed or removed; `at` is the catalog's clock then, seconds since the epoch."""

    lfn: str
    position: int
    at: float


class Changes(Answer, frozen=True):
    """A page of the log: whole commits, so at least one and maybe more than the limit.

    `next` is what to ask `after` next, absent at the end; `position` is the catalog's position.
    """

    changes: list[Change]
    position: int
    next: int | None = None
