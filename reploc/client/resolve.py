"""What a resolved lookup asks of the catalogs, and what their answers come to.

The index says which sites *may* hold an LFN; a site is believed only from the very catalog that the index names for it.
A catalog that does not know an LFN was a false positive, and vanishes. One that could not be asked is named, and leaves
the LFNs that it was to be asked about incomplete. Client and index node use the same rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from reploc.errors import AnswerInvalid
from reploc.wire import UNORDERED, Locations, Ordering, Replica, Replicas, Resolved, ResolvedMany, SiteReplica


@dataclass(frozen=True)
class CatalogAsk:
    """The LFNs that one site may hold, and the address of the catalog that can say."""

    site: str
    lrc: str
    lfns: list[str]


@dataclass(frozen=True)
class CatalogAnswer:
    """What a catalog said about the LFNs that it was asked about, or why it said nothing."""

    ask: CatalogAsk
    said: Replicas | str


@dataclass(frozen=True)
class Lookup:
    """Verified copies of the LFNs asked for, ordered as `ordering` says, and everything that is lacking.

    `replicas` has every LFN, with an empty list where no copy was found. An LFN in `incomplete` may have copies that
    are not listed: at a site in `missing`, whose news the index lacks; at one in `unreachable` (site → why); or because
    of one in `nodes` (index node → why), where no owner of its slot could be asked. `unasked` holds, for each LFN that
    has some, the sites whose catalogs could not be asked about it. `stale` are the sites whose news is older than was
    demanded, and which could not be asked instead.
    """

    replicas: dict[str, list[SiteReplica]]
    incomplete: list[str]
    missing: list[str]
    unreachable: dict[str, str]
    unasked: dict[str, list[str]]
    nodes: dict[str, str] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)
    ordering: Ordering = UNORDERED

    @property
    def complete(self) -> bool:
        """Whether nothing is lacking for any of the LFNs."""
        return not self.incomplete

    @cached_property
    def _incomplete(self) -> frozenset[str]:
        return frozenset(self.incomplete)

    def of(self, lfn: str) -> Resolved:
        """What was found of one of the LFNs. `missing` may name a site that is missing for another LFN only."""
        complete = lfn not in self._incomplete
        return Resolved(
            lfn=lfn,
            complete=complete,
            missing=[] if complete else self.missing,
            unreachable=self.unasked.get(lfn, []),
            replicas=self.replicas[lfn],
            stale=[] if complete else self.stale,
            ordering=self.ordering,
        )

    def message(self) -> ResolvedMany:
        """The same as a service answers it."""
        unreachable = sorted(self.unreachable)
        return ResolvedMany(self.replicas, self.incomplete, self.missing, unreachable, self.stale, self.ordering)


def asks(located: Locations) -> list[CatalogAsk]:
    """Which catalog is to be asked about which LFNs, ordered by site."""
    lfns_of: dict[str, list[str]] = {}
    for lfn, sites in located.locations.items():
        for site in sites:
            lfns_of.setdefault(site, []).append(lfn)
    return [CatalogAsk(site, located.sites[site].lrc, lfns_of[site]) for site in sorted(lfns_of)]


def checked(said: Replicas, asked: Sequence[str], who: str) -> Replicas:
    """The answer itself. Raises AnswerInvalid: it leaves out LFNs that were asked about."""
    lacking = set(asked).difference(said.replicas, said.unknown)
    if lacking:
        raise AnswerInvalid(f"{who}: answered for {len(asked) - len(lacking)} of {len(asked)} LFNs")
    return said


def lookup(located: Locations, answers: Iterable[CatalogAnswer]) -> Lookup:
    """What the catalogs' answers to `asks(located)` come to; each LFN stands in one answer of a catalog."""
    replicas: dict[str, list[SiteReplica]] = {lfn: [] for lfn in located.locations}
    unreachable: dict[str, str] = {}
    unasked: dict[str, list[str]] = {}
    for answer in sorted(answers, key=lambda answer: answer.ask.site):
        ask, said = answer.ask, answer.said
        if isinstance(said, str):
            unreachable[ask.site] = said
            for lfn in ask.lfns:
                unasked.setdefault(lfn, []).append(ask.site)
            continue
        for lfn in ask.lfns:
            found = said.replicas.get(lfn)
            if found and found.pfns:
                replicas[lfn].append(_at(ask, found))
    return Lookup(
        replicas=replicas,
        incomplete=list(dict.fromkeys([*located.incomplete, *unasked])),
        missing=located.missing,
        unreachable=unreachable,
        unasked=unasked,
        stale=located.stale,
    )


def _at(ask: CatalogAsk, found: Replica) -> SiteReplica:
    return SiteReplica(ask.site, ask.lrc, found.size, found.checksum, found.pfns)
