"""What one index server of the Globus RLS is owed: full updates, what changed since, and pauses after failures.

The protocol has no sequences: a server that is told a name keeps it until it was not told of it for long, or is told
that it went. So whoever was told everything up to a position is owed the log of changes behind it, in which each LFN
is told as it is now; and from time to time all names, so that none is taken for stale. What is owed is a position and,
while a full update is under way, the name that it has reached: no queue, however slow or dead the server.

    told nothing ──page, page, …──▶ told up to where the catalog stood before the first page ──changes, …──▶ …

Between two pages the changes go out, and a page is read after the changes before it were sent: so a name that a page
tells and that goes then is told to have gone later. Moments are monotonic seconds.
"""

from __future__ import annotations

from enum import Enum
from math import inf

from lrc.layout import StoredIndex
from reploc.rls.feeding import Pace

#: After a batch has been refused so often with the code that asks for it again, it is given up: the original server
#: has taken what was right in it, and refuses, say, a name with an apostrophe for ever.
ATTEMPTS_MAX = 4
#: Doublings after which the pause has reached any cap.
DOUBLINGS_MAX = 20


class Step(Enum):
    """What to send next."""

    PAGE = "a page of all names"
    CHANGES = "what changed"
    FILTER = "the filter"


class Owed:
    """One index server."""

    def __init__(self, index: StoredIndex, pace: Pace, position: int, now: float) -> None:
        """`position` is the catalog's."""
        self.index = index
        self.pace = pace
        #: The position up to which everything that changed was told; None where that is not known: then a full update
        #: must begin first. What went since is told even where not all names were, or else some of them might stay.
        self.told = index.told if index.told <= position else None
        #: Whether a full update is under way, and the LFN behind which it goes on.
        self.walking = False
        self.behind: str | None = None
        self.trouble = ""
        self.contact_at: float | None = None
        #: Whether no full update has ended since the server was told nothing, or the catalog started.
        self._is_first = True
        #: Whether what changed before a full update that is due was told.
        self._swept = False
        #: Whether the server lists catalogs by the addresses that they give; None while that is not known.
        self._lists_us: bool | None = None
        self._full_at = now
        self._retry_at = now
        self._failures = 0
        self._attempts = 0
        self._pushed = False
        #: The catalog's position as far as it is known here. Since when there is something that the server was not
        #: told, and how many names that is.
        self._position = position
        self._changed_at = inf if self.told == position else now
        self._changed_names = 0

    @property
    def settled(self) -> int | None:
        """The position up to which the server knows everything, None where it does not know everything of any."""
        return None if self._is_first else self.told

    @property
    def interval_s(self) -> float:
        """Seconds between two full updates."""
        every = self.pace.filter_interval_s if self.index.filters else self.pace.list_interval_s
        return every * (self.pace.factor if self.pace.immediate else 1)

    # ---- what happened -----------------------------------------------------------------------------------------------

    def changed(self, names: int, position: int, now: float) -> None:
        """The catalog has changed that many names, and is at `position`."""
        self._position = max(self._position, position)
        self._changed_at = min(self._changed_at, now)
        self._changed_names += names

    def push(self, now: float) -> None:
        """Everything is due at once."""
        self._pushed = True
        self._retry_at, self._full_at = now, now

    def paced(self, pace: Pace, now: float) -> None:
        """Updates are sent otherwise from now on."""
        self.pace = pace
        self._full_at = min(self._full_at, now + self.interval_s)

    def connected(self, listed: bool, now: float) -> None:
        """The server has greeted, and lists this catalog or does not: one that was told of it has lost its memory."""
        if self.told is not None and not listed and self._lists_us is not False:
            self.forget(now)

    def seen(self, listed: bool) -> None:
        """After a full update the server lists this catalog, or calls it something else."""
        self._lists_us = listed

    def forget(self, now: float) -> None:
        """A full update must come first: the server, or the log of changes, knows no more what it was told."""
        self.told, self.walking, self.behind = None, False, None
        self._is_first = True
        self._full_at = now

    def begin_full(self, position: int) -> None:
        """The first page is about to be read, of a catalog that is at `position` or beyond."""
        self.walking, self.behind, self._swept = True, None, False
        if self.told is None:
            self._reached(position)

    def paged(self, behind: str | None, now: float) -> None:
        """A page was taken; the next begins behind that LFN, None where it was the last."""
        self._taken(now)
        self.behind = behind
        if behind is None:
            self.walking = False
            self._full_done(now)

    def caught_up(self, reached: int, now: float, *, last: bool) -> None:
        """All that changed up to a position was taken, which was the `last` when it was read."""
        self._taken(now)
        self._swept = last
        self._reached(reached)

    def filtered(self, position: int, now: float) -> None:
        """The filter of the catalog at `position` was taken."""
        self._taken(now)
        self._reached(position)
        self._full_done(now)

    def failed(self, why: str, now: float) -> None:
        """There was no answer, or one that asks to come again."""
        self.trouble = why
        self._failures += 1
        self._retry_at = now + min(self.pace.retry_s, 2.0 ** min(self._failures - 1, DOUBLINGS_MAX))

    def refused(self, why: str, now: float) -> None:
        """The server takes no updates of this kind, or from this catalog."""
        self.trouble = why
        self._retry_at = now + self.pace.retry_s

    def poisoned(self) -> bool:
        """Whether a batch that is asked for again has been sent often enough. Call it after each such answer."""
        self._attempts += 1
        return self._attempts >= ATTEMPTS_MAX

    def lost(self, now: float) -> None:
        """The server has closed the connection between two requests."""
        self._retry_at = max(self._retry_at, now + 1.0)

    def _taken(self, now: float) -> None:
        self.contact_at, self.trouble = now, ""
        self._failures = self._attempts = 0

    def _reached(self, position: int) -> None:
        self.told = position
        if position >= self._position:
            self._changed_at, self._changed_names = inf, 0

    def _full_done(self, now: float) -> None:
        self._pushed = self._is_first = False
        self._full_at = now + self.interval_s

    # ---- what is due -------------------------------------------------------------------------------------------------

    def step(self, now: float) -> Step | None:
        """What to send now, None where nothing is due."""
        if now < self._retry_at:
            return None
        if self.index.filters:
            return Step.FILTER if min(self._full_at, self._changes_at()) <= now else None
        full = self.walking or self._full_at <= now
        # Before a full update all changes go out, and between its pages those that are due.
        before_full = full and not self.walking and self._behind and not self._swept
        if self.told is not None and (before_full or self._changes_at() <= now):
            return Step.CHANGES
        return Step.PAGE if full else None

    def due_in(self, now: float) -> float:
        """Seconds until `step` may say something."""
        moment = now if self.walking else min(self._full_at, self._changes_at())
        return max(moment, self._retry_at) - now

    def rests_for(self, now: float) -> float:
        """Seconds until the server may be spoken to."""
        return max(0.0, self._retry_at - now)

    def lag_s(self, now: float) -> float:
        """The age of the oldest change that the server may not know."""
        return now - self._changed_at if self._behind else 0.0

    @property
    def _behind(self) -> bool:
        return self._changed_at < inf

    def _changes_at(self) -> float:
        if not self._behind or not (self.pace.immediate or self._pushed):
            return inf
        # A filter goes whole each time, however little changed.
        many = not self.index.filters and self._changed_names >= self.pace.buffer_names
        if self._pushed or many:
            return self._changed_at
        return self._changed_at + self.pace.buffer_s
