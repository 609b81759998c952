"""Catalogs that speak the protocol of the Globus RLS, as a node knows them: by lists of names, or by their own filters.

Nothing in that protocol says when a list is whole, so that each name has its own time: it is dropped when it was not
listed again for `stale_s`. A filter stands for its whole catalog until the next takes its place, and lives for a fifth
longer than its sender's interval, as at the original server. Both are kept apart from our own summaries: these filters
have other hashes, and nothing says that a catalog is known in all, so that a node is never *complete* for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from reploc.names import Pattern
from reploc.rls.bloom import RlsFilter, hashes
from reploc.rls.protocol import Code, Refused

#: Catalogs of this kind that a node knows at most: a question asks the list and the filter of each.
CATALOGS_MAX = 1_000
#: Names in all lists together: about two gigabytes.
NAMES_MAX = 10_000_000
#: Bytes in all filters together: a thousand catalogs of six million names each.
FILTERS_BYTES_MAX = 8 << 30
#: How much longer than its sender's interval a filter lives.
FILTER_LIVES = 1.2
#: The part of `stale_s` between two looks through a list: a name stays for so much longer at most.
LOOK_PART = 0.05


@dataclass
class _Catalog:
    """One catalog: its address, when it last spoke, and what it said that it holds."""

    url: str
    heard_at: float
    #: Name → when it was last listed, and when to look next for names that were not listed for long.
    names: dict[str, float] = field(default_factory=dict)
    look_at: float = 0.0
    filter: RlsFilter | None = None
    filter_until: float = 0.0


class ForeignCatalogs:
    """All catalogs of this kind. Moments are monotonic seconds."""

    def __init__(self, stale_s: float) -> None:
        self._stale_s = stale_s
        self._catalogs: dict[str, _Catalog] = {}
        self._names = 0
        self._filter_bytes = 0

    # ---- news --------------------------------------------------------------------------------------------------------

    def listed(self, url: str, came: Sequence[str], went: Sequence[str], now: float) -> None:
        """Names that a catalog lists, and such that it does not hold any more. Refused: more than a node takes."""
        catalog = self._catalog(url, now)
        new = sum(name not in catalog.names for name in came)
        if self._names + new > NAMES_MAX:
            raise Refused(Code.BAD_ARGUMENT, f"more than {NAMES_MAX} names in all lists of this node")
        before = len(catalog.names)
        catalog.names.update(dict.fromkeys(came, now))
        for name in went:
            catalog.names.pop(name, None)
        self._names += len(catalog.names) - before
        catalog.heard_at = now

    def summarised(self, url: str, received: RlsFilter, interval_s: float, now: float) -> None:
        """A filter of all that a catalog holds. Refused: more than a node takes."""
        catalog = self._catalog(url, now)
        more = len(received.data) - (len(catalog.filter.data) if catalog.filter else 0)
        if self._filter_bytes + more > FILTERS_BYTES_MAX:
            raise Refused(Code.BAD_ARGUMENT, f"more than {FILTERS_BYTES_MAX} bytes in all filters of this node")
        self._filter_bytes += more
        catalog.filter, catalog.filter_until = received, now + FILTER_LIVES * interval_s
        catalog.heard_at = now

    def expire(self, now: float) -> list[str]:
        """Drops what was not renewed in time; the addresses of catalogs of which nothing is left."""
        gone = []
        for catalog in list(self._catalogs.values()):
            if catalog.filter is not None and catalog.filter_until <= now:
                self._filter_bytes -= len(catalog.filter.data)
                catalog.filter = None
            if catalog.look_at <= now:
                catalog.look_at = now + LOOK_PART * self._stale_s
                kept = {name: at for name, at in catalog.names.items() if at > now - self._stale_s}
                self._names -= len(catalog.names) - len(kept)
                catalog.names = kept
            if not catalog.names and catalog.filter is None and catalog.heard_at <= now - self._stale_s:
                del self._catalogs[catalog.url]
                gone.append(catalog.url)
        return gone

    def _catalog(self, url: str, now: float) -> _Catalog:
        catalog = self._catalogs.get(url)
        if catalog is None:
            if len(self._catalogs) >= CATALOGS_MAX:
                raise Refused(Code.BAD_ARGUMENT, f"this node knows {CATALOGS_MAX} catalogs already")
            catalog = self._catalogs[url] = _Catalog(url, now)
        return catalog

    # ---- questions ---------------------------------------------------------------------------------------------------

    def holders(self, names: Sequence[str]) -> list[list[str]]:
        """The addresses of the catalogs that list each name, or whose filters may hold it."""
        found: list[list[str]] = [[] for _ in names]
        if not self._catalogs:
            return found
        hashed = None
        for catalog in self._catalogs.values():
            held = [name in catalog.names for name in names]
            if catalog.filter is not None:
                hashed = hashes([name.encode() for name in names]) if hashed is None else hashed
                held = [one or other for one, other in zip(held, catalog.filter.may_hold(hashed).tolist(), strict=True)]
            for at, holds in enumerate(held):
                if holds:
                    found[at].append(catalog.url)
        return found

    def matching(self, pattern: Pattern, limit: int) -> list[tuple[str, str]]:
        """Up to `limit` pairs (name, address) of listed names that match, in descending order of names."""
        found = [
            (name, catalog.url)
            for catalog in self._catalogs.values()
            for name in catalog.names
            if pattern.matches(name)
        ]
        return sorted(found, key=lambda pair: pair[0], reverse=True)[:limit]

    @property
    def filtered(self) -> bool:
        """Whether any catalog sent a filter, which no wildcard can be asked of."""
        return any(catalog.filter is not None for catalog in self._catalogs.values())

    def heard(self) -> dict[str, float]:
        """Address → when the catalog last spoke."""
        return {catalog.url: catalog.heard_at for catalog in self._catalogs.values()}

    @property
    def names(self) -> int:
        """Names in all lists together."""
        return self._names
