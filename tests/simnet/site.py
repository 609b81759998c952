"""A simulated catalog with its sender: a set of names that survives a crash, and a shell that does not.

The shell is that of `lrc/updater.py` in small: a build takes its snapshot at one moment and is done later, a message
that gets no answer in time has failed, and commits are told to the sender a little after they were made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

import numpy as np
from kinds import Content
from numpy.typing import NDArray

from reploc import digest
from reploc.errors import ReplocError
from reploc.members import IndexSettings
from reploc.sender.form import Build, Form
from reploc.sender.news import News
from reploc.sender.sender import Identity, Sender, SendSoftState
from reploc.wire import SoftState, SoftStateAnswer
from simnet import summaries
from simnet.clock import Action, Clock
from simnet.network import Network
from simnet.summaries import Held

#: Seconds without an answer after which a message has failed.
TIMEOUT_S = 0.7
BUILD_S_MAX = 0.15
NOTICE_S_MAX = 0.05

Outcome = SoftStateAnswer | ReplocError
Reply = Callable[[Outcome], None]
Slots = NDArray[np.intp]


class Node(Protocol):
    """What a site needs of an index node."""

    def receive(self, message: SoftState, reply: Reply) -> None: ...


def content(names: Collection[str]) -> Content:
    """Names as a catalog's content: each is a file, and where totals are told a collection of that one file."""
    return Content(dict.fromkeys(names, 1))


@dataclass(frozen=True)
class Store:
    """What is on disk."""

    names: frozenset[str]
    position: int
    epoch: int


