"""One index node as a sender sees it: what it is owed, what is under way to it, and when it is next spoken to.

A node is owed a slot while the sequence that it acknowledged is not the slot's own; where that sequence is known to be
of the node, an increment from it will do. One message at a time is under way to a node, so that what is owed to a slow
one is a vector of sequences and never a queue. After a failure the sender holds back, for longer each time but never
longer than one renewal interval: a node that comes back hears from every sender within the `expiry_s` after which it
believes that it knows them all (the Giggle paper, section 3.3: an index node that failed is filled again by soft state
alone).

When the ring changes, a node is owed the slots that it gains at once. Those that it loses it is told of for a while
longer, because clients that do not know of the change yet ask it; then it is told to drop them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from reploc import digest
from reploc.members import IndexSettings, Node
from reploc.names import require_url
from reploc.wire import NodeProgress, SoftStateAnswer

Slots = NDArray[np.intp]
Sequences = NDArray[np.uint64]
Flags = NDArray[np.bool_]

#: Doublings after which the pause has reached its cap under all settings that are allowed.
_DOUBLINGS_MAX = 32


@dataclass(frozen=True)
class UnderWay:
    """The one message that a node has not answered yet: the slots that the node was told of then, with their sequences
    when it was written, and those that it was told to drop."""

    message: int
    epoch: int
    told: Flags
    sequences: Sequences
    dropped: Flags


class NodeState:
    """What one node is owed. Arrays have a place for every slot of the index."""

    def __init__(self, node: Node, owned: Slots, slots: int, site: str, index: IndexSettings, now: float) -> None:
        """`owned` are those of the sender's `slots` that the node is to have, ascending."""
        self.name = node.name
        self.url = require_url(node.url)
        self.under_way: UnderWay | None = None
        self._site = site
        self._index = index
        #: The slots that the node is told of: its own, and for a while those that it lost.
        self.told: Flags = np.zeros(slots, dtype=bool)
        #: Until when the node is told of a slot that it lost; infinite for all others.
        self._told_until: NDArray[np.float64] = np.full(slots, np.inf)
        #: Slots that the node holds, or may hold, and is not told of any more.
        self._drop: Flags = np.zeros(slots, dtype=bool)
        #: The sequence that the node holds of each slot, as far as it said; 0 where it holds none.
        self._acknowledged: Sequences = np.zeros(slots, dtype=np.uint64)
        #: Slots to send whole, whether or not they changed: their turn of the full update has come, or the node asked.
        self._refresh: Flags = np.zeros(slots, dtype=bool)
        self._next_slot = 0
        self._messages = 0
        self._renew_at = now
        self._retry_at = now
        self._pushed = False
        self._failures = 0
        self._current = False
        self._trouble: Literal["", "unreachable", "refused"] = ""
        self._error = ""
        self._contact_at: float | None = None
        self._applied = 0
        #: The moment of the oldest addition that the node may lack, and that it will lack when it has applied what is
        #: under way; infinite where there is none.
        self._lacks_since = now
        self._will_lack_since = now
        self.own(node, owned, index, now, index.expiry_s)

    # ---- the node's share of the ring ----------------------------------------------------------------------------

    def own(self, node: Node, owned: Slots, index: IndexSettings, now: float, keeps_s: float) -> None:
        """From now on the node owns these slots, ascending, which may be none, and answers where `node` says; of those
        that it lost it is told for `keeps_s` longer."""
        self.url = require_url(node.url)
        self._index = index
        mine: Flags = np.zeros_like(self.told)
        mine[owned] = True
        gained, lost = mine & ~self.told, self.told & ~mine
        self._told_until[mine] = np.inf
        self._told_until[lost] = np.minimum(self._told_until[lost], now + keeps_s)
        self.told |= mine
        self._drop &= ~mine
        if gained.any():
            self._acknowledged[gained] = 0
            self.changed(now)
        self._begin_full_updates(owned, now)

    def _begin_full_updates(self, owned: Slots, now: float) -> None:
        self._turns = owned
        self._refreshed = 0
        self._refresh_step_s = self._index.full_interval_s / len(owned) if len(owned) else float("inf")
        #: Up to a step ago, by the names of site and node, so that the slots of many senders do not arrive together.
        self._refresh_from = now
        if len(owned):
            self._refresh_from -= _fraction(f"{self._site} {self.name}") * self._refresh_step_s

    def let_go(self, now: float) -> bool:
        """Ends the telling of lost slots when its time is over; whether the node is told of any slot still."""
        over = self._told_until <= now
        if over.any():
            self.told &= ~over
            self._drop |= over
            self._refresh &= ~over
            self._told_until[over] = np.inf
        return bool(self.told.any())

    # ---- when ----------------------------------------------------------------------------------------------------

    def wants(self, sequences: Sequences, built: Flags, now: float) -> bool:
        """Whether a message should leave now. `sequences` and `built` are those of all slots."""
        return self.next_due(sequences, built, now) <= now

    def next_due(self, sequences: Sequences, built: Flags, now: float) -> float:
        """The moment of the next message, infinite while one is under way."""
        if self.under_way is not None:
            return float("inf")
        self._mark_refresh(now)
        if self._pushed:
            return now
        if self._drop.any() or self._sendable(sequences, built).any():
            return self._retry_at
        return max(self._retry_at, min(self._renew_at, self._refresh_at()))

    def lets_go_at(self) -> float:
        """When `let_go` will have something to do; infinite where it will not."""
        return float(self._told_until.min())

    def push(self) -> None:
        """Makes a message due at once, whatever went wrong before."""
        self._pushed = True

    def _refresh_at(self) -> float:
        return self._refresh_from + (self._refreshed + 1) * self._refresh_step_s

    def _mark_refresh(self, now: float) -> None:
        """Marks the slots whose turn has come: each once per full interval, in ascending order, evenly spread."""
        if now < self._refresh_at():
            return
        count = len(self._turns)
        turns = max(self._refreshed + 1, int((now - self._refresh_from) / self._refresh_step_s))
        first = max(self._refreshed, turns - count)
        self._refresh[self._turns[np.arange(first, turns) % count]] = True
        self._refreshed = turns

    # ---- what ----------------------------------------------------------------------------------------------------

    def _owed(self, sequences: Sequences) -> Flags:
        owed: Flags = self.told & (self._acknowledged != sequences)
        return owed

    def _sendable(self, sequences: Sequences, built: Flags) -> Flags:
        return (self._owed(sequences) | self._refresh) & built

    def turns(self, sequences: Sequences, built: Flags) -> Iterator[int]:
        """The slots to send, starting behind the last one sent so that none starves."""
        ready = np.flatnonzero(self._sendable(sequences, built))
        start = int(np.searchsorted(ready, self._next_slot))
        yield from map(int, ready[start:])
        yield from map(int, ready[:start])

    def base(self, slot: int) -> int:
        """The sequence from which the node can take an increment of a slot, 0 where it is to have it whole."""
        always = self._refresh[slot] or self._index.mode == "full"
        return 0 if always else int(self._acknowledged[slot])

    def drops(self) -> list[int]:
        """The slots that the next message tells the node to drop."""
        return np.flatnonzero(self._drop).tolist()

    def changed(self, now: float) -> None:
        """Takes note that names were added to the catalog."""
        self._lacks_since = min(self._lacks_since, now)
        self._will_lack_since = min(self._will_lack_since, now)

    def leaves(self, epoch: int, sequences: Sequences, carried: list[int], lacks_since: float, now: float) -> int:
        """Takes note that a message leaves with these slots; its number, which only rises.

        `lacks_since` is the moment of the oldest addition that the sequences do not reflect.
        """
        self._will_lack_since = lacks_since
        self._messages += 1
        self._pushed = False
        self._renew_at = now + self._index.renewal_interval_s
        if carried:
            self._next_slot = carried[-1] + 1
        self.under_way = UnderWay(self._messages, epoch, self.told.copy(), sequences.copy(), self._drop.copy())
        return self._messages

    # ---- what came of it -----------------------------------------------------------------------------------------

    def answered(self, message: int, answer: SoftStateAnswer, epoch: int, now: float) -> None:
        """Takes the node's word for what it holds. A word about another message, or an earlier epoch, says nothing."""
        sent = self.under_way
        if sent is None or sent.message != message:
            return
        self.under_way = None
        self._contact_at = now
        self._trouble = ""
        self._error = ""
        if sent.epoch != epoch or answer.outdated:
            return
        self._applied = answer.applied
        self._current = answer.current
        if answer.current:
            self._lacks_since = self._will_lack_since
        self._acknowledge(sent, answer)
        self._hold_back_if_refused(answer, now)

    def _acknowledge(self, sent: UnderWay, answer: SoftStateAnswer) -> None:
        self._drop &= ~sent.dropped
        for one in answer.slots:
            if one.slot < len(self.told) and self.told[one.slot]:
                self._acknowledged[one.slot] = sent.sequences[one.slot] if one.status == "ok" else 0
                self._refresh[one.slot] = one.status != "ok"
        if answer.current:
            self._acknowledged[sent.told] = sent.sequences[sent.told]
        elif answer.held is not UNSET:
            self._take_held(answer.held)

    def _take_held(self, held: list[tuple[int, int]]) -> None:
        """The node's word for all that it holds. What it is not told of would keep its hash from ever being right."""
        self._acknowledged[:] = 0
        for slot, sequence in held:
            if slot < len(self.told):
                self._acknowledged[slot] = sequence
                self._drop[slot] |= not self.told[slot]

    def _hold_back_if_refused(self, answer: SoftStateAnswer, now: float) -> None:
        """A node that asks for what it was just sent would otherwise be sent it for ever, without a pause."""
        asked = [slot for slot in answer.slots if slot.status == "resend"]
        if not asked:
            self._failures = 0
            self._retry_at = now
            return
        self._error = f"slot {asked[0].slot}: {asked[0].reason}"
        self._hold_back(now)

    def failed(self, message: int, error: str, *, retryable: bool, now: float) -> None:
        """Takes note that no answer came (`retryable`), or that the node refused the message as a whole."""
        if self.under_way is None or self.under_way.message != message:
            return
        self.under_way = None
        self._error = error
        self._trouble = "unreachable" if retryable else "refused"
        self._current = False
        self._renew_at = now
        if retryable:
            self._hold_back(now)
        else:
            self._retry_at = now + self._index.renewal_interval_s

    def _hold_back(self, now: float) -> None:
        """Waits twice as long at each failure in a row, up to a renewal interval; half of it depends on the name."""
        longest = self._index.renewal_interval_s
        pause = min(longest, self._index.increment_interval_s * 2.0 ** min(self._failures, _DOUBLINGS_MAX))
        self._failures += 1
        self._retry_at = now + pause * (0.5 + 0.5 * _fraction(f"{self._site} {self.name} {self._failures}"))

    def restarted(self, now: float) -> None:
        """In a new epoch the node holds nothing yet. Message numbers go on; what is under way is answered first."""
        self._acknowledged[:] = 0
        self._lacks_since = min(self._lacks_since, now)
        self._current = False
        self._renew_at = now

    # ---- what an operator sees -----------------------------------------------------------------------------------

    def progress(self, sequences: Sequences, now: float) -> NodeProgress:
        """How far the node has taken the updates; `sequences` are those of all slots."""
        owed = int(np.count_nonzero(self._owed(sequences)))
        return NodeProgress(
            node=self.name,
            url=self.url,
            state=self._state(owed),
            owed_slots=owed,
            applied_position=self._applied,
            contact_age_s=None if self._contact_at is None else now - self._contact_at,
            retry_in_s=max(0.0, self._retry_at - now),
            error=self._error,
            lag_s=self.lag_s(now),
        )

    def lag_s(self, now: float) -> float:
        """The age of the oldest addition that the node may lack, 0 where there is none."""
        return max(0.0, now - self._lacks_since)

    def _state(self, owed: int) -> Literal["current", "behind", "unreachable", "refused"]:
        if self._trouble:
            return self._trouble
        return "current" if self._current and not owed else "behind"


def _fraction(text: str) -> float:
    """A number in [0, 1) that depends on the text alone: spread without a source of randomness."""
    return float(digest.of([text])[0, 0] >> np.uint64(11)) / float(1 << 53)
