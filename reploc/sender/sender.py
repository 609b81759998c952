"""What a catalog owes each index node, as pure rules: live summaries, their sequences, and when to send which.

The rules (the Giggle paper, section 3.3, for soft state; that it is fresh and provably whole is ours):

* a slot's *sequence* counts the changes of its summary within an *epoch*, from 1; it is the same for every node;
* what changed is in the live summaries within `increment_interval_s`, or at once after `increment_changes`; what kind
  of summary they are is the form's affair (`reploc/sender/form.py`);
* a slot is built from the catalog at the start, when the size class changes, and when deletions call for it;
* every node is told each slot that it owns: by an increment from the sequence that it holds where that is not too far
  behind, otherwise whole, and again whole once per `full_interval_s`;
* it gets a sign of life every `renewal_interval_s`; every message carries the newest summaries, as many as fit a frame;
* a node that knows another history of this sender says so, and the sender goes above it (`behind`, `restart`).

A shell reads the catalog, builds filters, sends messages and reports what came of them (`reploc/sender/stream.py`):

    changed(…)                         as the writer commits
    tell(…), begin()                   an index node: what is below it, and that it holds enough to be told of
    advance(now)                       take what changed into the summaries, when it is due
    stale_slots(now) → rebuilt(…)      read these slots, build, hand over
    due(now) → answered(…) | failed(…) send each message, report exactly one of the two
    behind → restart(epoch, now)       raise the durable epoch above it first
    change_ring(index, now)            other nodes, or another redundancy
    next_due(now)                      how long nothing need be done
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reploc.hierarchy import Beneath
from reploc.members import IndexSettings, Node
from reploc.sender.additions import ADDITIONS_MAX, Additions
from reploc.sender.beneath import BeneathLog, Word
from reploc.sender.deletions import Deletions
from reploc.sender.form import Build, Form, distinct
from reploc.sender.news import News
from reploc.sender.node_progress import NodeState, Slots
from reploc.sender.placing import Placing
from reploc.sender.slot_filters import SlotFilters
from reploc.sender.slot_lag import SlotLag
from reploc.softstate import vector_hash
from reploc.wire import (
    FRAME_BYTES_MAX,
    SOFT_STATE_VERSION,
    About,
    NodeProgress,
    SenderStatus,
    SoftState,
    SoftStateAnswer,
    Summary,
)

#: Bytes of a summary beside its body: six MessagePack fields of at most nine bytes.
SUMMARY_HEADER_BYTES = 54
#: Names that one visit to the catalog reads and builds: a sixth of a second's work, so that progress shows and what is
#: added meanwhile does not wait long. A slot is never parted.
NAMES_PER_BUILD = 1 << 17

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Identity:
    """Who sends. `sender` is the store's durable random name, `incarnation` 64 random bits of this start."""

    site: str
    url: str
    sender: str
    incarnation: int


@dataclass(frozen=True)
class SendSoftState:
    """To do: send this message to this node, then report `answered` or `failed`."""

    node: str
    url: str
    message: SoftState


