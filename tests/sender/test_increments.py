"""What a sender tells of changes: increments to who is a little behind, whole slots to others, deletions in time."""

import numpy as np
from catalog_double import RATE, SLOTS, START, Catalog, a_name_of, current, index, sent_slots, settled

from reploc import bloom, digest
from reploc.difference import from_bytes
from reploc.sender.additions import ADDITIONS_MAX, Additions
from reploc.sender.news import News
from reploc.wire import SlotAnswer, SoftStateAnswer

#: Names of a catalog whose slots are large enough for increments and for deletions that wait.
MANY = 3_000
REBUILD_S = 60.0


def is_the_truth(catalog: Catalog, slot: int) -> bool:
    """Whether the slot's filter is the one of exactly the names that the catalog holds."""
    (truth,) = catalog.read(np.array([slot]))
    return catalog.sender.content(slot) == (truth.size_class, truth.bits)


def test_an_added_name_is_told_as_the_bits_that_it_sets() -> None:
    catalog = settled(names=MANY)
    name = a_name_of(3)
    catalog.write({name}, set(), START + 1)
    assert catalog.build(START + 2) == []
    ((summary,),) = [message.summaries for message in catalog.send(START + 2)]
    assert (summary.slot, summary.from_seq, summary.to_seq) == (3, 1, 2)
    difference, _ = from_bytes(summary.body)
    shape = bloom.geometry(catalog.sender.size_class, RATE)
    assert set(difference.set.tolist()) <= set(bloom.bit_numbers(digest.of([name]), shape)[0].tolist())
    assert len(difference.clear) == 0
    assert is_the_truth(catalog, 3)


def test_a_node_that_is_behind_gets_one_increment_of_all_that_it_lacks() -> None:
    catalog = settled(names=MANY)
    (send,) = catalog.sender.due(START + 30)
    for turn in range(3):
        catalog.write({a_name_of(3, turn)}, set(), START + 30 + 2 * turn)
        catalog.build(START + 32 + 2 * turn)
    catalog.sender.failed(send.node, send.message.message, "no answer", retryable=True, now=START + 40)
    (message,) = catalog.send(START + 60)
    assert [(one.from_seq, one.to_seq) for one in message.summaries] == [(1, 4)]


def test_a_node_that_is_too_far_behind_gets_the_slot_whole() -> None:
    catalog = settled(names=MANY)
    (send,) = catalog.sender.due(START + 30)
    catalog.write({a_name_of(3, turn) for turn in range(20)}, set(), START + 30)
    catalog.build(START + 32)
    catalog.sender.answered(send.node, send.message.message, current(send), START + 32)
    (message,) = catalog.send(START + 32)
    assert [(one.from_seq, one.to_seq) for one in message.summaries] == [(0, 2)]


def test_a_slot_that_a_node_asks_for_again_comes_whole_whatever_the_node_holds_of_it() -> None:
    catalog = settled(names=MANY)
    catalog.write({a_name_of(3)}, set(), START + 1)
    catalog.build(START + 2)
    (send,) = catalog.sender.due(START + 2)
    assert send.message.summaries[0].from_seq == 1
    held = [(slot, 1) for slot in range(SLOTS)]
    spoiled = [SlotAnswer(3, "resend", "checksum")]
    again = SoftStateAnswer(epoch=1, current=False, applied=7, slots=spoiled, held=held)
    catalog.sender.answered(send.node, send.message.message, again, START + 2)
    (message,) = catalog.send(START + 4)
    assert [(one.slot, one.from_seq) for one in message.summaries] == [(3, 0)]


def test_what_a_node_says_to_hold_is_where_its_increments_begin() -> None:
    catalog = settled(names=MANY)
    (send,) = catalog.sender.due(START + 30)
    for turn in range(2):
        catalog.write({a_name_of(3, turn)}, set(), START + 30 + 2 * turn)
        catalog.build(START + 32 + 2 * turn)
    held = [(slot, 2 if slot == 3 else 1) for slot in range(SLOTS)]
    catalog.sender.answered(
        send.node, send.message.message, SoftStateAnswer(epoch=1, current=False, applied=7, held=held), START + 35
    )
    (message,) = catalog.send(START + 35)
    assert [(one.slot, one.from_seq, one.to_seq) for one in message.summaries] == [(3, 2, 3)]


# ---- deletions -------------------------------------------------------------------------------------------------------


def test_a_deleted_name_is_shown_until_its_slot_is_built_a_rebuild_interval_later() -> None:
    catalog = settled(index(rebuild_interval_s=REBUILD_S), names=MANY)
    catalog.write(set(), {catalog.held(3)}, START + 1)
    catalog.write(set(), {catalog.held(3)}, START + 50)
    assert catalog.build(START + 60.9) == []
    assert not is_the_truth(catalog, 3)
    assert catalog.sender.deletions == 2
    catalog.send(START + 60.9)
    assert catalog.build(START + 61) == [3]
    ((summary,),) = [message.summaries for message in catalog.send(START + 61)]
    difference, names = from_bytes(summary.body)
    assert (summary.from_seq, len(difference.set), names) == (1, 0, names_held(catalog, 3))
    assert len(difference.clear) > 0
    assert is_the_truth(catalog, 3)
    assert catalog.sender.deletions == 0
    assert catalog.build(START + 1000) == []


def names_held(catalog: Catalog, slot: int) -> int:
    """How many names of the slot the catalog holds."""
    return int((catalog.slots(catalog.names) == slot).sum())


