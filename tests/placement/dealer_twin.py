"""A slow twin of the dealer's decisions, written from the rules of `docs/dealer.md` in plain loops over plain values.

It says for a proposal what must become of it: a rejection with its reason, a change of owner, or a copy at one of some
sites. Which of those is drawn by chance, so that it is told and goes on from there.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from math import floor

from placement.dealer.proposal import Proposal
from placement.dealer.settings import DealerSettings
from placement.inventory import Inventory

#: Reasons why single sites take no copy, from what is furthest from taking one.
SITE_REASONS = [
    "no target site",
    "the site is not ready",
    "no fresh news of the site",
    "no quota for the partition",
    "all of it is there or on its way",
    "some of it is being deleted there",
    "beyond target_site_occupancy",
    "beyond max_site_pending_fraction",
]


@dataclass
class Here:
    """What a site has of a block."""

    bytes: int
    complete: bool
    copying: bool
    deleting: bool
    group: str

    @property
    def held(self) -> bool:
        return not self.deleting and (self.complete or self.copying)


@dataclass(frozen=True)
class Due:
    """What must become of a proposal: `reason` of a rejection; else the sites, of which one gets it."""

    reason: str = ""
    sites: frozenset[str] = frozenset()
    handed_over: bool = False


class Twin:
    def __init__(self, held: Inventory, settings: DealerSettings, member: list[bool], left_out: frozenset[str]) -> None:
        self.settings, self.left_out = settings, left_out
        self.sites = {row["name"]: row for row in held.sites.iter_rows(named=True)}
        self.names = list(self.sites)
        self.groups = held.groups["name"].to_list()
        self.datasets = held.datasets["name"].to_list()
        self.status = held.datasets["status"].to_list()
        self.blocks = [(row["dataset"], row["size"], row["files"]) for row in held.blocks.iter_rows(named=True)]
        self.quota = dict(zip(self.names, held.quota(settings.partition), strict=True))
        self.here: dict[tuple[int, str], Here] = {}
        self.projected, self.pending = dict.fromkeys(self.names, 0), dict.fromkeys(self.names, 0)
        for row, mine in zip(held.block_replicas.iter_rows(named=True), member, strict=True):
            site = self.names[row["site"]]
            there = Here(row["bytes"], row["complete"], row["copying"], row["deleting"], self.groups[row["group"]])
            self.here[row["block"], site] = there
            if mine:
                self.projected[site] += self.will_be(row["block"], site)
                if there.copying and not there.deleting:
                    self.pending[site] += max(self.blocks[row["block"]][1] - there.bytes, 0)
        self.given: set[tuple[int, str]] = set()
        self.left = settings.max_cycle_volume
        self.spent = False

    def will_be(self, block: int, site: str) -> int:
        """Bytes of a block at a site once every order is done."""
        there = self.here.get((block, site))
        if there is None or there.deleting:
            return 0
        return self.blocks[block][1] if there.copying else there.bytes

    def due(self, proposal: Proposal) -> Due:
        if self.status[proposal.dataset] in ("deleted", "deprecated", "invalid", "ignored"):
            return Due("the dataset's status")
        group = proposal.group or self.settings.group
        if group and group not in self.groups:
            return Due("the group is not defined")
        one = proposal.sites is not None and len(proposal.sites) == 1
        if self.spent and not one:
            return Due("beyond max_cycle_volume")
        blocks = self.wanted(proposal)
        if not blocks:
            return Due("no block with files")
        why = {site: self.why_not(site, proposal, blocks, one=one) for site in self.names}
        may = frozenset(site for site, reason in why.items() if not reason)
        if not may:
            nearest = max(SITE_REASONS.index(reason) for reason in why.values())
            if one and SITE_REASONS[nearest] == "all of it is there or on its way":
                (key,) = proposal.sites or ()
                site = self.names[key]
                if group and group != "None" and self.foreign(proposal, site):
                    return Due(sites=frozenset([site]), handed_over=True)
            return Due(SITE_REASONS[nearest])
        if not all(self.has_source(block, rescue=proposal.rescue) for block in blocks):
            return Due("no source for a block")
        return Due(sites=may)

    def wanted(self, proposal: Proposal) -> list[int]:
        return [
            key
            for key, (dataset, _, files) in enumerate(self.blocks)
            if dataset == proposal.dataset and files > 0 and (proposal.blocks is None or key in proposal.blocks)
        ]

    def lacking(self, site: str, blocks: list[int]) -> int:
        return sum(max(self.blocks[block][1] - self.will_be(block, site), 0) for block in blocks)

    def why_not(self, site: str, proposal: Proposal, blocks: list[int], *, one: bool) -> str:
        if proposal.sites is not None and self.names.index(site) not in proposal.sites:
            return "no target site"
        target = False
        for pattern in self.settings.target_sites:
            if fnmatch.fnmatchcase(site, pattern.removeprefix("!")):
                target = not pattern.startswith("!")
        if not target:
            return "no target site"
        if self.sites[site]["status"] != "ready":
            return "the site is not ready"
        if site in self.left_out:
            return "no fresh news of the site"
        quota = self.quota[site]
        if not quota:
            return "no quota for the partition"
        there = [self.here.get((block, site)) for block in blocks]
        if all(each is not None and each.held for each in there):
            return "all of it is there or on its way"
        if not one and any(each is not None and each.deleting for each in there):
            return "some of it is being deleted there"
        more = self.lacking(site, blocks)
        if quota > 0 and self.projected[site] + more > floor(self.settings.target_site_occupancy * quota):
            return "beyond target_site_occupancy"
        if quota > 0 and self.pending[site] + more > floor(self.settings.max_site_pending_fraction * quota):
            return "beyond max_site_pending_fraction"
        return ""

    def has_source(self, block: int, *, rescue: bool) -> bool:
        for site, told in self.sites.items():
            there = self.here.get((block, site))
            if there is None or not there.complete or there.deleting:
                continue
            if told["status"] == "ready" and site not in self.left_out:
                return True
            if rescue and told["status"] != "ready":
                return True
        return False

    def fits(self, proposal: Proposal, site: str) -> bool:
        """Whether the cycle may still order as much; the first that does not fit ends it, unless none could."""
        more = self.lacking(site, self.wanted(proposal))
        if self.spent or more > self.left:
            self.spent = self.spent or more <= self.settings.max_cycle_volume
            return False
        return True

    def give(self, proposal: Proposal, site: str, group: str) -> set[int]:
        """Orders the copy; its blocks."""
        blocks = [block for block in self.wanted(proposal) if not self.holds(block, site)]
        more = self.lacking(site, self.wanted(proposal))
        self.left -= more
        self.projected[site] += more
        self.pending[site] += more
        for block in blocks:
            # A source elsewhere stays one; what is ordered here is none before it is there.
            self.here[block, site] = Here(0, complete=False, copying=True, deleting=False, group=group)
        self.given |= {(block, site) for block in blocks}
        return set(blocks)

    def hand_over_beside(self, proposal: Proposal, site: str) -> set[int]:
        """What changes its owner together with a copy: what is there already, of who names a group or just one site."""
        one = proposal.sites is not None and len(proposal.sites) == 1
        group = proposal.group or self.settings.group
        return self.hand_over(proposal, site) if (one or proposal.group) and group not in ("", "None") else set()

    def hand_over(self, proposal: Proposal, site: str) -> set[int]:
        group = proposal.group or self.settings.group
        given = self.foreign(proposal, site)
        for block in given:
            self.here[block, site].group = group
        self.given |= {(block, site) for block in given}
        return given

    def foreign(self, proposal: Proposal, site: str) -> set[int]:
        """The blocks that a site has for another group, and that this cycle gave to nobody yet."""
        group = proposal.group or self.settings.group
        blocks = [block for block in self.wanted(proposal) if self.holds(block, site)]
        return {block for block in blocks if self.here[block, site].group != group and (block, site) not in self.given}

    def holds(self, block: int, site: str) -> bool:
        there = self.here.get((block, site))
        return there is not None and there.held
