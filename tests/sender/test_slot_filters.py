"""Live filters: whatever is added and built anew, they are the filter of their names, and increments lead to it."""

from random import Random

import numpy as np
import pytest

from reploc import bloom, digest
from reploc.difference import from_bytes
from reploc.partition import Partition
from reploc.sender.placing import Placing
from reploc.sender.slot_filters import SlotFilters, build_slot
from reploc.softstate import whole_filter
from reploc.wire import Summary

SLOTS, RATE, CLASS = 4, 1e-3, 14


def names(numbers: range) -> digest.Digests:
    return digest.of([f"/lfn/{number}" for number in numbers])


def built(filters: SlotFilters, held: digest.Digests, size_class: int = CLASS) -> None:
    """Builds all slots."""
    slots = digest.slots_of(held, SLOTS)
    for slot in range(SLOTS):
        filters.replace(build_slot(slot, held[slots == slot], size_class, RATE))


class NodeDouble:
    """What a node would hold: the bits and sequence of each slot, taken from summaries alone."""

    def __init__(self) -> None:
        self.sequences = [0] * SLOTS
        self.bits: list[set[int]] = [set()] * SLOTS
        self.increments = 0

    def take(self, summary: Summary) -> None:
        slot = summary.slot
        if summary.from_seq:
            assert summary.from_seq <= self.sequences[slot]
            difference, _ = from_bytes(summary.body)
            self.bits[slot] = (self.bits[slot] | set(difference.set.tolist())) - set(difference.clear.tolist())
            self.increments += 1
        else:
            bits = whole_filter(summary, RATE).bits
            self.bits[slot] = set(np.flatnonzero(np.unpackbits(bits, bitorder="little")).tolist())
        self.sequences[slot] = summary.to_seq


def test_added_names_make_the_filter_that_is_built_from_all() -> None:
    filters = SlotFilters(Placing(Partition(SLOTS)), RATE)
    built(filters, names(range(100)))
    for first in range(100, 300, 7):
        added = names(range(first, first + 7))
        filters.add(added, digest.slots_of(added, SLOTS))
    whole = SlotFilters(Placing(Partition(SLOTS)), RATE)
    built(whole, names(range(first + 7)))
    for slot in range(SLOTS):
        ours, theirs = filters.summary(slot, 0), whole.summary(slot, 0)
        assert (ours.body, ours.checksum) == (theirs.body, theirs.checksum)


@pytest.mark.parametrize("seed", range(20))
def test_a_node_that_takes_summaries_now_and_then_holds_the_filter_of_the_names(seed: int) -> None:
    """Names come in any number, go, and are built anew, in two classes; the node is told from wherever it is."""
    rng = Random(seed)
    filters, node, held = SlotFilters(Placing(Partition(SLOTS)), RATE), NodeDouble(), set(range(300))
    built(filters, digest.of([f"/lfn/{number}" for number in sorted(held)]))
    for turn in range(60):
        more = {rng.randrange(1_000) for _ in range(rng.choice([1, 3, 20]))} - held
        held |= more
        added = digest.of([f"/lfn/{number}" for number in sorted(more)])
        filters.add(added, digest.slots_of(added, SLOTS))
        if rng.random() < 0.2:
            held -= set(rng.sample(sorted(held), rng.choice([1, 2, 50])))
            built(filters, digest.of([f"/lfn/{n}" for n in sorted(held)]), CLASS + (turn > 40))
        slot = rng.randrange(SLOTS)
        node.take(filters.summary(slot, node.sequences[slot]))
        assert node.sequences[slot] == filters.sequences[slot]
        bits = np.frombuffer(filters.content(slot)[1], dtype=np.uint8)
        assert node.bits[slot] == set(np.flatnonzero(np.unpackbits(bits, bitorder="little")).tolist())
        assert filters.summary(slot, 0).checksum == bloom.checksum(bits)
    assert node.increments > 10


def test_names_that_are_there_already_leave_the_sequence() -> None:
    filters = SlotFilters(Placing(Partition(SLOTS)), RATE)
    built(filters, names(range(100)))
    again = names(range(50))
    filters.add(again, digest.slots_of(again, SLOTS))
    assert filters.sequences.tolist() == [1] * SLOTS


def test_a_new_epoch_has_no_increments_to_what_was_before_it() -> None:
    filters = SlotFilters(Placing(Partition(SLOTS)), RATE)
    built(filters, names(range(100)))
    added = names(range(100, 110))
    filters.add(added, digest.slots_of(added, SLOTS))
    filters.restart()
    filters.add(names(range(110, 120)), digest.slots_of(names(range(110, 120)), SLOTS))
    for slot in range(SLOTS):
        assert filters.summary(slot, 1).from_seq == (1 if filters.sequences[slot] == 2 else 0)
        assert filters.summary(slot, 5).from_seq == 0


def test_one_name_costs_an_increment_of_four_bytes_a_bit() -> None:
    filters = SlotFilters(Placing(Partition(SLOTS)), RATE)
    built(filters, names(range(400)))
    added = names(range(400, 401))
    slot = int(digest.slots_of(added, SLOTS)[0])
    filters.add(added, np.array([slot]))
    increment = filters.summary(slot, 1)
    assert (increment.from_seq, increment.to_seq) == (1, 2)
    assert len(increment.body) <= 12 + 4 * bloom.geometry(CLASS, RATE).slices
