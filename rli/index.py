"""The index of one node: one answer from all summaries of LFNs, and beside it what is held of collections.

Rules (who is heard, what is held, what is complete) are the registry's, bits are the matrix's; `rli/intake.py` keeps
the two in step.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import groupby

import numpy as np

from reploc.digest import Digests
from reploc.errors import IndexMismatch, NotIndexed
from reploc.hierarchy import is_relayed, teller
from reploc.listed import ListedLfns
from reploc.members import IndexSettings
from reploc.names import Pattern
from reploc.wire import Kind, Locations, Member, SiteNews, SoftState, SoftStateAnswer
from rli.answers import LATE_S, Answers, by_lfn
from rli.collections import Collections
from rli.completeness import Flags, Slots
from rli.intake import Intake
from rli.lfns import HeldLfns
from rli.matrix import Matrix
from rli.registry import Registry
from rli.shared import Shared
from rli.shown import ShownRegistry
from rli.texts import Texts

#: A node looks for what has expired so many times in `expiry_s`. Where it did not, it was stopped, or its machine was
#: busy or asleep, and what senders told it meanwhile may lie unread.
LOOKS = 3


class Index(Answers):
    """What a node holds of all sites. One event loop uses it; moments are monotonic seconds."""

    def __init__(
        self,
        index: IndexSettings,
        node: str,
        bytes_max: int,
        now: float,
        shared: Shared | None = None,
        texts: Texts | None = None,
    ) -> None:
        """With `shared` memory, in which workers see what answers are made from; `texts` is where the names of lists
        lie, by default in memory."""
        self.settings = index
        cells = index.ring.share(node)
        self.registry = ShownRegistry(index, cells, now, shared) if shared else Registry(index, cells, now)
        lfns = HeldLfns(Matrix(index.slots, index.error_rate, bytes_max, shared), texts)
        super().__init__(self.registry, lfns, index.partition)
        self.owned = index.ring.slots_owned(node)
        #: Whether the node's share is the whole index.
        self._owns_all = bool(cells.all())
        self._intake = Intake(self.registry, self.lfns.holdings)
        #: The totals of collections, where the index is told of them.
        self.collections = Collections(index, node, now) if index.tells_collections else None
        self._expired_at = now
        #: Senders that fell silent in front of a question, for the next `expire` to say.
        self._fell_silent: list[str] = []

    def take_only(self, kind: Kind) -> None:
        """From now on LFNs are taken in this form alone, because they are to be told on."""
        self._intake = Intake(self.registry, {kind: self.lfns.holdings[kind]})

    def change_ring(self, index: IndexSettings, node: str, now: float) -> None:
        """From now on the nodes, the redundancy and the nodes of rules are those of `index`, and its rules for sites;
        all else is the same."""
        self.settings = index
        self.partition = index.partition
        self.owned = index.ring.slots_owned(node)
        self._owns_all = bool(index.ring.share(node).all())
        for registry in self.registries:
            registry.own(index, index.ring.share(node), now)
        if self.collections is not None:
            self.collections.owned = self.owned

    @property
    def registries(self) -> list[Registry]:
        """Those of all that the node is told of, LFNs first."""
        told = [self.registry] if self.settings.tells_names else []
        return told if self.collections is None else [*told, self.collections.registry]

    def memory(self) -> int:
        """Bytes of all that is held."""
        return self.lfns.memory() + (0 if self.collections is None else self.collections.totals.memory())

    # ---- whom it knows -------------------------------------------------------------------------------------------

    def listed(self) -> Slots:
        """The cells whose senders this node vouches for, about LFNs and collections alike: numbers, ascending, slot by
        slot and part by part."""
        return np.flatnonzero(reduce(np.logical_and, [registry.listed() for registry in self.registries]))

    def members(self, now: float) -> list[Member]:
        """The senders that the node knows, by name, as the youngest news shows them."""
        said = [member for registry in self.registries for member in registry.members(now)]
        said.sort(key=lambda member: (member.name, member.age_s))
        return [next(of_site) for _, of_site in groupby(said, key=lambda member: member.name)]

    def learn(self, listed: Flags, senders: Sequence[Member], now: float) -> None:
        """Takes another node's word: it knows all senders of the `listed` cells, shape (slots, parts), and these are
        they."""
        for registry in self.registries:
            registry.learn(listed, senders, now)

    def knows_all(self) -> bool:
        """Whether the node knows all senders of every slot that it owns."""
        return all(registry.knows_all() for registry in self.registries)

    # ---- soft state ----------------------------------------------------------------------------------------------

    async def receive(self, message: SoftState, now: float) -> SoftStateAnswer:
        """Takes a sender's message; other work goes on between the pieces of its summaries.

        Raises what `Registry.receive` raises, with nothing changed. A summary that is broken, or has no room, is asked
        for again; what was held of its slot stays.
        """
        for registry in self.registries:
            registry.require_claim(message, now)
        if message.about == "names":
            if not self.settings.tells_names:
                raise IndexMismatch(
                    f"site {message.site!r} sends LFNs, but index.compression is collection at this node"
                )
            return await self._intake.receive(message, now)
        if self.collections is None:
            raise IndexMismatch(
                f"site {message.site!r} sends totals of collections, but index.collections is false at this node"
            )
        return await self.collections.receive(message, now)

    def expire(self, now: float) -> list[str]:
        """Stops serving senders without news; their sites. To be called at least `LOOKS` times in `expiry_s`."""
        unheard_s = now - self._expired_at
        if unheard_s > min(LATE_S, self.settings.expiry_s / LOOKS):
            for registry in self.registries:
                registry.heard_nobody(unheard_s)
        self._expired_at = now
        silent = [*self._fell_silent, *self._intake.expire(now)]
        self._fell_silent = []
        if self.collections is not None:
            silent += self.collections.expire(now)
        return list(dict.fromkeys(silent))

    def _prepare(self, now: float) -> None:
        """Nothing is answered from news that has expired, however long the duty that drops it is held up."""
        if now - self._expired_at > LATE_S:
            self._fell_silent = self.expire(now)
        if not self.settings.tells_names:
            raise NotIndexed(
                "this index is told of collections alone (index.compression is collection); "
                "expected the collection of the LFN"
            )

    # ---- answers -------------------------------------------------------------------------------------------------

    def answers_alone(self) -> bool:
        """Whether an owner of an LFN's slot holds all that is told of it, so that nobody else need be asked."""
        return self.partition.sites == "none" and self.partition.lfns != "collection"

    def locations(
        self, lfns: Sequence[str], digests: Digests, now: float, collection: str | None = None, ring: str = ""
    ) -> Locations:
        """Which sites may hold each of many LFNs, all of one collection where it is given; `digests` are theirs, shape
        (n, 2). With the version of a `ring` they are complete where the node's share by that ring is.

        Raises NotIndexed: the index is told of collections alone, and none was given.
        """
        if self.settings.tells_names or collection is None or self.collections is None:
            if not ring:
                return super().locations(lfns, digests, now, collection)
            self._prepare(now)
            slots = self.slots_of(lfns, digests, collection)
            return self._located(lfns, digests, slots, self._complete_by(ring, slots), now)
        said = self.collections.of(collection, now)
        sites = [one.site for one in said.sites]
        return Locations(
            locations={lfn: list(sites) for lfn in lfns},
            incomplete=[] if said.complete else list(dict.fromkeys(lfns)),
            missing=said.missing,
            sites={one.site: SiteNews(one.lrc, one.age_s) for one in said.sites},
        )

    def _complete_by(self, ring: str, slots: Slots) -> Flags:
        """Whether the node's share of each slot by a ring is complete; of one that is not known, all its shares."""
        complete = self.registry.complete_by(ring, np.maximum(slots, 0))
        if (slots < 0).any():
            owned = self.registry.owned_by(ring)
            complete[slots < 0] = bool(len(owned)) and bool(self.registry.complete_by(ring, owned).all())
        return complete

    def matching(self, pattern: Pattern, limit: int, after: int, now: float) -> ListedLfns:
        """Up to `limit` LFNs of lists that match, behind the number `after`, -1 at first; `next` is a number too.

        What index nodes below hold they are to be asked for.
        """
        self._prepare(now)
        page = self.lfns.lists.matching(pattern, limit, after)
        sites, names = self._sites(page.found, now)
        lacking = self.owned[~self._complete(self.owned)]
        children = self._children(now)
        missing = {*self._missing(lacking), *(self._unlisted(now) - children.keys())}
        locations = by_lfn(page.names, page.found, names)
        if children:
            sites = {site: news for site, news in sites.items() if not news.index}
            here = {lfn: [site for site in of if site in sites] for lfn, of in locations.items()}
            locations = {lfn: of for lfn, of in here.items() if of}
        return ListedLfns(
            locations=locations,
            next=None if page.next < 0 else str(page.next),
            complete=not len(lacking) and not missing,
            missing=sorted(missing),
            shares="all" if self._owns_all else "some",
            sites=sites,
            below=children,
        )

    def _children(self, now: float) -> dict[str, SiteNews]:
        """The index nodes below that are heard, by name."""
        heard = [site for site in self.registry.live() if site.beneath and not is_relayed(site.name)]
        return {
            site.name: SiteNews(site.url, round(self.registry.age(site.number, now), 3), site.place[2])
            for site in heard
        }

    def _unlisted(self, now: float) -> set[str]:
        """The sites that tell LFNs, but not as lists."""
        numbers = [self.registry.number(member.name) for member in self.registry.members(now)]
        found = self.lfns.unlisted(number for number in numbers if number is not None)
        return {teller(self.registry.name(number)) for number in found}

    def helpless(self, slots: Slots) -> Flags:
        """For which LFNs of these slots another node must be asked, shape (n,)."""
        if self.settings.tells_names or self.collections is None:
            return super().helpless(slots)
        registry = self.collections.registry
        helpless: Flags = (slots < 0) | ~registry.complete(np.maximum(slots, 0))
        return helpless
