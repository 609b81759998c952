"""A simulated index node: the real rules over a plain dictionary of summaries, applied one after the other.

It keeps its own list of whom it has heard or been told of, so that the registry's word is checked against another.
"""

from __future__ import annotations

import numpy as np

from reploc.errors import ReplocError, SummaryInvalid
from reploc.members import IndexSettings
from reploc.wire import Member, SoftState, Summary
from rli.decisions import Decision, DropSite, DropSlots, Forget
from rli.registry import Registry, Slots
from simnet import summaries
from simnet.network import Network
from simnet.site import Reply
from simnet.summaries import Held

#: Seconds that it takes to write one summary beside what is served.
WRITE_S_MAX = 0.02
EXPIRE_EVERY_S = 0.2


class IndexNode:
    """One node. `peers` are the index nodes by name, itself included."""

    def __init__(self, name: str, index: IndexSettings, network: Network, peers: dict[str, IndexNode]) -> None:
        self.name = name
        self.owned: Slots = index.ring.slots_owned(name)
        self.up = False
        self.registry: Registry
        #: What is served: (site number, slot) → what is held of it.
        self.served: dict[tuple[int, int], Held] = {}
        #: Sites that were heard (news was taken from them) or told by a peer since the start, and not forgotten.
        self.known: set[str] = set()
        self.started_at = 0.0
        #: Increments that were applied.
        self.increments = 0
        self._index = index
        self._network = network
        self._clock = network.clock
        self._rng = network.rng
        self._peers = peers
        self._life = 0

    def start(self) -> None:
        """A new process: it knows nothing but what its peers tell."""
        self.up = True
        self.registry = Registry(self._index, self._index.ring.share(self.name), self._clock.now)
        self.served.clear()
        self.known.clear()
        self.started_at = self._clock.now
        self._life += 1
        self._tick()

    def stop(self) -> None:
        self.up = False
        self._life += 1

    # ---- messages ------------------------------------------------------------------------------------------------

    def receive(self, message: SoftState, reply: Reply) -> None:
        if not self.up:
            return
        try:
            decision = self.registry.receive(message, self._clock.now)
        except ReplocError as refused:
            reply(refused)
            return
        if decision.renews:
            self.known.add(message.site)
        for slot in decision.dropped.tolist():
            self.served.pop((decision.number, slot), None)
        self._apply(decision, list(decision.accepted), {}, reply)

    def _apply(self, decision: Decision, left: list[Summary], spoiled: dict[int, str], reply: Reply) -> None:
        """One summary after the other; other messages come between."""
        if not left:
            settled = self.registry.answer(decision, spoiled)
            if settled.drop:
                self._drop(settled.drop)
            reply(settled.answer)
            return
        summary, *rest = left
        try:
            if summary.from_seq:
                self._change(decision, summary)
                self._apply(decision, rest, spoiled, reply)
                return
            whole = summaries.ALL[summary.kind].after(None, summary, self._index)
        except SummaryInvalid as wrong:
            self._apply(decision, rest, spoiled | {summary.slot: wrong.detail}, reply)
            return
        life = self._life

        def written() -> None:
            if life != self._life:
                return
            if self.registry.applied(decision, summary):
                self.served[decision.number, summary.slot] = whole
            self._apply(decision, rest, spoiled, reply)

        self._clock.after(self._rng.uniform(0, WRITE_S_MAX), written)

    def _change(self, decision: Decision, summary: Summary) -> None:
        """Applies an increment to what is served, in one step."""
        if not self.registry.wanted(decision, summary):
            return
        before = self.served[decision.number, summary.slot]
        after = summaries.ALL[summary.kind].after(before, summary, self._index)
        self.increments += 1
        assert self.registry.applied(decision, summary)
        self.served[decision.number, summary.slot] = after

    # ---- time ----------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        for decision in self.registry.expire(self._clock.now):
            self._drop(decision)
        check_due = self._rng.random() < EXPIRE_EVERY_S / self._index.renewal_interval_s
        if check_due or not self.registry.complete(self.owned).all():
            self._ask_a_peer()
        life = self._life
        self._clock.after(EXPIRE_EVERY_S, lambda: self._tick() if life == self._life else None)

    def _drop(self, decision: DropSite | DropSlots | Forget) -> None:
        slots = set(decision.slots.tolist()) if isinstance(decision, DropSlots) else range(self._index.slots)
        for slot in slots:
            self.served.pop((decision.number, slot), None)
        if isinstance(decision, Forget):
            self.known.discard(decision.site)

    def _ask_a_peer(self) -> None:
        """What `GET /v1/members` of another owner tells."""
        peer = self._peers[self._rng.choice(sorted(self._peers))]
        ways = ((self.name, peer.name), (peer.name, self.name))
        if peer is self or not peer.up or not all(map(self._network.is_open, ways)):
            return
        listed = peer.registry.listed()
        members: list[Member] = peer.registry.members(self._clock.now)
        self.registry.learn(listed, members, self._clock.now)
        self.known |= {member.name for member in members}

    # ---- what is checked -----------------------------------------------------------------------------------------

    def check(self, sites: dict[str, set[tuple[int, Held]]]) -> None:
        """The invariants of every moment; `sites` gives every summary that each site ever built."""
        self._check_that_only_whole_summaries_are_served(sites)
        numbers = {site: number for site in self.known if (number := self.registry.number(site)) is not None}
        assert numbers.keys() == self.known, "a site that was heard is not remembered"
        complete = self.registry.complete(self.owned)
        for slot in self.owned[complete].tolist():
            lacking = [site for site, number in numbers.items() if (number, slot) not in self.served]
            assert not lacking, f"{self.name} calls slot {slot} complete without {lacking}"
        for slot in self.owned[~complete].tolist():
            named = self.registry.missing_sites(np.array([slot]))
            lacking = sorted(site for site, number in numbers.items() if (number, slot) not in self.served)
            assert named == lacking, f"{self.name} says that {named} are missing in slot {slot}, but {lacking} are"

    def _check_that_only_whole_summaries_are_served(self, sites: dict[str, set[tuple[int, Held]]]) -> None:
        for (number, slot), held in self.served.items():
            site = self.registry.name(number)
            assert (slot, held) in sites[site], f"{self.name} serves what {site} never built for {slot}"
