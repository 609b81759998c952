"""All LFNs that match a pattern, from the nodes whose lists together are the whole index.

One owner of every share is read to its end, page by page; where one fails, or lacks the lists of some sites, another
owner of its shares is read too. What several nodes say of one LFN is put together. Index nodes below are asked for what
they hold, index by index, and these ask those below them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from reploc.client.shares import groups
from reploc.errors import NotIndexed, ReplocError
from reploc.listed import ListedLfns
from reploc.ring import Needs
from reploc.wire import PAGE_ITEMS_MAX, Location, SiteLocation, SiteNews

#: LFNs that one listing may find unless it is told otherwise, and at most: a client keeps all of them.
LFNS_LISTED = 100_000
LFNS_LISTED_MAX = 10_000_000

#: One page of a node, of at most so many LFNs and behind a cursor; None where the node failed.
PageOf: TypeAlias = Callable[[str, int, str | None], Awaitable[ListedLfns | None]]
#: What matches in the index that the nodes at some addresses belong to.
ListedAt: TypeAlias = Callable[[list[str]], Awaitable["Listed"]]


@dataclass(frozen=True)
class Listed:
    """The LFNs found, each with its sites; `sites` has the news of each. `nodes` says why some could not be asked.

    `complete`: no LFN and no site of one is lacking, for all that the index knows. `cut`: there may be more LFNs than
    were wanted. `below` are the index nodes that hold more.
    """

    locations: dict[str, list[str]] = field(default_factory=dict)
    sites: dict[str, SiteNews] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    nodes: dict[str, str] = field(default_factory=dict)
    complete: bool = False
    cut: bool = False
    answered: bool = False
    below: dict[str, SiteNews] = field(default_factory=dict)

    def messages(self) -> list[Location]:
        """What is known of each LFN, in order of the names."""
        return [
            Location(lfn, self.complete, self.missing, [self._at(site) for site in sorted(self.locations[lfn])])
            for lfn in sorted(self.locations)
        ]

    def _at(self, site: str) -> SiteLocation:
        news = self.sites[site]
        return SiteLocation(site, news.lrc, news.age_s, news.index)


class _Found:
    """What is found so far."""

    def __init__(self, limit: int) -> None:
        self.locations: dict[str, set[str]] = {}
        self.sites: dict[str, SiteNews] = {}
        self.missing: set[str] = set()
        self.below: dict[str, SiteNews] = {}
        self._limit = limit

    @property
    def cut(self) -> bool:
        return len(self.locations) >= self._limit

    async def read(self, node: str, page: PageOf) -> ListedLfns | None:
        """Reads a node to its end, or until there is enough; its last page, or None where it failed."""
        after: str | None = None
        while True:
            said = await page(node, max(1, min(self._limit - len(self.locations), PAGE_ITEMS_MAX)), after)
            if said is None:
                return None
            self.take(said)
            self.below.update(said.below)
            if said.next is None or self.cut:
                return said
            after = said.next

    def take(self, said: ListedLfns | Listed) -> None:
        for lfn, sites in said.locations.items():
            if lfn in self.locations or not self.cut:
                self.locations.setdefault(lfn, set()).update(sites)
        for site, news in said.sites.items():
            if site not in self.sites or news.age_s < self.sites[site].age_s:
                self.sites[site] = news
        self.missing.update(said.missing)


async def gathered(needs: Needs, page: PageOf, limit: int, last: Callable[[str], bool]) -> Listed:
    """What matches, up to `limit` LFNs, from owners of all `needs`; nodes that are `last` are asked after others."""
    found, left, tried, answered = _Found(limit), [owners for owners in needs if owners], set[str](), False
    while not found.cut:
        askable = tuple(owners for of in left if (owners := tuple(node for node in of if node not in tried)))
        if not askable:
            break
        node = groups(askable, last)[0].first
        tried.add(node)
        said = await found.read(node, page)
        answered = answered or said is not None
        if said is not None and said.complete:
            left = [owners for owners in left if node not in owners]
    complete = not left and not found.cut
    return Listed(
        locations={lfn: sorted(sites) for lfn, sites in found.locations.items()},
        sites=found.sites,
        missing=[] if complete else sorted(found.missing),
        complete=complete,
        cut=found.cut,
        answered=answered,
        below=found.below,
    )


async def descended(found: Listed, limit: int, at: ListedAt) -> Listed:
    """What was found with what the indexes below list, up to `limit` LFNs. What is lacking is named with the way there.

    Raises NotIndexed: nothing is found, and none of the indexes below is told whole names.
    """
    indexes, failed = _indexes(found.below), list[ReplocError]()
    for nodes in indexes:
        if found.cut:
            return replace(found, complete=False)
        first = next(iter(nodes))
        try:
            said = _named_from_above(await at([news.lrc for news in nodes.values()]), first)
        except ReplocError as wrong:
            failed.append(wrong)
            said = Listed(missing=[first], nodes={first: f"{wrong.code}: {wrong.detail}"})
        found = _both(found, said, limit)
    if (
        failed
        and not found.locations
        and len(failed) == len(indexes)
        and all(isinstance(wrong, NotIndexed) for wrong in failed)
    ):
        raise failed[0]
    return found


def _named_from_above(said: Listed, first: str) -> Listed:
    """What an index lists, with the way to what is lacking, which leads by the `first` of its nodes."""
    nodes = {f"{first}/{name}": why for name, why in said.nodes.items()}
    return replace(said, missing=[f"{first}/{name}" for name in said.missing], nodes=nodes)


def _both(first: Listed, second: Listed, limit: int) -> Listed:
    """What two indexes list, up to `limit` LFNs."""
    found = _Found(limit)
    found.take(first)
    found.take(second)
    cut = first.cut or second.cut or not second.locations.keys() <= found.locations.keys()
    return replace(
        first,
        locations={lfn: sorted(sites) for lfn, sites in found.locations.items()},
        sites=found.sites,
        missing=sorted(found.missing),
        nodes={**first.nodes, **second.nodes},
        complete=first.complete and second.complete and not cut,
        cut=cut,
    )


def _indexes(nodes: Mapping[str, SiteNews]) -> list[dict[str, SiteNews]]:
    """The nodes of each index, those of the youngest news first."""
    indexes: dict[str, dict[str, SiteNews]] = {}
    for name, news in sorted(nodes.items(), key=lambda one: (one[1].age_s, one[0])):
        indexes.setdefault(news.index, {})[name] = news
    return list(indexes.values())
