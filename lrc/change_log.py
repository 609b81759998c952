"""The catalog's log of changes: which LFNs each commit changed, and when; bounded, and written with the commit itself.

A row lies under its position, which only rises, so that writing it is an append. It holds how many names have been
logged since the store was made: so the first and the last row tell how many are kept, and every commit drops the oldest
rows beyond the bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lrc import layout
from lrc.layout import StoredChanges
from lrc.reads import View
from lrc.store import Cursor, Store, Transaction
from reploc.changes import Change, Changes
from reploc.errors import ChangesForgotten

#: Names that are kept: two days of a busy site, a hundred megabytes; a check that takes longer reads the catalog twice.
NAMES_MAX = 1_000_000
#: Rows dropped by one commit, at most, so that none takes long; more come than go only while the bound is approached.
DROPPED_MAX = 16


def append(
    store: Store, txn: Transaction, position: int, now: float, lfns: Sequence[str], names_max: int = NAMES_MAX
) -> None:
    """Logs a commit's LFNs, `now` in seconds since the epoch, and drops the oldest rows beyond the bound."""
    table = store.tables["change"]
    with txn.cursor(table) as cursor:
        logged = layout.decode_changes(cursor.value()).logged if cursor.last() else 0
        logged += len(lfns)
        cursor.put(layout.position_key(position), layout.encode(StoredChanges(now, logged, tuple(lfns))), append=True)
        for _ in range(DROPPED_MAX):
            cursor.first()
            oldest = layout.decode_changes(cursor.value())
            if logged - oldest.logged + len(oldest.lfns) <= names_max or logged == oldest.logged:
                return
            cursor.delete()


def page(view: View, after: int, limit: int, since: float | None = None) -> Changes:
    """The changes after a position; with `since` (seconds since the epoch) those from that moment on, by the clock of
    the catalog. A page reads about so many names whether they are of that time or not.

    Raises ChangesForgotten: the log reaches back neither to the position nor to the moment.
    """
    position = view.state().position
    found: list[Change] = []
    with view.cursor(layout.CHANGE) as cursor:
        begun = cursor.first()
        begins = layout.position_of(cursor.key()) if begun else position + 1
        if after < begins - 1 and after < position:
            reaches = since is not None and begun and layout.decode_changes(cursor.value()).at < since
            if not reaches:
                asked = f"what came after {after}" if since is None else f"what came from {since:.0f} (seconds) on"
                raise ChangesForgotten(f"the log of changes begins at position {begins}; asked for {asked}")
        last, names = after, 0
        for at, stored in _rows(cursor, after):
            if since is None or stored.at >= since:
                found += [Change(lfn, at, stored.at) for lfn in stored.lfns]
            last, names = at, names + len(stored.lfns)
            if names >= limit:
                break
    return Changes(found, position, last if last < position else None)


def _rows(cursor: Cursor, after: int) -> Iterator[tuple[int, StoredChanges]]:
    if cursor.set_range(layout.position_key(after + 1)):
        for key, value in cursor.iternext():
            yield layout.position_of(key), layout.decode_changes(value)