class Sender:
    """The rules of one catalog as a sender of soft state."""

    def __init__(
        self,
        identity: Identity,
        epoch: int,
        index: IndexSettings,
        counts: NDArray[np.int64],
        *,
        position: int,
        now: float,
        about: About = "names",
        form: Form | None = None,
        names_per_build: int = NAMES_PER_BUILD,
        beneath: Beneath | None = None,
    ) -> None:
        """`counts` are the names in each slot as of the catalog's `position`, shape (slots,); `epoch` is at least 1.

        `form` keeps the summaries, none of which is built yet; without one they are Bloom filters. `beneath` is what an
        index node says of what is below it; it builds nothing before `begin`, so that its parents keep what it told
        before its start until it holds as much again.
        """
        self._identity = identity
        self._about: About = about
        self._names_per_build = names_per_build
        self._index = index
        self._epoch = epoch
        self._behind = 0
        self._counts = counts.astype(np.int64)
        self._form: Form = form or SlotFilters(Placing(index.partition), index.error_rate)
        self._slots = slots = len(self._form.sequences)
        self._form.fit(self._fullest)
        self._additions = Additions()
        self._deletions = Deletions(slots, index.increment_interval_s, index.rebuild_interval_s)
        self._lag = SlotLag(slots, position, now)
        #: Slots of the last round of builds that were not handed over yet: what is added to them waits.
        self._building: Flags = np.zeros(slots, dtype=bool)
        #: The position of the last addition that was given up, so that the slot must be built from there or later.
        self._given_up_at: NDArray[np.int64] = np.full(slots, -1, dtype=np.int64)
        self._changes_pushed = False
        self._begun = beneath is None
        self._beneath = None if beneath is None else BeneathLog(Word(position, beneath, now))
        #: What was said last of what is below, to see that it is another.
        self._said: Beneath | None = beneath
        self._nodes: dict[str, NodeState] = {}
        self.change_ring(index, now)

    # ---- the catalog's changes -----------------------------------------------------------------------------------

    @property
    def size_class(self) -> int:
        """The capacity class that slots are to be built with; it changes in `advance` and `stale_slots`."""
        return self._form.size_class

    @property
    def names(self) -> int:
        """How many LFNs the catalog has."""
        return int(self._counts.sum())

    @property
    def epoch(self) -> int:
        return self._epoch

    @property
    def ready(self) -> bool:
        """Whether all slots are built."""
        return bool(self._form.built.all())

    @property
    def _fullest(self) -> int:
        return int(self._counts.max(initial=0))

    def changed(self, news: News, now: float) -> None:
        """Takes note of a commit.

        Commits come in order of position; one that the counts given at the start include already is passed over.
        """
        position = news.position
        if position <= self._lag.catalog_position:
            return
        changes = self._form.changes(news)
        slots, gone = changes.slots, changes.gone
        self._counts += changes.counts
        self._lag.changed(distinct(slots), len(slots), position, now)
        self._deletions.note(gone[self._lag.built_at[gone] < position], position, now)
        # A slot that is neither built nor being built will be built with what came.
        waits = (self._form.built | self._building)[slots]
        self._additions.note(changes.items[waits], slots[waits], position)
        if self._additions.count > ADDITIONS_MAX:
            self._given_up_at[self._additions.give_up()] = position
        if len(slots):
            for node in self._nodes.values():
                node.changed(now)

    @property
    def has_much_to_take_in(self) -> bool:
        """Whether so much has changed that it is not waited until `increment_interval_s` is over."""
        return self._lag.is_at(self._index.increment_changes)

    def advance(self, now: float) -> None:
        """Takes what changed into the live summaries when it is due, and chooses the size class.

        Raises SummaryInvalid: a slot has more names than any filter takes.
        """
        if not self._changes_pushed and self._lag_due_at() > now:
            return
        self._changes_pushed = False
        ready = self._current
        items, slots = self._additions.take(ready, self._lag.built_at)
        self._form.add(items, slots)
        self._lag.advanced(np.flatnonzero(ready & self._lag.lagging))
        self._form.fit(self._fullest)

    def stale_slots(self, now: float) -> Slots:
        """Slots to build now from one snapshot, ascending, with `size_class`; as many as one visit should build.

        The snapshot must be taken after this call. A new call gives up what was not handed over of the last one.
        """
        if (self._deletions.due_at(self._counts) <= now).any():
            self._form.fit(self._fullest)
        stale = np.flatnonzero(self._builds_due_at() <= now)
        first = max(1, int(np.searchsorted(np.cumsum(self._counts[stale]), self._names_per_build, side="right")))
        chosen = stale[:first]
        self._building[:] = False
        self._building[chosen] = True
        if len(chosen):
            self._lag.build_begins(now)
        return chosen

    def rebuilt(self, builds: Iterable[Build], position: int) -> None:
        """Takes summaries built from a snapshot at `position`; where the content changed the sequence rises.

        A round may come in several parts; a build older than what is there is passed over.
        """
        fresh = [build for build in builds if self._lag.is_newer(build.slot, position)]
        for build in fresh:
            self._form.replace(build)
        slots = np.array([build.slot for build in fresh], dtype=np.intp)
        self._building[slots] = False
        self._lag.reflected(slots, position)
        self._deletions.reflected(slots, position, self._lag.build_begun)

    @property
    def _given_up(self) -> Flags:
        """Slots whose summaries lack a change that nobody keeps any more."""
        given_up: Flags = self._given_up_at > self._lag.built_at
        return given_up

    def _builds_due_at(self) -> NDArray[np.float64]:
        """When each slot is to be built from its digests, shape (slots,)."""
        moments = self._deletions.due_at(self._counts)
        moments[self._form.stale | self._given_up] = -np.inf
        if not self._begun:
            moments[:] = np.inf
        return moments

    @property
    def _current(self) -> Flags:
        """Slots whose summaries take what changes, shape (slots,); the others are to be built, or being built."""
        current: Flags = self._form.built & ~self._building & ~self._given_up
        return current

    def _lag_due_at(self) -> float:
        return self._lag.due_at(self._current, self._index.increment_interval_s, self._index.increment_changes)

    # ---- an index node ------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The node holds what it is to hold after its start: its summaries are built from now on."""
        self._begun = True

    def tell(self, beneath: Beneath, oldest_at: float) -> None:
        """What is below the node now; all that was there before `oldest_at` is in its keys. Call it before `due`.

        A word that differs goes to every parent at once.
        """
        assert self._beneath is not None, "a catalog has nothing below it"
        self._beneath.tell(Word(self._lag.catalog_position, beneath, oldest_at))
        said, _ = self._beneath.at(self._lag.position)
        if said != self._said:
            self._said = said
            for node in self._nodes.values():
                node.push()

    def tells_anew(self, beneath: Beneath) -> bool:
        """Whether this differs from what was said last of what is below."""
        assert self._beneath is not None, "a catalog has nothing below it"
        said, _ = self._beneath.at(self._lag.position)
        return beneath != said

    # ---- the ring ------------------------------------------------------------------------------------------------

    def change_ring(self, index: IndexSettings, now: float) -> None:
        """From now on the nodes, the redundancy and the nodes of rules are those of `index`, and its rules for sites;
        all else is the same.

        A node that owns no slot is sent nothing; one that owns none any more, for `expiry_s` longer. For twice as long
        where sites are of other parts now: so long new owners take to know that they have heard all of a part.
        """
        same = index.partition.has_parts_of(self._index.partition)
        keeps_s = index.expiry_s * (1 if same else 2)
        self._index = index
        before, shares = self._nodes, self._shares()
        self._nodes = {}
        for node in index.nodes:
            state = before.pop(node.name, None)
            if state is not None:
                state.own(node, shares[node.name], index, now, keeps_s)
            elif len(shares[node.name]):
                state = NodeState(node, shares[node.name], self._slots, self._identity.site, index, now)
            if state is not None:
                self._nodes[node.name] = state
        for name, state in before.items():
            state.own(Node(name=name, url=state.url), np.empty(0, dtype=np.intp), index, now, keeps_s)
            self._nodes[name] = state

    def _shares(self) -> dict[str, Slots]:
        """The slots of each listed node, ascending, for some nodes none; one piece for all goes to whoever has any."""
        ring, part = self._index.ring, self._index.partition.part_of(self._identity.site)
        shares = {name: np.flatnonzero(cells[:, part]) for name, cells in ring.shares.items()}
        if self._slots == self._index.slots:
            return shares
        return {name: np.arange(self._slots) if len(slots) else slots for name, slots in shares.items()}

    # ---- messages ------------------------------------------------------------------------------------------------

    def due(self, now: float) -> list[SendSoftState]:
        """The messages to send now, at most one per node; each must be reported `answered` or `failed`.

        There are none while the sender is `behind`: they would be refused.
        """
        if self._behind:
            return []
        self._nodes = {name: node for name, node in self._nodes.items() if node.let_go(now)}
        return [
            SendSoftState(node.name, node.url, self._message(node, now))
            for node in self._nodes.values()
            if node.wants(self._form.sequences, self._form.built, now)
        ]

    def next_due(self, now: float, rests_until: float = 0.0) -> float:
        """Seconds until `advance`, `stale_slots` or `due` will have something to do; 0 where they have.

        Nothing is taken in or built before `rests_until`.
        """
        moments = [
            max(rests_until, now if self._changes_pushed else self._lag_due_at()),
            max(rests_until, float(self._builds_due_at().min())),
            now + self._index.renewal_interval_s,
        ]
        if not self._behind:
            for node in self._nodes.values():
                moments += [node.next_due(self._form.sequences, self._form.built, now), node.lets_go_at()]
        return max(0.0, min(moments) - now)

    def push(self) -> None:
        """Makes changed slots and a message to every node due at once, whatever failed before."""
        self._changes_pushed = bool(self._lag.lagging.any())
        self._deletions.push()
        for node in self._nodes.values():
            node.push()

    def _message(self, node: NodeState, now: float) -> SoftState:
        sequences = np.where(node.told, self._form.sequences, np.uint64(0))
        carried, summaries = self._summaries_that_fit(node)
        beneath, age_s = self._told_beneath(now)
        drop = node.drops()
        return SoftState(
            version=SOFT_STATE_VERSION,
            site=self._identity.site,
            sender=self._identity.sender,
            url=self._identity.url,
            slots=self._index.slots,
            error_rate=self._index.error_rate,
            epoch=self._epoch,
            incarnation=self._identity.incarnation,
            message=node.leaves(self._epoch, sequences, carried, self._lag.since, now),
            position=self._lag.position,
            news_age_s=age_s,
            vector=vector_hash(sequences),
            summaries=summaries,
            drop=drop,
            about=self._about,
            one_piece=self._slots != self._index.slots,
            beneath=beneath,
        )

    def _told_beneath(self, now: float) -> tuple[Beneath | None, float]:
        """What a message says of what is below, and how long ago everything below stood as it tells."""
        if self._beneath is None:
            return None, self._lag.age_s(now)
        beneath, oldest_at = self._beneath.at(self._lag.position)
        return beneath, max(0.0, now - oldest_at)

    def _summaries_that_fit(self, node: NodeState) -> tuple[list[int], list[Summary]]:
        """As many owed summaries as fit a frame, always one, and which slots they are of."""
        carried: list[int] = []
        summaries: list[Summary] = []
        room = FRAME_BYTES_MAX
        for slot in node.turns(self._form.sequences, self._form.built):
            summary = self._form.summary(slot, node.base(slot))
            room -= len(summary.body) + SUMMARY_HEADER_BYTES
            if room < 0 and summaries:
                break
            carried.append(slot)
            summaries.append(summary)
        return carried, summaries

    # ---- answers -------------------------------------------------------------------------------------------------

    def answered(self, node: str, message: int, answer: SoftStateAnswer, now: float) -> None:
        """Takes a node's answer to the message of that number."""
        if node in self._nodes:
            self._nodes[node].answered(message, answer, self._epoch, now)
        if answer.outdated and answer.epoch >= self._epoch:
            self._behind = max(self._behind, answer.epoch)

    def failed(self, node: str, message: int, error: str, *, retryable: bool, now: float) -> None:
        """Takes note that the message of that number got no answer, or was refused as a whole (not `retryable`)."""
        if node in self._nodes:
            self._nodes[node].failed(message, error, retryable=retryable, now=now)

    @property
    def behind(self) -> int:
        """The epoch that the sender must go above, 0 where its own is the highest that any node knows."""
        return self._behind

    def restart(self, epoch: int, now: float) -> None:
        """Begins a new epoch, which the store holds durably already: sequences start anew, every node is owed all."""
        if epoch <= max(self._behind, self._epoch):
            raise ValueError(f"epoch {epoch} is not above {max(self._behind, self._epoch)}")
        self._epoch = epoch
        self._behind = 0
        self._form.restart()
        for node in self._nodes.values():
            node.restarted(now)

    # ---- what an operator sees -----------------------------------------------------------------------------------

    def progress(self, now: float) -> list[NodeProgress]:
        """How far each node has taken the updates, in the order of the settings."""
        return [node.progress(self._form.sequences, now) for node in self._nodes.values()]

    def lags_s(self, now: float) -> dict[str, float]:
        """For each node the age of the oldest addition that it may lack, 0 where there is none."""
        return {name: node.lag_s(now) for name, node in self._nodes.items()}

    @property
    def deletions(self) -> int:
        """How many names the filters show that the catalog does not hold any more."""
        return int(self._deletions.counts.sum())

    def content(self, slot: int) -> Any:
        """A built slot as nodes are told of it, to compare."""
        return self._form.content(slot)

    def status(self, now: float) -> SenderStatus:
        """What is sent, and what each node is owed. `position` is what the summaries reflect."""
        return SenderStatus(
            site=self._identity.site,
            epoch=self._epoch,
            position=self._lag.position,
            slots=self._index.slots,
            size_class=self.size_class,
            names=self.names,
            expected_false_positive_rate=self._form.rate(self._fullest),
            nodes=self.progress(now),
            ring=self._index.ring.version,
        )
