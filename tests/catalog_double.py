"""A catalog made by hand with its sender: a set of names, and a shell that builds and sends when it is told to."""

import msgspec
import numpy as np

from reploc import digest
from reploc.digest import slots_of
from reploc.members import IndexSettings, Node
from reploc.sender.news import News
from reploc.sender.sender import Identity, Sender, SendSoftState
from reploc.sender.slot_filters import SlotBuild, build_slot
from reploc.wire import SlotAnswer, SoftState, SoftStateAnswer

SLOTS = 8
RATE = 1e-2
START = 100.0


def index(nodes: int = 1, redundancy: int = 1, **changes: object) -> IndexSettings:
    settings = IndexSettings(
        slots=SLOTS,
        redundancy=redundancy,
        error_rate=RATE,
        increment_interval_s=1.0,
        increment_changes=10,
        renewal_interval_s=30.0,
        expiry_s=90.0,
        full_interval_s=10_000.0,
        nodes=[Node(name=f"rli{n}", url=f"http://rli{n}:1") for n in range(nodes)],
    )
    return msgspec.structs.replace(settings, **changes)


class Catalog:
    """A set of names with its sender, built and told of as the shell does it."""

    def __init__(self, settings: IndexSettings, names: int = 40, epoch: int = 1) -> None:
        self.index = settings
        self.names = {f"lfn{n}" for n in range(names)}
        self.position = 7
        self.sender = self.sender_of(np.bincount(self.slots(self.names), minlength=SLOTS), epoch)

    def sender_of(self, counts: np.ndarray, epoch: int = 1) -> Sender:
        """A sender that was told so many names in each slot at its start."""
        identity = Identity("cern", "http://cern:1", "store-1", incarnation=99)
        return Sender(identity, epoch, self.index, counts, position=self.position, now=START)

    @staticmethod
    def slots(names: set[str]) -> np.ndarray:
        return slots_of(digest.of(sorted(names)), SLOTS)

    def write(self, added: set[str], removed: set[str], now: float) -> None:
        self.names = (self.names | added) - removed
        self.position += 1
        self.sender.changed(News(self.position, digest.of(sorted(added)), digest.of(sorted(removed))), now)

    def build(self, now: float) -> list[int]:
        """Takes in what was added and builds what is stale; which slots that were."""
        self.sender.advance(now)
        stale = self.sender.stale_slots(now)
        self.sender.rebuilt(self.read(stale), self.position)
        return stale.tolist()

    def read(self, stale: np.ndarray) -> list[SlotBuild]:
        digests = digest.of(sorted(self.names))
        of = slots_of(digests, SLOTS)
        return [build_slot(int(slot), digests[of == slot], self.sender.size_class, RATE) for slot in stale]

    def held(self, slot: int) -> str:
        """A name of the slot that the catalog holds."""
        return next(name for name in sorted(self.names) if self.slots({name})[0] == slot)

    def send(self, now: float) -> list[SoftState]:
        """What is due, each message acknowledged as by a node that holds everything sent."""
        due = self.sender.due(now)
        for send in due:
            self.sender.answered(send.node, send.message.message, current(send), now)
        return [send.message for send in due]


def current(send: SendSoftState) -> SoftStateAnswer:
    """A node that held everything, and now holds this too."""
    slots = [SlotAnswer(summary.slot, "ok") for summary in send.message.summaries]
    return SoftStateAnswer(epoch=send.message.epoch, current=True, applied=send.message.position, slots=slots)


def settled(settings: IndexSettings | None = None, names: int = 40) -> Catalog:
    """A catalog whose nodes hold everything."""
    catalog = Catalog(settings or index(), names)
    catalog.build(START)
    catalog.send(START)
    return catalog


def a_name_of(slot: int, number: int = 0) -> str:
    names = (name for n in range(10_000) if int(Catalog.slots({name := f"new{n}"})[0]) == slot)
    return [next(names) for _ in range(number + 1)][-1]


def sent_slots(messages: list[SoftState]) -> list[int]:
    return [summary.slot for message in messages for summary in message.summaries]
