"""Which index servers of the Globus RLS a catalog sends to, as pure rules: what adding and removing one comes to.

As with the original server an index server gets a filter of all names, or lists of them: of all, or of those that match
one of its patterns. Not so where the last pattern is removed: there the server would get everything from then on, and
here nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from lrc.layout import StoredIndex
from reploc import names
from reploc.errors import RlsIndexExists, RlsIndexUnfit, RlsIndexUnknown
from reploc.rls.feeding import INDEXES_MAX, PATTERNS_MAX

Indexes = tuple[StoredIndex, ...]


def added(indexes: Indexes, url: str, *, filters: bool, pattern: str | None, position: int) -> Indexes:
    """With a server, or with one more pattern of it; `url` is canonical, and the catalog is at `position`.

    Raises RlsIndexExists, NameInvalid (the pattern) and RlsIndexUnfit: a filter of a pattern, or one too many.
    """
    if pattern is not None:
        names.pattern(pattern)
        if filters:
            raise RlsIndexUnfit("a filter is of all names; expected no pattern, or lists")
    there = find(indexes, url)
    if there is None:
        if len(indexes) == INDEXES_MAX:
            raise RlsIndexUnfit(f"a catalog sends to at most {INDEXES_MAX} index servers")
        return (*indexes, StoredIndex(url, filters, () if pattern is None else (pattern,), position))
    if pattern is None or not there.patterns or pattern in there.patterns:
        raise RlsIndexExists(url)
    if len(there.patterns) == PATTERNS_MAX:
        raise RlsIndexUnfit(f"{url} has {PATTERNS_MAX} patterns already")
    return _with(indexes, replace(there, patterns=(*there.patterns, pattern)))


def removed(indexes: Indexes, url: str, pattern: str | None) -> Indexes:
    """Without a server, or without one of its patterns; one that it does not have changes nothing.

    Raises RlsIndexUnknown.
    """
    there = find(indexes, url)
    if there is None:
        raise RlsIndexUnknown(url)
    left = () if pattern is None else tuple(one for one in there.patterns if one != pattern)
    if pattern is not None and (left or not there.patterns):
        return _with(indexes, replace(there, patterns=left))
    return tuple(one for one in indexes if one.url != url)


def find(indexes: Indexes, url: str) -> StoredIndex | None:
    """The server at a canonical address, if the catalog sends to it."""
    return next((one for one in indexes if one.url == url), None)


def wanted(index: StoredIndex, lfns: Sequence[str]) -> Sequence[str]:
    """Those of the LFNs that the server is told of."""
    if not index.patterns:
        return lfns
    patterns = [names.pattern(text) for text in index.patterns]
    return [lfn for lfn in lfns if any(pattern.matches(lfn) for pattern in patterns)]


def _with(indexes: Indexes, changed: StoredIndex) -> Indexes:
    return tuple(changed if one.url == changed.url else one for one in indexes)
