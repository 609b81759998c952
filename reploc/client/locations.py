"""What index nodes say about many LFNs: who is to be asked, and how the answers of several nodes become one.

An LFN's slot has several owners. One complete answer settles an LFN; otherwise the next owner is asked too, the sites
of all answers are put together, and the LFN is complete as soon as one of them was. `Locations` is the wire type; all
functions here return new ones.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from reploc import digest, names
from reploc.client.batches import ITEMS, cut
from reploc.errors import AnswerInvalid, IndexMismatch, NameInvalid
from reploc.partition import Partition
from reploc.ring import Needs, Ring
from reploc.wire import SLOTS_MAX, Location, Locations, Members, SiteLocation, SiteNews


@dataclass(frozen=True)
class Part:
    """LFNs that have the same owners; few enough for one request. One of each of `needs` must answer."""

    needs: Needs
    lfns: list[str]


@dataclass(frozen=True)
class View:
    """The index as one of its nodes describes it: who owns which slot, and where each node answers."""

    ring: Ring
    urls: dict[str, str]
    #: The view before the ring changed, while its owners are still told news; how long news without renewal counts.
    former: View | None = None
    expiry_s: float = 90.0

    def owners(self, collection: str) -> dict[str, str]:
        """The nodes that own a collection's slot, first choice first: name → URL."""
        return {owner: self.urls[owner] for owner in self.ring.owners[self._slot_of(collection)]}

    def covers(self, collection: str, nodes: Container[str]) -> bool:
        """Whether each cell of a collection's slot has one of these nodes as an owner."""
        needs = self.ring.needs[self._slot_of(collection)]
        return all(any(owner in nodes for owner in owners) for owners in needs)

    def _slot_of(self, collection: str) -> int:
        return int(self.ring.partition.slots_of_collections([collection])[0])

    def parts(self, lfns: Sequence[str], collection: str | None = None) -> list[Part]:
        """The LFNs by owners, in requests of at most `batches.ITEMS`. They must be valid names.

        `collection` is that of all of them, where it is known.
        """
        named = np.array(lfns, dtype=object)
        known = None if collection is None else [collection] * len(lfns)
        slots = self.ring.partition.slots_of(lfns, digest.of(lfns), known)
        return [
            Part(needs, list(batch))
            for needs, indexes in self.ring.parts(slots).items()
            for batch in cut(named[indexes].tolist(), ITEMS)
        ]


@dataclass(frozen=True)
class Located:
    """What the index knows of the LFNs asked for.

    `locations` has every LFN; `answered` those that at least one node spoke about. `nodes` says why each node that
    could not be asked could not: node name → error.
    """

    said: Locations
    answered: frozenset[str]
    nodes: dict[str, str]

    @property
    def complete(self) -> bool:
        """Whether nothing is lacking for any of the LFNs."""
        return not self.said.incomplete

    def of(self, lfn: str) -> Location:
        """What is known of one of the LFNs. What is lacking may be a site that is lacking for another LFN only."""
        complete = lfn not in self._incomplete
        return Location(
            lfn=lfn,
            complete=complete,
            missing=[] if complete else self.said.missing,
            sites=[SiteLocation(site, *_news(self.said.sites[site])) for site in self.said.locations[lfn]],
            stale=[] if complete else self.said.stale,
            unverified=[] if complete else self.said.unverified,
        )

    @cached_property
    def _incomplete(self) -> frozenset[str]:
        return frozenset(self.said.incomplete)


def view(members: Members) -> View:
    """The view that a node's list of members describes.

    Raises AnswerInvalid: it describes no index; IndexMismatch: the node assigns slots otherwise than this program.
    """
    nodes = {member.name: member.url for member in members.members if member.kind == "rli"}
    if not nodes:
        raise AnswerInvalid(f"node {members.node!r} lists no index nodes")
    partition = _partition(members, members.partition)
    ruled = partition.lfns == "pattern"
    odd = bool(members.slots & (members.slots - 1)) and not ruled
    if not 0 < members.slots <= SLOTS_MAX or odd or members.redundancy < 1:
        raise AnswerInvalid(
            f"node {members.node!r} says {members.slots} slots and redundancy {members.redundancy}; "
            f"expected a power of two up to {SLOTS_MAX:,} and at least 1"
        )
    urls = _urls(members.node, nodes)
    ring = Ring(tuple(urls), members.slots, members.redundancy, partition)
    if ring.version != members.ring:
        raise IndexMismatch(
            f"node {members.node!r} has ring {members.ring}; from its list of members it is {ring.version}"
        )
    return View(ring, urls, _former(members), members.expiry_s)