def test_a_slot_of_which_a_hundredth_is_gone_is_built_soon() -> None:
    catalog = settled(index(rebuild_interval_s=REBUILD_S), names=MANY)
    for _ in range(names_held(catalog, 3) // 100 + 1):
        catalog.write(set(), {catalog.held(3)}, START + 1)
    assert catalog.build(START + 1.9) == []
    assert catalog.build(START + 2) == [3]
    assert is_the_truth(catalog, 3)


def test_a_catalog_that_lost_most_of_its_names_has_smaller_filters() -> None:
    catalog = settled(index(rebuild_interval_s=REBUILD_S), names=MANY)
    before = catalog.sender.size_class
    catalog.write(set(), {name for name in catalog.names if not name.endswith("7")}, START + 1)
    assert catalog.build(START + 2) == list(range(SLOTS))
    assert catalog.sender.size_class < before


def test_waiting_deletions_hold_neither_position_nor_age_back() -> None:
    catalog = settled(index(rebuild_interval_s=REBUILD_S), names=MANY)
    catalog.write(set(), {catalog.held(3)}, START + 1)
    (message,) = catalog.send(START + 30)
    assert (message.position, message.news_age_s) == (catalog.position, 0.0)


def test_a_deletion_during_a_build_waits_for_the_next() -> None:
    catalog = settled(index(rebuild_interval_s=REBUILD_S), names=MANY)
    catalog.write(set(), {catalog.held(3)}, START + 1)
    builds, position = catalog.read(catalog.sender.stale_slots(START + 61)), catalog.position
    catalog.write(set(), {catalog.held(3)}, START + 62)
    catalog.sender.rebuilt(builds, position)
    assert not is_the_truth(catalog, 3)
    assert catalog.build(START + 120) == []
    assert catalog.build(START + 61 + REBUILD_S) == [3]
    assert is_the_truth(catalog, 3)


def test_a_name_that_came_and_went_before_a_build_that_is_told_later_leaves_nothing() -> None:
    """The build's snapshot holds both commits, and neither is taken from the news of them that comes after it."""
    catalog = settled(index(rebuild_interval_s=REBUILD_S), names=MANY)
    name = a_name_of(3)
    builds = catalog.read(np.array([3]))
    catalog.sender.rebuilt(builds, catalog.position + 2)
    catalog.write({name}, set(), START + 1)
    catalog.write(set(), {name}, START + 1)
    catalog.build(START + 3)
    assert is_the_truth(catalog, 3)
    assert catalog.sender.deletions == 0


# ---- bounds ----------------------------------------------------------------------------------------------------------


def test_slots_for_which_too_much_waits_are_built_instead() -> None:
    catalog = settled(names=MANY)
    catalog.write(set(), {catalog.held(3)}, START + 1)
    catalog.sender.push()
    assert catalog.sender.stale_slots(START + 2).tolist() == [3]
    builds, position = catalog.read(np.array([3])), catalog.position
    flood = np.random.default_rng(1).integers(0, 1 << 61, size=(ADDITIONS_MAX + 1, 2), dtype=np.uint64)
    catalog.position += 1
    catalog.sender.changed(News(catalog.position, flood, flood[:0]), START + 2)
    catalog.sender.rebuilt(builds, position)
    catalog.sender.advance(START + 4)
    assert 0 in catalog.sender.stale_slots(START + 4).tolist()
    assert catalog.sender.due(START + 4)[0].message.position < catalog.position


def test_one_visit_builds_a_bounded_number_of_names_but_one_slot_always() -> None:
    counts = np.full(SLOTS, 100_000, dtype=np.int64)
    catalog = Catalog(index(), names=0)
    catalog.sender = catalog.sender_of(counts)
    assert catalog.sender.stale_slots(START).tolist() == [0]
    assert not catalog.sender.ready


def test_what_waits_is_taken_for_ready_slots_alone_and_without_what_builds_hold() -> None:
    waiting = Additions()
    digests = digest.of(["a", "b", "c"])
    waiting.note(digests, np.array([0, 1, 2]), 5)
    waiting.note(digests, np.array([0, 1, 2]), 6)
    taken, slots = waiting.take(np.array([True, True, False]), np.array([0, 5, 0]))
    assert (slots.tolist(), len(taken), waiting.count) == ([0, 0, 1], 3, 2)
    assert waiting.give_up().tolist() == [2]
    assert waiting.count == 0


# ---- freshness -------------------------------------------------------------------------------------------------------


def test_lag_is_the_age_of_the_oldest_name_that_a_node_lacks() -> None:
    catalog = settled(names=MANY)
    assert catalog.sender.lags_s(START + 10)["rli0"] == 0
    catalog.write({"a"}, set(), START + 10)
    catalog.write({"b"}, set(), START + 10.5)
    assert catalog.sender.lags_s(START + 10.75)["rli0"] == 0.75
    catalog.build(START + 11)
    (send,) = catalog.sender.due(START + 11)
    catalog.write({"c"}, set(), START + 11.5)
    catalog.sender.answered(send.node, send.message.message, current(send), START + 12)
    assert catalog.sender.lags_s(START + 13)["rli0"] == 1.5
    catalog.build(START + 13)
    assert sent_slots(catalog.send(START + 13)) != []
    assert catalog.sender.lags_s(START + 14)["rli0"] == 0
