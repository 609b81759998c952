"""What a node holds of collections: which sites have how much of each, with ages and positions.

Its registry is one of its own, because this news has sequences, positions and expiry of its own: a deletion counts here
at once, and what is lacking about LFNs is not lacking here.
"""

from __future__ import annotations

import secrets

import numpy as np

from reploc.holdings import CollectionSites, Holdings, SiteCollection, SiteHoldings
from reploc.members import IndexSettings
from reploc.wire import SoftState, SoftStateAnswer
from rli.completeness import Slots, runs
from rli.intake import Intake
from rli.registry import Registry
from rli.totals import HeldTotals, Snapshot


class Collections:
    """The collections of all sites at one node. One event loop uses it; moments are monotonic seconds."""

    def __init__(self, index: IndexSettings, node: str, now: float) -> None:
        self.registry = Registry(index, index.ring.share(node), now)
        self.totals = HeldTotals(index.partition)
        #: The slots that the node owns; whoever tells the registry sets it.
        self.owned: Slots = index.ring.slots_owned(node)
        self._partition = index.partition
        self._intake = Intake(self.registry, {"collection": self.totals})
        #: Tells this start's versions from those of every other start and node.
        self._start = secrets.token_hex(8)

    async def receive(self, message: SoftState, now: float) -> SoftStateAnswer:
        """Takes a sender's message. Raises what `Registry.receive` raises."""
        return await self._intake.receive(message, now)

    def expire(self, now: float) -> list[str]:
        """Stops serving senders without news; their sites."""
        return self._intake.expire(now)

    # ---- answers -------------------------------------------------------------------------------------------------

    def holdings(self, node: str, now: float) -> Holdings:
        """The state of every site's news, and what is lacking."""
        registry = self.registry
        live = [member for member in registry.members(now) if member.state == "live"]
        missing = registry.missing_sites(self.owned)
        return Holdings(
            node=node,
            complete=bool(registry.knows_all() and not missing),
            missing=missing,
            slots=runs(self.owned),
            slot_count=self._partition.slots,
            sites=[self._site(member.name, complete=member.name not in missing, now=now) for member in live],
        )

    def _site(self, site: str, *, complete: bool, now: float) -> SiteHoldings:
        registry, number = self.registry, self._number(site)
        return SiteHoldings(
            site=site,
            lrc=registry.url(number),
            version=self.version(site),
            position=registry.applied_position(site),
            age_s=round(registry.age(number, now), 3),
            complete=complete and registry.has_settled(site),
            collections=self.totals.count(number),
        )

    def version(self, site: str) -> str:
        """The version of what is held of a known site."""
        return f"{self._start}-{self.totals.version(self._number(site))}"

    def snapshot(self, site: str) -> Snapshot:
        """All that is held of a known site's collections."""
        return self.totals.snapshot(self._number(site))

    def of(self, name: str, now: float) -> CollectionSites:
        """Which sites hold how much of a collection."""
        registry, slot = self.registry, int(self._partition.slots_of_collections([name])[0])
        complete = registry.is_complete(slot)
        sites = [
            SiteCollection(
                registry.name(number),
                registry.url(number),
                round(registry.age(number, now), 3),
                registry.applied_position(registry.name(number)),
                *numbers,
            )
            for number, numbers in self.totals.of(name)
        ]
        missing = [] if complete else registry.missing_sites(np.array([slot]))
        return CollectionSites(name, complete, missing, sites)

    def _number(self, site: str) -> int:
        number = self.registry.number(site)
        assert number is not None, f"site {site} is not known"
        return number
