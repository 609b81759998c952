"""Pages of a snapshot: LFNs and collections by glob pattern, LFNs of a PFN, files of a collection, all records.

Order is key order: that of bytes, except that among names of more than 510 bytes with the same first 495 it is that of
their digests. A page begins behind the name `after`, whether or not that is still there, so no listing holds a
transaction open from page to page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple, TypeAlias

from lrc import layout
from lrc.layout import StoredCollection
from lrc.reads import View, lfn_of, totals
from lrc.store import Cursor
from reploc import names
from reploc.errors import CollectionUnknown
from reploc.names import Pattern
from reploc.wire import Collections, CollectionTotals, LfnReplica, Names

#: Keys that one page looks at before it ends without having found enough: about 70 ms of one thread.
KEYS_PER_PAGE_MAX = 20_000

#: A row's key and value to its whole name.
NameOf: TypeAlias = Callable[[memoryview, memoryview], str]


class FilesPage(NamedTuple):
    """Some files in order, and what to send as `after` for the next page, or None at the end."""

    files: list[LfnReplica]
    next: str | None


def lfns(view: View, pattern: Pattern, limit: int, after: str | None = None) -> Names:
    """The LFNs that match. A page may hold fewer than `limit`, or none, and still not be the last."""
    with view.cursor(layout.LFN) as cursor:
        found, follow = _matching(cursor, _lfn_name, pattern, limit, after)
    return Names(found, follow)


def collections(view: View, pattern: Pattern, limit: int, after: str | None = None) -> Collections:
    """The collections that match, with their totals; pages as with LFNs."""
    with view.cursor(layout.COLLECTION) as cursor:
        found, follow = _matching(cursor, _collection_name, pattern, limit, after)
    return Collections([_totals_of(view, name) for name in found], follow)


def all_totals(view: View) -> list[CollectionTotals]:
    """The totals of every collection, in key order."""
    with view.cursor(layout.COLLECTION) as cursor:
        return [totals(layout.decode_collection(value)) for _, value in cursor]


def named(view: View, chunk: int) -> Iterator[tuple[list[str], list[str | None]]]:
    """All LFNs with the collection of each, so many at a time, in key order."""
    names_found: list[str] = []
    collections_found: list[str | None] = []
    with view.cursor(layout.LFN) as cursor:
        for key, value in cursor:
            stored = layout.decode_record(value)
            names_found.append(lfn_of(key, stored))
            collections_found.append(view.collection_name(stored.collection))
            if len(names_found) == chunk:
                yield names_found, collections_found
                names_found, collections_found = [], []
    yield names_found, collections_found


def lfns_of_pfn(view: View, pfn: str, limit: int, after: str | None = None) -> Names:
    """The LFNs that a PFN stands under; none where the catalog does not hold it."""
    found = list(islice(view.holders(pfn, after), limit + 1))
    return Names(found[:limit], found[limit - 1] if len(found) > limit else None)


def files(view: View, collection: str, limit: int, after: str | None = None) -> FilesPage:
    """The files of one collection. CollectionUnknown where it has none."""
    stored = view.collection(collection)
    if stored is None:
        raise CollectionUnknown(f"collection {collection[:200]!r} is not registered")
    member_key, start = layout.id_key(stored.id), None if after is None else layout.key(after)
    found: list[LfnReplica] = []
    with view.cursor(layout.MEMBER) as cursor:
        there = cursor.set_key(member_key) if start is None else cursor.set_range_dup(member_key, start)
        while there:
            if start is None or cursor.value() != start:
                if len(found) == limit:
                    return FilesPage(found, found[-1].lfn)
                found.append(view.lfn_replica(*view.by_key(cursor.value())))
            there = cursor.next_dup()
    return FilesPage(found, None)


def everything(view: View, limit: int, after: str | None = None) -> FilesPage:
    """All files of the catalog."""
    found: list[LfnReplica] = []
    with view.cursor(layout.LFN) as cursor:
        for key, value in _rows(cursor, b"", after):
            if len(found) == limit:
                return FilesPage(found, found[-1].lfn)
            stored = layout.decode_record(value)
            found.append(view.lfn_replica(lfn_of(key, stored), stored))
    return FilesPage(found, None)


# ---- key ranges ------------------------------------------------------------------------------------------------------


def _rows(cursor: Cursor, prefix: bytes, after: str | None) -> Iterator[tuple[memoryview, memoryview]]:
    """The rows whose keys begin with the prefix, behind the key of `after`."""
    start = layout.key(names.require(after, "after")) if after is not None else b""
    if not cursor.set_range(max(prefix, start)):
        return
    for key, value in cursor.iternext():
        if key[: len(prefix)] != prefix:
            return
        if key != start:
            yield key, value


def _matching(
    cursor: Cursor, name_of: NameOf, pattern: Pattern, limit: int, after: str | None
) -> tuple[list[str], str | None]:
    """Up to `limit` names that match, and the name to go on behind, or None at the end."""
    prefix = pattern.prefix.encode()[: layout.KEY_PREFIX_BYTES]
    found: list[str] = []
    matches = pattern.matches
    for examined, (key, value) in enumerate(_rows(cursor, prefix, after), start=1):
        name = name_of(key, value)
        if matches(name):
            if len(found) == limit:
                return found, found[-1]
            found.append(name)
        if examined == KEYS_PER_PAGE_MAX:
            return found, name
    return found, None


def _lfn_name(key: memoryview, value: memoryview) -> str:
    return str(key, "utf-8") if layout.is_whole(key) else lfn_of(key, layout.decode_record(value))


def _collection_name(key: memoryview, value: memoryview) -> str:
    return str(key, "utf-8") if layout.is_whole(key) else layout.decode_collection(value).name


def _totals_of(view: View, name: str) -> CollectionTotals:
    stored: StoredCollection | None = view.collection(name)
    assert stored is not None
    return totals(stored)
