"""What a catalog owes each index node, as pure rules: current summaries, their sequences, and when to send which.

The rules (`design.md` section 6; the Giggle paper, section 3.4):

* a slot's *sequence* counts the changes of its summary within an *epoch*, from 1; it is the same for every node;
* a slot that changed is built anew within `increment_interval_s`, or at once after `increment_changes` changes;
* every node is told each slot that it owns, again whole once per `full_interval_s`, and gets a sign of life every
  `renewal_interval_s`; every message carries the newest summaries, as many as fit a frame;
* a node that knows another history of this sender says so, and the sender goes above it (`behind`, `restart`).

A shell reads the catalog, builds filters, sends messages and reports what came of them (`lrc/updater.py`):

    changed(…)                         as the writer commits
    stale_slots(now) → rebuilt(…)      read the digests of these slots, build, hand over
    due(now) → answered(…) | failed(…) send each message, report exactly one of the two
    behind → restart(epoch, now)       raise the durable epoch above it first
    next_due(now)                      how long nothing need be done
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrc.node_progress import NodeState, Sequences, Slots
from lrc.slot_lag import SlotLag
from reploc import bloom
from reploc.digest import Digests
from reploc.members import IndexSettings
from reploc.softstate import vector_hash
from reploc.wire import (
    FRAME_BYTES_MAX,
    SOFT_STATE_VERSION,
    NodeProgress,
    SenderStatus,
    SoftState,
    SoftStateAnswer,
    Summary,
)

#: Bytes of a summary beside its body: six MessagePack fields of at most nine bytes.
SUMMARY_HEADER_BYTES = 54


@dataclass(frozen=True)
class Identity:
    """Who sends. `sender` is the store's durable random name, `incarnation` 64 random bits of this start."""

    site: str
    url: str
    sender: str
    incarnation: int


@dataclass(frozen=True)
class SlotBuild:
    """The summary of one slot as it was built from the catalog: packed bits of geometry(size_class)."""

    slot: int
    size_class: int
    names: int
    checksum: int
    bits: bytes


@dataclass(frozen=True)
class SendSoftState:
    """To do: send this message to this node, then report `answered` or `failed`."""

    node: str
    url: str
    message: SoftState


