"""The conformance suite of every kind of summary: whatever a sender tells, whole or in part, its node then holds.

The Giggle paper, section 3.4, leaves open how a catalog's state is told; each way keeps these promises.
"""

from random import Random

import numpy as np
import pytest
from kinds import FILES_MAX, KINDS, Content, Kind
from msgspec.structs import replace

from reploc.errors import SummaryInvalid
from reploc.sender.form import Form
from reploc.wire import Summary
from rli.holding import Holding

SLOTS = 4
POOL = [f"/primary/dataset-{number}#{number:03d}" for number in range(300)]
SITE = 7

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


class Pair:
    """A sender's form, built, and a node that is told of it."""

    def __init__(self, kind: Kind, content: Content) -> None:
        self.kind = kind
        self.content = content
        self.form: Form = kind.form(SLOTS)
        self.holding: Holding = kind.holding(SLOTS)
        self.position = 1
        #: The sequence and checksum that the node holds of each slot.
        self.held = [(0, 0)] * SLOTS
        self.form.fit(len(POOL))
        self.rebuild(range(SLOTS))

    def rebuild(self, slots: range | list[int]) -> None:
        for build in self.kind.build(self.form, slots, self.content, SLOTS):
            self.form.replace(build)

    def become(self, content: Content) -> None:
        """A commit, taken in at once; deletions that only a build shows are built."""
        self.position += 1
        changes = self.form.changes(self.content.news(content, self.position))
        self.content = content
        self.form.add(changes.items, changes.slots)
        self.rebuild(np.unique(changes.gone).tolist())

    def tell(self, slot: int, *, whole: bool = False) -> Summary:
        """Tells the node of a slot."""
        sequence, checksum = self.held[slot]
        summary = self.form.summary(slot, 0 if whole else sequence)
        if summary.from_seq:
            self.holding.change(summary, SITE, checksum)
        else:
            for _ in self.holding.store(slot, SITE, self.holding.verified(summary)):
                pass
        self.held[slot] = summary.to_seq, summary.checksum
        return summary

    def shown(self) -> dict[str, object]:
        return self.kind.shown(self.holding, SITE, POOL)

    def agree(self) -> None:
        """The node shows what the sender has: exactly, or where that is not promised nothing less."""
        shown, truth = self.shown(), self.kind.truth(self.content)
        if self.kind.exact:
            assert shown == truth
        else:
            assert shown.keys() >= truth.keys()
            assert len(shown) <= len(truth) + 3


def some(rng: Random, count: int) -> Content:
    return Content({name: rng.randint(1, FILES_MAX) for name in rng.sample(POOL, count)})


def another(rng: Random, content: Content) -> Content:
    """A few names more, a few less."""
    gone = set(rng.sample(sorted(content.files), min(len(content.files), rng.randint(0, 3))))
    files = {name: count for name, count in content.files.items() if name not in gone}
    return Content(files | some(rng, rng.randint(0, 3)).files)


@each_kind
@pytest.mark.parametrize("seed", range(4))
def test_a_node_that_is_told_now_and_then_holds_what_the_sender_has(kind: Kind, seed: int) -> None:
    rng = Random(seed)
    pair = Pair(kind, some(rng, 120))
    increments = 0
    for _ in range(80):
        for _ in range(rng.choice([1, 1, 4])):
            pair.become(another(rng, pair.content))
        for slot in range(SLOTS):
            increments += bool(pair.tell(slot, whole=rng.random() < 0.1).from_seq)
        pair.agree()
    assert increments > 100


@each_kind
def test_a_sequence_rises_with_the_content_alone(kind: Kind) -> None:
    pair = Pair(kind, some(Random(1), 50))
    before = pair.form.sequences.copy()
    pair.become(pair.content)
    pair.rebuild(range(SLOTS))
    assert pair.form.sequences.tolist() == before.tolist()
    new = next(name for name in POOL if name not in pair.content.files)
    pair.become(Content(pair.content.files | {new: 1}))
    assert (pair.form.sequences - before).tolist().count(1) == 1
    assert (pair.form.sequences - before).sum() == 1


@each_kind
def test_an_increment_takes_any_state_since_its_base_to_the_present_one(kind: Kind) -> None:
    """A lost answer costs nothing: the sender tells again from where it believes the node, which is further."""
    rng = Random(3)
    pair = Pair(kind, some(rng, 200))
    for slot in range(SLOTS):
        pair.tell(slot)
    base = list(pair.held)
    for _ in range(3):
        pair.become(another(rng, pair.content))
    for slot in range(SLOTS):
        pair.tell(slot)
    for _ in range(2):
        pair.become(another(rng, pair.content))
    for slot in range(SLOTS):
        summary = pair.form.summary(slot, base[slot][0])
        if summary.to_seq > pair.held[slot][0]:
            pair.holding.change(summary, SITE, pair.held[slot][1])
    pair.agree()


@each_kind
def test_who_is_too_far_behind_gets_the_slot_whole(kind: Kind) -> None:
    rng = Random(4)
    pair = Pair(kind, some(rng, 30))
    for slot in range(SLOTS):
        pair.tell(slot)
    for _ in range(200):
        pair.become(another(rng, pair.content))
    assert {pair.tell(slot).from_seq for slot in range(SLOTS)} == {0}
    pair.agree()


@each_kind
def test_a_new_epoch_has_no_past(kind: Kind) -> None:
    pair = Pair(kind, some(Random(5), 60))
    pair.become(some(Random(6), 60))
    pair.form.restart()
    assert pair.form.sequences.tolist() == [1] * SLOTS
    assert {pair.form.summary(slot, 1).from_seq for slot in range(SLOTS)} == {0}


@each_kind
def test_what_is_broken_is_refused_and_changes_nothing(kind: Kind) -> None:
    rng = Random(7)
    pair = Pair(kind, some(rng, 100))
    for slot in range(SLOTS):
        pair.tell(slot)
    shown = pair.shown()
    while not (summary := pair.form.summary(0, pair.held[0][0])).from_seq:
        pair.become(another(rng, pair.content))
    whole = pair.form.summary(0, 0)
    for broken in [
        replace(whole, checksum=whole.checksum ^ 1),
        replace(whole, body=whole.body[:-1]),
        replace(whole, body=b""),
    ]:
        with pytest.raises(SummaryInvalid):
            pair.holding.verified(broken)
    for broken in [
        replace(summary, checksum=summary.checksum ^ 1),
        replace(summary, body=summary.body[:-1]),
        replace(summary, body=b""),
    ]:
        with pytest.raises(SummaryInvalid):
            pair.holding.change(broken, SITE, pair.held[0][1])
    assert pair.shown() == shown


@each_kind
def test_what_is_dropped_is_not_shown(kind: Kind) -> None:
    pair = Pair(kind, some(Random(8), 100))
    for slot in range(SLOTS):
        pair.tell(slot)
    assert pair.holding.drop(1, SITE)
    left = {name for slot in (0, 2, 3) for name in pair.content.in_slot(slot, SLOTS).files}
    assert set(pair.shown()) == left
    pair.holding.drop_site(SITE)
    assert pair.shown() == {}


@each_kind
def test_a_store_that_is_given_up_leaves_what_was_there(kind: Kind) -> None:
    pair = Pair(kind, some(Random(9), 100))
    for slot in range(SLOTS):
        pair.tell(slot)
    shown = pair.shown()
    pair.become(some(Random(10), 100))
    pair.holding.store(0, SITE, pair.holding.verified(pair.form.summary(0, 0))).close()
    assert pair.shown() == shown