def _former(members: Members) -> View | None:
    if members.former is None or not members.former.nodes or members.former.redundancy < 1:
        return None
    urls = _urls(members.node, {node.name: node.url for node in members.former.nodes})
    partition = _partition(members, members.former.partition)
    return View(Ring(tuple(urls), members.slots, members.former.redundancy, partition), urls)


def _partition(members: Members, told: Partition | None) -> Partition:
    """How the index is parted, or was. AnswerInvalid where the rules do not fit the slots."""
    partition = told or Partition(members.slots)
    rules_fit = partition.lfns != "pattern" or len(partition.lfn_rules) == partition.slots
    if partition.slots != members.slots or not rules_fit or (partition.sites == "pattern" and not partition.site_rules):
        raise AnswerInvalid(f"node {members.node!r} describes a partition that does not fit {members.slots} slots")
    return partition


def _urls(who: str, nodes: dict[str, str]) -> dict[str, str]:
    try:
        return {name: names.require_url(url) for name, url in nodes.items()}
    except NameInvalid as wrong:
        raise AnswerInvalid(f"node {who!r} lists a node whose {wrong.detail}") from wrong


def checked(answer: Locations, asked: Sequence[str], who: str) -> Locations:
    """The answer itself. Raises AnswerInvalid: it leaves out LFNs, or names sites that it does not describe."""
    if lacking := [lfn for lfn in asked if lfn not in answer.locations]:
        raise AnswerInvalid(f"{who}: answered for {len(asked) - len(lacking)} of {len(asked)} LFNs")
    if nameless := set().union(*answer.locations.values()) - answer.sites.keys():
        raise AnswerInvalid(f"{who}: says no address for site {min(nameless)!r}")
    return answer


def merged(first: Locations, second: Locations) -> Locations:
    """Two answers about the same slots as one; `second` may speak about fewer LFNs than `first`."""
    incomplete = set(first.incomplete) - (second.locations.keys() - set(second.incomplete))
    locations = dict(first.locations)
    for lfn, sites in second.locations.items():
        locations[lfn] = list(dict.fromkeys([*locations.get(lfn, ()), *sites]))
    return Locations(
        locations=locations,
        incomplete=[lfn for lfn in first.incomplete if lfn in incomplete],
        missing=sorted({*first.missing, *second.missing}) if incomplete else [],
        sites=_fresher([first, second]),
        stale=sorted({*first.stale, *second.stale}) if incomplete else [],
        unverified=sorted({*first.unverified, *second.unverified}) if incomplete else [],
    )


def together(answers: Sequence[Locations]) -> Locations:
    """Answers about the same LFNs from different shares of the sites: what any lacks is lacking."""
    incomplete = {lfn for answer in answers for lfn in answer.incomplete}
    locations: dict[str, dict[str, None]] = {}
    for answer in answers:
        for lfn, sites in answer.locations.items():
            locations.setdefault(lfn, {}).update(dict.fromkeys(sites))
    lacking = [answer for answer in answers if answer.incomplete]
    return Locations(
        locations={lfn: list(sites) for lfn, sites in locations.items()},
        incomplete=[lfn for lfn in locations if lfn in incomplete],
        missing=sorted({site for answer in lacking for site in answer.missing}),
        sites=_fresher(answers),
        stale=sorted({site for answer in lacking for site in answer.stale}),
        unverified=sorted({site for answer in lacking for site in answer.unverified}),
    )


def unanswered(lfns: Iterable[str]) -> Locations:
    """What is known of LFNs that no owner could be asked about: nothing, and that is said."""
    lacking = list(lfns)
    return Locations({lfn: [] for lfn in lacking}, lacking, [], {})


def joined(answers: Sequence[Locations]) -> Locations:
    """Answers about different LFNs as one."""
    locations: dict[str, list[str]] = {}
    incomplete: list[str] = []
    for answer in answers:
        locations.update(answer.locations)
        incomplete.extend(answer.incomplete)
    lacking = [answer for answer in answers if answer.incomplete]
    return Locations(
        locations=locations,
        incomplete=incomplete,
        missing=sorted({site for answer in lacking for site in answer.missing}),
        sites=_fresher(answers),
        stale=sorted({site for answer in lacking for site in answer.stale}),
        unverified=sorted({site for answer in lacking for site in answer.unverified}),
    )


def _fresher(answers: Sequence[Locations]) -> dict[str, SiteNews]:
    """Each site as the node with the youngest news of it describes it."""
    sites: dict[str, SiteNews] = {}
    for answer in answers:
        for site, news in answer.sites.items():
            if site not in sites or news.age_s < sites[site].age_s:
                sites[site] = news
    return sites


def _news(news: SiteNews) -> tuple[str, float, str]:
    return news.lrc, news.age_s, news.index