def build_slot(slot: int, digests: Digests, size_class: int, error_rate: float) -> SlotBuild:
    """The summary of a slot that holds exactly these names. Raises SummaryInvalid for a class that cannot be."""
    bits = bloom.build(digests, bloom.geometry(size_class, error_rate))
    return SlotBuild(slot, size_class, len(digests), bloom.checksum(bits), bits.tobytes())


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
    ) -> None:
        """`counts` are the names in each slot as of the catalog's `position`, shape (slots,); `epoch` is at least 1."""
        self._identity = identity
        self._index = index
        self._epoch = epoch
        self._behind = 0
        self._counts = counts.astype(np.int64)
        self._size_class = bloom.class_for(self._fullest, index.error_rate)
        self._builds: list[SlotBuild | None] = [None] * index.slots
        #: The class that each slot was built with, -1 where it was not built yet.
        self._class_of: NDArray[np.int16] = np.full(index.slots, -1, dtype=np.int16)
        #: A slot that is not built yet has the sequence that its first build will have, so that no node that lacks it
        #: takes itself for current.
        self._sequences: Sequences = np.ones(index.slots, dtype=np.uint64)
        self._lag = SlotLag(index.slots, position, now)
        self._build_pushed = False
        self._nodes = _states_of_nodes(identity.site, index, now)

    # ---- the catalog's changes -----------------------------------------------------------------------------------

    @property
    def size_class(self) -> int:
        """The capacity class that slots are to be built with; it changes in `stale_slots` alone."""
        return self._size_class

    @property
    def epoch(self) -> int:
        return self._epoch

    @property
    def _fullest(self) -> int:
        return int(self._counts.max(initial=0))

    def changed(self, added: Slots, removed: Slots, position: int, now: float) -> None:
        """Takes note of a commit: the slot of each LFN that came or went, with repetitions. Both may be empty.

        Commits come in order of position; one that the counts given at the start include already is passed over.
        """
        if position <= self._lag.catalog_position:
            return
        slots = self._index.slots
        self._counts += np.bincount(added, minlength=slots) - np.bincount(removed, minlength=slots)
        touched = np.unique(np.concatenate([added, removed])).astype(np.intp)
        self._lag.changed(touched, len(added) + len(removed), position, now)

    def stale_slots(self, now: float) -> Slots:
        """The slots to build now from one snapshot, ascending, with `size_class`; none where none is due yet.

        The snapshot must be taken after this call. Raises SummaryInvalid: a slot has more names than any filter takes.
        """
        stale = self._class_of != self._size_class
        if self._build_pushed or self._lag_due_at() <= now:
            self._size_class = bloom.class_for(self._fullest, self._index.error_rate, self._size_class)
            stale = self._lag.lagging | (self._class_of != self._size_class)
        if stale.any():
            self._lag.build_begins(now)
        self._build_pushed = False
        return np.flatnonzero(stale)

    def rebuilt(self, builds: Iterable[SlotBuild], position: int) -> None:
        """Takes summaries built from a snapshot at `position`; where the content changed the sequence rises.

        A long round may come in several parts; a build older than what is there is passed over.
        """
        fresh = [build for build in builds if self._lag.is_newer(build.slot, position)]
        for build in fresh:
            before = self._builds[build.slot]
            if before is not None and before != build:
                self._sequences[build.slot] += np.uint64(1)
            self._builds[build.slot] = build
            self._class_of[build.slot] = build.size_class
        self._lag.reflected(np.array([build.slot for build in fresh], dtype=np.intp), position)

    def _lag_due_at(self) -> float:
        return self._lag.due_at(self._index.increment_interval_s, self._index.increment_changes)

    # ---- messages ------------------------------------------------------------------------------------------------

    def due(self, now: float) -> list[SendSoftState]:
        """The messages to send now, at most one per node; each must be reported `answered` or `failed`.

        There are none while the sender is `behind`: they would be refused.
        """
        if self._behind:
            return []
        return [
            SendSoftState(node.name, node.url, self._message(node, now))
            for node in self._nodes.values()
            if node.wants(self._sequences[node.owned], self._built(node), now)
        ]

    def next_due(self, now: float) -> float:
        """Seconds until `stale_slots` or `due` will have something, if nothing happens before; 0 where it has."""
        if self._build_pushed or (self._class_of != self._size_class).any():
            return 0.0
        moments = [now + self._index.renewal_interval_s, self._lag_due_at()]
        if not self._behind:
            moments += [
                node.next_due(self._sequences[node.owned], self._built(node), now) for node in self._nodes.values()
            ]
        return max(0.0, min(moments) - now)

    def push(self) -> None:
        """Makes changed slots and a message to every node due at once, whatever failed before."""
        self._build_pushed = bool(self._lag.lagging.any())
        for node in self._nodes.values():
            node.push()

    def _built(self, node: NodeState) -> NDArray[np.bool_]:
        built: NDArray[np.bool_] = self._class_of[node.owned] >= 0
        return built

    def _message(self, node: NodeState, now: float) -> SoftState:
        sequences = self._sequences[node.owned]
        carried, summaries = self._summaries_that_fit(node)
        vector = np.zeros(self._index.slots, dtype=np.uint64)
        vector[node.owned] = sequences
        return SoftState(
            version=SOFT_STATE_VERSION,
            site=self._identity.site,
            sender=self._identity.sender,
            url=self._identity.url,
            slots=self._index.slots,
            error_rate=self._index.error_rate,
            epoch=self._epoch,
            incarnation=self._identity.incarnation,
            message=node.leaves(self._epoch, sequences, carried, now),
            position=self._lag.position,
            news_age_s=self._lag.age_s(now),
            vector=vector_hash(vector),
            summaries=summaries,
        )

    def _summaries_that_fit(self, node: NodeState) -> tuple[list[int], list[Summary]]:
        """As many owed summaries as fit a frame, always one, and which of the node's slots they are."""
        carried: list[int] = []
        summaries: list[Summary] = []
        room = FRAME_BYTES_MAX
        for at in node.turns(self._sequences[node.owned], self._built(node)):
            summary = self._whole(int(node.owned[at]))
            room -= len(summary.body) + SUMMARY_HEADER_BYTES
            if room < 0 and summaries:
                break
            carried.append(at)
            summaries.append(summary)
        return carried, summaries

    def _whole(self, slot: int) -> Summary:
        """A slot's whole filter, which needs no base; increments would choose another kind here."""
        build = self._builds[slot]
        assert build is not None, f"slot {slot} was chosen before it was built"
        bits = np.frombuffer(build.bits, dtype=np.uint8)
        return Summary(
            slot=slot,
            kind="bloom",
            from_seq=0,
            to_seq=int(self._sequences[slot]),
            checksum=build.checksum,
            body=bloom.to_container(bits, bloom.geometry(build.size_class, self._index.error_rate), build.names),
        )

    # ---- answers -------------------------------------------------------------------------------------------------

    def answered(self, node: str, message: int, answer: SoftStateAnswer, now: float) -> None:
        """Takes a node's answer to the message of that number."""
        self._nodes[node].answered(message, answer, self._epoch, now)
        if answer.outdated and answer.epoch >= self._epoch:
            self._behind = max(self._behind, answer.epoch)

    def failed(self, node: str, message: int, error: str, *, retryable: bool, now: float) -> None:
        """Takes note that the message of that number got no answer, or was refused as a whole (not `retryable`)."""
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
        self._sequences[:] = 1
        for node in self._nodes.values():
            node.restarted(now)

    # ---- what an operator sees -----------------------------------------------------------------------------------

    def progress(self, now: float) -> list[NodeProgress]:
        """How far each node has taken the updates, in the order of the settings."""
        return [node.progress(self._sequences[node.owned], now) for node in self._nodes.values()]

    def status(self, now: float) -> SenderStatus:
        """What is sent, and what each node is owed. `position` is what the summaries reflect."""
        return SenderStatus(
            site=self._identity.site,
            epoch=self._epoch,
            position=self._lag.position,
            slots=self._index.slots,
            size_class=self._size_class,
            names=int(self._counts.sum()),
            expected_false_positive_rate=bloom.geometry(self._size_class, self._index.error_rate).rate(self._fullest),
            nodes=self.progress(now),
        )


def _states_of_nodes(site: str, index: IndexSettings, now: float) -> dict[str, NodeState]:
    """One state per node that owns a slot; a node that owns none is sent nothing."""
    owned: dict[str, list[int]] = {node.name: [] for node in index.nodes}
    for slot, owners in enumerate(index.ring.owners):
        for name in owners:
            owned[name].append(slot)
    return {
        node.name: NodeState(node, np.array(owned[node.name], dtype=np.intp), site, index, now)
        for node in index.nodes
        if owned[node.name]
    }
