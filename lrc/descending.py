"""Pages of a snapshot in descending order of keys: the mappings whose LFN or PFN matches a pattern.

The RLS port lists this way, as the original did (`lrc/rls/methods.py`). A page begins below the name where the last one
ended, whether or not that is still there, so that no listing holds a transaction open from page to page.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from lrc import layout
from lrc.listings import KEYS_PER_PAGE_MAX
from lrc.reads import View, lfn_of
from lrc.store import Cursor
from reploc.names import Pattern

#: (LFN, PFN).
Pair: TypeAlias = tuple[str, str]
#: Some mappings in order, and the name below which to go on, or None at the end.
PairsPage: TypeAlias = tuple[list[Pair], str | None]


def by_lfn(view: View, pattern: Pattern, below: str | None = None) -> PairsPage:
    """The mappings of the LFNs that match, as many as one page looks at."""
    found: list[Pair] = []
    with view.cursor(layout.LFN) as cursor:
        for examined, key in enumerate(_keys(cursor, pattern, below), start=1):
            stored = layout.decode_record(cursor.value())
            lfn = lfn_of(key, stored)
            if pattern.matches(lfn):
                found += [(lfn, pfn) for pfn in stored.pfns]
            if examined == KEYS_PER_PAGE_MAX:
                return found, lfn
    return found, None


def by_pfn(view: View, pattern: Pattern, below: str | None = None) -> PairsPage:
    """The mappings of the PFNs that match, as many as one page looks at."""
    found: list[Pair] = []
    with view.cursor(layout.PFN) as cursor:
        for examined, key in enumerate(_keys(cursor, pattern, below), start=1):
            pfns = _pfns_under(view, key)
            for pfn in filter(pattern.matches, pfns):
                found += [(lfn, pfn) for lfn in reversed(list(view.holders(pfn)))]
            if examined == KEYS_PER_PAGE_MAX:
                return found, pfns[-1]
    return found, None


def _pfns_under(view: View, key: bytes) -> list[str]:
    """The PFNs that have a key, descending: one, or for the key of a long name all in whose records it is."""
    if layout.is_whole(key):
        return [str(key, "utf-8")]
    found: set[str] = set()
    with view.cursor(layout.PFN) as cursor:
        there = cursor.set_key(key)
        while there:
            _, stored = view.by_key(cursor.value())
            found.update(pfn for pfn in stored.pfns if layout.key(pfn) == key)
            there = cursor.next_dup()
    return sorted(found, reverse=True)


def _keys(cursor: Cursor, pattern: Pattern, below: str | None) -> Iterator[bytes]:
    """The keys that begin with the pattern's prefix, descending, below that of a name; the cursor is on each."""
    prefix = pattern.prefix.encode()[: layout.KEY_PREFIX_BYTES]
    end = prefix + b"\xff" * (layout.KEY_BYTES_MAX - len(prefix)) if below is None else layout.key(below)
    there = cursor.prev_nodup() if cursor.set_range(end) else cursor.last()
    while there:
        key = bytes(cursor.key())
        if key[: len(prefix)] != prefix:
            return
        yield key
        there = cursor.prev_nodup()