class Site:
    """One catalog. `nodes` are the index nodes by name."""

    def __init__(
        self,
        name: str,
        index: IndexSettings,
        network: Network,
        nodes: dict[str, Node],
        sender: str,
        kinds: Sequence[str] = ("bloom",),
    ) -> None:
        """Each process of it tells one of the `kinds` of summaries."""
        self.name = name
        self.url = f"http://{sender}:1"
        self.store = Store(frozenset(), 0, 0)
        self.sender: Sender
        self.up = False
        self.started_at = 0.0
        #: What was ever told of each slot.
        self.history: set[tuple[int, Held]] = set()
        #: Position and moment of each commit that the store holds.
        self.commits: list[tuple[int, float]] = []
        #: What its ways are called: two catalogs that claim one site have ways of their own.
        self.party = sender
        self._sender_name = sender
        self._index = index
        self._network = network
        self._clock: Clock = network.clock
        self._rng: Random = network.rng
        self._nodes = nodes
        #: Which process this is: what was begun by an earlier one comes to nothing.
        self._life = 0
        self._building = False
        #: Commits that the sender was not told of yet.
        self._notices: list[News] = []
        self._kinds = kinds
        self._summaries = summaries.ALL[kinds[0]]
        self._form: Form
        self._wakes = 0

    # ---- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """A new process on the same store, in the next epoch."""
        self.store = Store(self.store.names, self.store.position, self.store.epoch + 1)
        identity = Identity(self.name, self.url, self._sender_name, self._rng.getrandbits(64))
        counts = np.bincount(self._slots(self.store.names), minlength=self._index.slots)
        self._summaries = summaries.ALL[self._rng.choice(self._kinds) if len(self._kinds) > 1 else self._kinds[0]]
        self._form = self._summaries.form(self._index)
        self.sender = Sender(
            identity,
            self.store.epoch,
            self._index,
            counts,
            position=self.store.position,
            now=self._clock.now,
            form=self._form,
        )
        self.up = True
        self.started_at = self._clock.now
        self._life += 1
        self._building = False
        self._notices.clear()
        self.run_once()

    def stop(self) -> None:
        self.up = False
        self._life += 1

    def restore(self, backup: Store) -> None:
        """The store is again what it was, its epoch included."""
        self.stop()
        self.store = backup
        self.commits = [commit for commit in self.commits if commit[0] <= backup.position]

    # ---- writes --------------------------------------------------------------------------------------------------

    def write(self, added: set[str], removed: set[str]) -> None:
        """One commit; the sender is told a little later."""
        new, gone = added - self.store.names, removed & self.store.names
        position = self.store.position + 1
        before = self.store.names
        self.store = Store((self.store.names | new) - gone, position, self.store.epoch)
        self.commits.append((position, self._clock.now))
        if self.up:
            self._notices.append(content(before).news(content(self.store.names), position))
            self._later(self._rng.uniform(0, NOTICE_S_MAX), self._tell)

    def _tell(self) -> None:
        """In the order of the commits, whichever moment comes first."""
        self.sender.changed(self._notices.pop(0), self._clock.now)
        self.run_once()

    def truth(self, slot: int) -> Held:
        """What a node is to hold of a slot, as of now, in the sender's size class."""
        form = self._summaries.form(self._index)
        form.replace(self._build(slot, self.store.names))
        return form.content(slot)

    def _build(self, slot: int, names: frozenset[str]) -> Build:
        return self._summaries.build(self._form, slot, content(names), self._index)

    def _slots(self, names: frozenset[str] | set[str]) -> Slots:
        return digest.slots_of(digest.of(sorted(names)), self._index.slots)

    # ---- the shell -----------------------------------------------------------------------------------------------

    def run_once(self) -> None:
        """Does all that is due, and comes back when something will be."""
        if not self.up:
            return
        now = self._clock.now
        if self.sender.behind:
            epoch = max(self.store.epoch, self.sender.behind) + 1
            self.store = Store(self.store.names, self.store.position, epoch)
            self.sender.restart(epoch, now)
        self.sender.advance(now)
        self._remember()
        if not self._building and len(stale := self.sender.stale_slots(now)):
            self._begin_build(stale)
        for send in self.sender.due(now):
            self._send(send)
        self._wakes += 1
        wake = self._wakes
        pause = BUILD_S_MAX if self._building else max(self.sender.next_due(now), 1e-4)
        self._later(pause, lambda: self.run_once() if wake == self._wakes else None)

    def _begin_build(self, stale: Slots) -> None:
        """The snapshot is of a moment after the call of `stale_slots`, and the build is done some time later."""
        self._building = True
        if self._rng.random() < 0.05:
            self._later(BUILD_S_MAX, self._end_build)  # reading failed: nothing is handed over
        else:
            self._later(self._rng.uniform(0, BUILD_S_MAX), lambda: self._read(stale))

    def _read(self, stale: Slots) -> None:
        snapshot = self.store
        builds = [self._build(int(slot), snapshot.names) for slot in stale]
        half = self._rng.randrange(len(builds) + 1)
        self._hand_in(builds[:half], snapshot.position)
        rest = builds[half:]
        self._later(self._rng.uniform(0, BUILD_S_MAX), lambda: self._hand_over(rest, snapshot.position))

    def _hand_over(self, builds: list[Build], position: int) -> None:
        self._hand_in(builds, position)
        self._end_build()

    def _hand_in(self, builds: list[Build], position: int) -> None:
        self.sender.rebuilt(builds, position)
        self._remember()

    def _remember(self) -> None:
        """Puts down what nodes may be told of from now on."""
        slots = range(self._index.slots)
        self.history |= {(slot, self.sender.content(slot)) for slot in slots}

    def _end_build(self) -> None:
        self._building = False
        self.run_once()

    def _send(self, send: SendSoftState) -> None:
        there, back = (self.party, send.node), (send.node, self.party)
        number, life = send.message.message, self._life
        outcomes: list[str] = []

        def reply(outcome: Outcome) -> None:
            if isinstance(outcome, ReplocError):
                fail(outcome.detail, outcome.retryable)
            else:
                self._network.carry(back, outcome, answered)

        def answered(answer: SoftStateAnswer) -> None:
            if life == self._life:  # a late or doubled answer is the sender's to pass over
                outcomes.append("answered")
                self.sender.answered(send.node, number, answer, self._clock.now)
                self.run_once()

        def fail(error: str, retryable: bool) -> None:
            if life == self._life and not outcomes:
                outcomes.append("failed")
                self.sender.failed(send.node, number, error, retryable=retryable, now=self._clock.now)
                self.run_once()

        self._network.carry(there, send.message, lambda message: self._nodes[send.node].receive(message, reply))
        self._clock.after(TIMEOUT_S, lambda: fail("no answer", True))

    def _later(self, seconds: float, action: Action) -> None:
        """Does it then, unless the process has ended before."""
        life = self._life
        self._clock.after(seconds, lambda: action() if life == self._life else None)
