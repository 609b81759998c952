"""What an index node knows of its senders, as pure rules: who they are, what is held of each, and when it expires.

The rules (the Giggle paper, section 3.3, asks for soft state that times out):

* a site is bound to one sender until that has been silent for `expiry_s`; a second one is refused, and where nodes are
  bound to different ones, the older binding counts at all of them (`rli/claims.py`);
* the highest epoch of a sender counts; what was held of an earlier one goes on being served, slot by slot, until the
  new epoch's takes its place or the sender and the node agree about all that is held;
* a summary is taken when its sequence is above the held one, so that late, doubled and reordered messages do no harm;
* an increment is taken when the held sequence is its first or any up to its last (`reploc/difference.py` says why that
  is right), otherwise the slot is asked for again;
* only a message with a higher number than all before it is news: a sign of life, and, when its vector is what the node
  holds, the position that the node has fully applied;
* a sender without news for `expiry_s` is silent: nothing of it is served, and it is missing until `forget_after_s`.

A message takes two steps, because its summaries are written in pieces beside what is served:

    decision = receive(message, now)      raises SiteClaimed, IndexMismatch, SummaryInvalid, NameInvalid, SitesFull
    decision.dropped                      slots to stop serving
    for each of decision.accepted         a whole one: verify (`reploc.softstate.whole_filter`), write aside, then, in
                                          one step with the swap: applied(decision, summary), no swap when it says no;
                                          an increment, all in one step: if wanted(…), verify, change, applied(…)
    answer(decision, spoiled)             what to answer, and which slots to stop serving

    site:   learned ──message──▶ live ──expiry_s without news──▶ silent ──forget_after_s──▶ forgotten
               │                  ▲                                │ ▲
               │                  └───────────message──────────────┘ │
               └───────────────────expiry_s──────────────────────────┘
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from reploc.errors import IndexMismatch, SiteClaimed, SitesFull, SummaryInvalid
from reploc.hierarchy import Beneath, is_relayed, relayed_name, require_sender
from reploc.members import IndexSettings
from reploc.names import require_url
from reploc.partition import Partition
from reploc.softstate import vector_hash
from reploc.wire import SOFT_STATE_VERSION, Member, SoftState, SoftStateAnswer, Summary
from rli.claims import Claims, precedes
from rli.completeness import Completeness, Flags, Slots
from rli.decisions import NO_SLOTS, Decision, DropSite, DropSlots, Forget, Settled
from rli.former import FormerShares
from rli.site import Site, State, pieces

#: Sites that a node remembers: a hundred thousand small ones are foreseen, with room for others that fell silent. 256
#: slots of so many cost 570 MB of bookkeeping.
SITES_MAX = 1 << 17


class Registry:
    """The senders of one node. `cells` are its share of the ring, shape (slots, parts); moments are monotonic."""

    def __init__(self, index: IndexSettings, cells: Flags, now: float, held: Flags | None = None) -> None:
        """`held` is where it is noted what is held of whom, if that shall be somewhere (`rli/completeness.py`)."""
        self._index = index
        self._sites: dict[str, Site] = {}
        self._by_number: list[Site | None] = []
        self._free: list[int] = []
        self._completeness = Completeness(cells, now, held)
        self._claims = Claims()
        self._former = FormerShares()
        #: Index nodes that are to be heard, name → address: they are never forgotten.
        self._expected: Mapping[str, str] = {}
        #: The numbers of live index nodes below that are not complete themselves, with what they miss.
        self.lacking: dict[int, tuple[str, ...]] = {}
        #: The last news of each site number, and the moment whose catalog the held news shows: shape (numbers,).
        self._contact_at: NDArray[np.float64] = np.zeros(0)
        self._news_at: NDArray[np.float64] = np.zeros(0)
        #: When each falls silent without news, or, where it is silent, is forgotten; shape (numbers,).
        self._ends_at: NDArray[np.float64] = np.zeros(0)

    def own(self, index: IndexSettings, cells: Flags, now: float) -> None:
        """From now on the node owns these cells; of the index those settings changed that may (`members.RING_KEYS`)."""
        before, kept = self._index, self._completeness
        if before.ring != index.ring:
            self._former.keep(before.ring, kept.cells, kept.known_cells)
        self._index = index
        if index.partition.has_parts_of(before.partition):
            kept.own(cells, now)
        else:
            kept.part_anew(cells, self._parts(index.partition), now)

    def _parts(self, partition: Partition) -> dict[int, int]:
        """The part of each site, by its number."""
        return {site.number: partition.part_of(site.name) for site in self._sites.values()}

    def expect(self, children: Mapping[str, str], now: float) -> None:
        """From now on these index nodes are to be heard, name → address, empty where that is not said."""
        for name in self._expected.keys() - children.keys():
            site = self._sites.get(name)
            if site is not None and site.state is State.SILENT:
                self._ends_at[site.number] = now + self._index.forget_after_s
        self._expected = dict(children)
        for name, url in children.items():
            if name not in self._sites:
                self._new_site(name, url, State.LEARNED, now)

    # ---- messages ------------------------------------------------------------------------------------------------

    def receive(self, message: SoftState, now: float) -> Decision:
        """What to do with a message. Takes note of the sign of life, if it is one.

        Raises IndexMismatch, NameInvalid, SummaryInvalid (a slot that the index does not have), SiteClaimed, SitesFull;
        nothing changes then.
        """
        self._require_same_index(message)
        require_sender(message.site, node=message.beneath is not None)
        for name in message.beneath.relays if message.beneath else ():
            require_sender(relayed_name(message.site, name), node=True)
        require_url(message.url)
        self.require_claim(message, now)
        site = self._sites.get(message.site)
        if site is None:
            site = self._new_site(message.site, message.url, State.LEARNED, now)
        if self._supersedes(site, message):
            site.begin_epoch(message, now)
            site.url = require_url(message.url)
        if not site.is_of(message):
            return Decision(message, now, site.number, renews=False, accepted=())
        if len(site.sequences) != pieces(message):
            raise SummaryInvalid(f"site {message.site!r} sent other pieces in epoch {site.epoch} before")
        renews = message.message > site.message
        dropped = NO_SLOTS
        if renews:
            site.message = message.message
            self._hear(site, message, now)
            dropped = self._drop(site, message.drop)
        return Decision(message, now, site.number, renews, tuple(self._acceptable(site, message, renews)), dropped)

    def wanted(self, decision: Decision, summary: Summary) -> bool:
        """Whether an accepted summary is still to be swapped in; no when other news came while it was written."""
        site = self._sites.get(decision.message.site)
        if site is None or site.number != decision.number or not site.counts(decision.message):
            return False
        return site.takes(summary)

    def checksum(self, decision: Decision, slot: int) -> int:
        """The checksum of what is held of a slot of the decision's site, where an increment is wanted."""
        return int(self._at(decision.number).checksums[slot])

    def applied(self, decision: Decision, summary: Summary) -> bool:
        """Whether a summary that was verified and written aside is to be swapped in; if so, it now counts as held.

        Call it in one step with the swap. It says no when the summary is not `wanted` any more.
        """
        if not self.wanted(decision, summary):
            return False
        site = self._sites[decision.message.site]
        site.sequences[summary.slot] = summary.to_seq
        site.checksums[summary.slot] = summary.checksum
        self._completeness.hold(site.number, self._stands_for(site, summary.slot))
        return True

    def _stands_for(self, site: Site, slot: int) -> Slots:
        """The slots of the index that a slot of a site's messages stands for."""
        return np.arange(self._index.slots) if site.is_one_piece else np.array([slot], dtype=np.intp)

    def answer(self, decision: Decision, spoiled: Mapping[int, str]) -> Settled:
        """What to answer once the accepted summaries are applied; `spoiled` says why those of some slots are not."""
        message = decision.message
        site = self._sites.get(message.site)
        if site is None:
            return Settled(SoftStateAnswer(epoch=message.epoch, current=False, applied=0, held=[]))
        if not site.is_of(message):
            return Settled(SoftStateAnswer(epoch=site.epoch, current=False, applied=site.applied, outdated=True))
        current = site.state is State.LIVE and vector_hash(site.sequences) == message.vector
        newest = decision.renews and site.message == message.message
        drop = self._settle(site, decision) if current and newest else None
        answer = SoftStateAnswer(
            epoch=site.epoch,
            current=current,
            applied=site.applied,
            slots=[site.answer(summary, spoiled) for summary in message.summaries],
            held=UNSET if current else site.all_held,
        )
        return Settled(answer, drop)

    def _require_same_index(self, message: SoftState) -> None:
        ours = (SOFT_STATE_VERSION, self._index.slots, self._index.error_rate)
        theirs = (message.version, message.slots, message.error_rate)
        if ours != theirs:
            raise IndexMismatch(
                f"site {message.site!r} sends version {theirs[0]}, {theirs[1]} slots, error rate {theirs[2]}; "
                f"this node has version {ours[0]}, {ours[1]} slots, error rate {ours[2]}"
            )
        for slot in [*(summary.slot for summary in message.summaries), *message.drop]:
            if slot >= pieces(message):
                raise SummaryInvalid(f"slot {slot} is unknown; expected 0 to {pieces(message) - 1}")

    def require_claim(self, message: SoftState, now: float) -> None:
        """Raises SiteClaimed: another sender speaks for the site of a message, here or at another node."""
        self._claims.require(message, now)
        site = self._sites.get(message.site)
        if site is None or site.state is not State.LIVE:
            return
        if message.sender != site.sender:
            raise SiteClaimed(f"site {message.site!r} is spoken for by another sender, at {site.url}")
        if require_url(message.url) != site.url and message.epoch <= site.epoch:
            raise SiteClaimed(
                f"site {message.site!r} is spoken for at {site.url} in epoch {site.epoch}; "
                f"this is epoch {message.epoch} at {message.url}"
            )

    @staticmethod
    def _supersedes(site: Site, message: SoftState) -> bool:
        """Whether the message begins a new epoch, or a new binding of a site that nobody speaks for."""
        return message.sender != site.sender or message.epoch > site.epoch

    def _hear(self, site: Site, message: SoftState, now: float) -> None:
        """A sign of life. Of a site that nothing is held of, all that comes is at least as fresh as this message."""
        if site.state is not State.LIVE:
            self._news_at[site.number] = now - message.news_age_s
            site.state, site.first = State.LIVE, message.message
        if message.beneath is not None:
            self._take_beneath(site, message.beneath, now)
        self._heard(site.number, now)

    def _take_beneath(self, site: Site, beneath: Beneath, now: float) -> None:
        """What is lacking below is lacking at once; that nothing is, only once its news is here, and what it relays."""
        site.beneath = beneath
        for name in beneath.relays:
            if (relayed := relayed_name(site.name, name)) not in self._sites:
                self._new_site(relayed, site.url, State.LEARNED, now)
        if not beneath.complete:
            self.lacking[site.number] = tuple(f"{site.name}/{missing}" for missing in beneath.missing) or (site.name,)

    def disown(self, name: str, now: float) -> None:
        """What a sender told is not to be believed: it is silent from the next `expire` on."""
        site = self._sites.get(name)
        if site is not None and site.state is State.LIVE:
            self._heard(site.number, now - self._index.expiry_s)

    def _heard(self, number: int, moment: float) -> None:
        self._contact_at[number] = moment
        self._ends_at[number] = moment + self._index.expiry_s

    def _drop(self, site: Site, slots: Sequence[int]) -> Slots:
        """The sender does not tell of these slots any more; those of them that are held."""
        named = np.unique(np.array(slots, dtype=np.intp))
        site.sequences[named] = 0
        if site.is_one_piece and len(named):
            self._completeness.drop(site.number)
            return named
        held = named[self._completeness.held(site.number)[named]]
        self._completeness.drop(site.number, held)
        return held

    @staticmethod
    def _acceptable(site: Site, message: SoftState, renews: bool) -> list[Summary]:
        """The summaries to apply. In news, a whole one with the held sequence is taken too: a full update repairs."""
        if not site.counts(message):
            return []
        return [one for one in message.summaries if site.takes(one) and (renews or one.to_seq > site.held(one.slot))]

    def _settle(self, site: Site, decision: Decision) -> DropSlots | None:
        """Sender and node agree about all that is held: the news is applied, and leftovers go."""
        site.applied, site.settled = decision.message.position, True
        if decision.message.beneath is None or decision.message.beneath.complete:
            self.lacking.pop(site.number, None)
        self._news_at[site.number] = decision.received_at - decision.message.news_age_s
        left = np.flatnonzero(self._completeness.held(site.number) & (site.sequences == 0))
        if site.is_one_piece or not len(left):
            return None
        self._completeness.drop(site.number, left)
        return DropSlots(site.name, site.number, left)

    # ---- time ----------------------------------------------------------------------------------------------------

    def heard_nobody(self, unheard_s: float) -> None:
        """So many seconds passed in which the node read nothing that senders told it: live ones may be unheard."""
        self._completeness.heard_nobody(unheard_s)

    def expire(self, now: float) -> list[DropSite | Forget]:
        """What to stop serving, and whom to forget. To be called at least every second."""
        self._completeness.know_owned_before(now - self._index.expiry_s)
        decisions: list[DropSite | Forget] = []
        for number in np.flatnonzero(self._ends_at <= now).tolist():
            site = self._at(number)
            if site.state is not State.SILENT:
                decisions += self._silence(site)
            if self._ends_at[number] <= now:
                decisions.append(self._forget(site))
        return decisions

    def _silence(self, site: Site) -> list[DropSite]:
        held_before = site.state is State.LIVE
        site.state = State.SILENT
        self.lacking.pop(site.number, None)
        site.sequences[:] = 0
        site.applied, site.settled = 0, False
        lasts_s = np.inf if site.name in self._expected else self._index.forget_after_s
        self._ends_at[site.number] += lasts_s
        self._completeness.drop(site.number)
        return [DropSite(site.name, site.number)] if held_before else []

    def _forget(self, site: Site) -> Forget:
        self._completeness.unlist(site.number)
        del self._sites[site.name]
        self._by_number[site.number] = None
        self._ends_at[site.number] = np.inf
        heapq.heappush(self._free, site.number)
        return Forget(site.name, site.number)

    def _new_site(self, name: str, url: str, state: State, contact_at: float) -> Site:
        if len(self._sites) >= SITES_MAX:
            raise SitesFull(f"site {name!r} is one more than the {SITES_MAX:,} that a node remembers")
        if not self._free:
            self._grow()
        number = heapq.heappop(self._free)
        nothing = np.zeros(0, dtype=np.uint64)
        site = Site(name, number, url, state, nothing, nothing)
        self._sites[name] = site
        self._by_number[number] = site
        self._heard(number, contact_at)
        self._news_at[number] = contact_at
        self._completeness.list_site(number, self._index.partition.part_of(name))
        return site

    def _grow(self) -> None:
        """Doubles the numbers, the lowest of which is given first."""
        have = len(self._by_number)
        more = max(16, have)
        self._by_number += [None] * more
        nothing = np.full(more, np.inf)
        self._contact_at = np.concatenate([self._contact_at, nothing])
        self._ends_at = np.concatenate([self._ends_at, nothing])
        self._news_at = np.concatenate([self._news_at, nothing])
        for number in range(have, have + more):
            heapq.heappush(self._free, number)

    # ---- what other nodes know -----------------------------------------------------------------------------------

    def learn(self, listed: Flags, senders: Sequence[Member], now: float) -> None:
        """Takes another node's word: it knows all senders of the `listed` cells, shape (slots, parts), and these are
        they.

        A sender that is unknown here is missing until it is heard, or until it has been silent long enough there.
        """
        for member in senders:
            if member.kind == "rli":
                continue
            heard_at = now - (member.age_s or 0.0)
            if member.name not in self._sites:
                self._new_site(member.name, member.url, State.LEARNED, heard_at)
            if member.claim and member.state == State.LIVE.value:
                self._compare(member, self._sites[member.name], heard_at, now)
        self._completeness.know(listed)

    def _compare(self, theirs: Member, site: Site, heard_at: float, now: float) -> None:
        """Keeps a site for the claim that another node is bound to; one that is bound here gives way if it is younger.

        What it told is dropped by the next `expire`.
        """
        if site.state is State.LIVE:
            if not precedes(theirs, self._member(site, now)):
                return
            self._heard(site.number, now - self._index.expiry_s)
        self._claims.keep(theirs, heard_at + self._index.expiry_s)

    def knows_all(self) -> bool:
        """Whether the node knows all senders of every slot that it owns."""
        return self._completeness.knows_all()

    def listed(self) -> Flags:
        """The cells whose list of senders this node vouches for, shape (slots, parts)."""
        return self._completeness.known_cells

    def members(self, now: float) -> list[Member]:
        """The senders that the node knows, by name."""
        return [self._member(site, now) for site in sorted(self._sites.values(), key=lambda site: site.name)]

    def _member(self, site: Site, now: float) -> Member:
        age_s = max(0.0, now - self._contact_at.item(site.number))
        below = site.beneath is not None or site.name in self._expected or is_relayed(site.name)
        kind: Literal["lrc", "child"] = "child" if below else "lrc"
        if site.state is not State.LIVE:
            return Member(kind, site.name, site.url, site.state.value, age_s)
        bound_s, news_age_s = now - site.bound_at, self.age(site.number, now)
        complete = None if site.beneath is None else site.number not in self.lacking
        return Member(
            kind, site.name, site.url, site.state.value, age_s, site.claim, bound_s, round(news_age_s, 3), complete
        )

    # ---- index nodes below ---------------------------------------------------------------------------------------

    def live(self) -> list[Site]:
        """The senders whose news is in use."""
        return [site for site in self._sites.values() if site.state is State.LIVE]

    @property
    def has_children(self) -> bool:
        """Whether index nodes below are heard, or are to be."""
        return bool(self._expected) or any(site.beneath for site in self.live())

    def holds(self, number: int, slots: Slots) -> bool:
        """Whether all these slots are held from a sender."""
        return bool(self._completeness.held(number)[slots].all())

    def oldest_news(self, now: float) -> float:
        """The moment of the oldest news in use: all that any live sender held then is here."""
        return float(self._news_at[[site.number for site in self.live()]].min(initial=now))

    # ---- for answers ---------------------------------------------------------------------------------------------

    def complete(self, slots: Slots) -> Flags:
        """Whether the node may say "nowhere" for each slot, shape of `slots`. One array read each."""
        complete = self._completeness.complete(slots)
        return complete if not self.lacking else np.zeros_like(complete)

    def complete_by(self, ring: str, slots: Slots) -> Flags:
        """Whether the node may say "nowhere" of its share of each slot by this version of the ring, if it knows it."""
        if ring == self._index.ring.version:
            return self.complete(slots)
        share = self._former.by(ring)
        if share is None or self.lacking:
            return np.zeros(len(slots), dtype=bool)
        return self._completeness.complete_in(share, self._parts(share.partition), slots)

    def owned_by(self, ring: str) -> Slots:
        """The slots of which the node has a share by the ring of this version, ascending."""
        share = self._former.by(ring)
        cells = self._completeness.cells if share is None else share.cells
        return np.flatnonzero(cells.any(axis=1))

    def is_complete(self, slot: int) -> bool:
        """Whether it may for one slot."""
        return not self.lacking and self._completeness.is_complete(slot)

    def empty(self, slots: Slots) -> Flags:
        """Whether nothing is held of each slot, shape of `slots`."""
        return self._completeness.empty(slots)

    def missing(self, slots: Slots) -> Flags:
        """Which sites each slot is not held from, shape (n, numbers): column = site number. For slots not complete."""
        return self._completeness.missing(slots)

    def missing_sites(self, slots: Slots) -> list[str]:
        """The names of the sites that are missing in any of the slots, ascending, those missing below with the names of
        the nodes between."""
        if not len(slots):
            return []
        below = [name for names in self.lacking.values() for name in names]
        return sorted({*self.missing_here(slots), *below})

    def missing_here(self, slots: Slots) -> list[str]:
        """The names of the senders that are missing in any of the slots at this node itself."""
        if not len(slots):
            return []
        return [self.name(int(number)) for number in np.flatnonzero(self.missing(slots).any(axis=0))]

    def ages(self, numbers: NDArray[np.intp], now: float) -> NDArray[np.float64]:
        """How long ago each site's catalog stood as the node shows it, at most; seconds, shape (n,)."""
        return np.maximum(now - self._news_at[numbers], 0.0)

    def age(self, number: int, now: float) -> float:
        """The same for one site."""
        return max(now - self._news_at.item(number), 0.0)

    def place(self, number: int) -> tuple[str, str, str]:
        """The name of a sender, where it answers, and the index that it is a node of: empty text of a catalog."""
        return self._at(number).place

    def name(self, number: int) -> str:
        return self._at(number).name

    def url(self, number: int) -> str:
        """Where the site's catalog answers."""
        return self._at(number).url

    def number(self, site: str) -> int | None:
        """The number of a site, None where it is not known."""
        found = self._sites.get(site)
        return None if found is None else found.number

    def is_live(self, site: str) -> bool:
        """Whether news of a site is in use."""
        return site in self._sites and self._sites[site].state is State.LIVE

    def applied_position(self, site: str) -> int:
        """The position of a known site's catalog that the node has fully applied, 0 before the first."""
        return self._sites[site].applied

    def has_settled(self, site: str) -> bool:
        """Whether a known site's news was ever fully applied since it is heard; an empty catalog's position is 0."""
        return self._sites[site].settled

    def _at(self, number: int) -> Site:
        site = self._by_number[number]
        if site is None:
            raise KeyError(f"no site has number {number}")
        return site
