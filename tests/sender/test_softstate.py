"""What a catalog owes each index node: commits, builds and answers in, messages compared.

Soft state is as in the Giggle paper, section 3.3: information is sent again from time to time, so that an index node
needs no persistent state and is filled by its senders alone.
"""

from itertools import pairwise

import numpy as np
import pytest
from catalog_double import RATE, SLOTS, START, Catalog, a_name_of, current, index, sent_slots, settled

from reploc import bloom, digest
from reploc.digest import slots_of
from reploc.sender.news import NO_DIGESTS, News
from reploc.sender.sender import Identity, Sender
from reploc.sender.slot_filters import SlotBuild
from reploc.softstate import vector_hash, whole_filter
from reploc.wire import FRAME_BYTES_MAX, SlotAnswer, SoftStateAnswer

# ---- the first messages ----------------------------------------------------------------------------------------------


def test_a_sender_announces_itself_before_anything_is_built() -> None:
    catalog = Catalog(index())
    (send,) = catalog.sender.due(START)
    assert (send.message.summaries, send.message.position) == ([], 0)


def test_a_node_that_holds_nothing_of_a_sender_that_has_built_nothing_is_not_current() -> None:
    (send,) = Catalog(index()).sender.due(START)
    assert send.message.vector != vector_hash(np.zeros(SLOTS, dtype=np.uint64))


def test_each_node_is_sent_the_slots_that_it_owns() -> None:
    catalog = Catalog(index(nodes=4, redundancy=2))
    catalog.build(START)
    for send in catalog.sender.due(START):
        assert sent_slots([send.message]) == catalog.index.ring.slots_owned(send.node).tolist()
        assert send.url == f"http://{send.node}:1"


def test_the_vector_is_over_the_slots_of_that_node_alone() -> None:
    catalog = Catalog(index(nodes=4))
    catalog.build(START)
    for send in catalog.sender.due(START):
        vector = np.zeros(SLOTS, dtype=np.uint64)
        vector[catalog.index.ring.slots_owned(send.node)] = 1
        assert send.message.vector == vector_hash(vector)


def test_a_summary_is_the_filter_of_the_names_of_its_slot_and_needs_no_base() -> None:
    catalog = Catalog(index())
    catalog.build(START)
    (message,) = catalog.send(START)
    digests = digest.of(sorted(catalog.names))
    for summary in message.summaries:
        mine = digests[slots_of(digests, SLOTS) == summary.slot]
        size_class, names, bits = whole_filter(summary, RATE)
        assert (summary.from_seq, summary.to_seq, names) == (0, 1, len(mine))
        assert bits.tobytes() == bloom.build(mine, bloom.geometry(size_class, RATE)).tobytes()


def test_slots_handed_over_in_parts_are_sent_as_they_come() -> None:
    catalog = Catalog(index())
    builds = catalog.read(catalog.sender.stale_slots(START))
    catalog.sender.rebuilt(builds[:3], catalog.position)
    assert len(catalog.sender.due(START)[0].message.summaries) == 3
    assert catalog.sender.stale_slots(START).tolist() == list(range(3, SLOTS))


def test_a_message_carries_what_fits_a_frame_and_the_rest_follows() -> None:
    catalog = Catalog(index())
    big = bytes(FRAME_BYTES_MAX * 2 // 5)
    builds = [SlotBuild(slot, catalog.sender.size_class, 1, 0, big) for slot in range(SLOTS)]
    catalog.sender.stale_slots(START)
    catalog.sender.rebuilt(builds, catalog.position)
    (send,) = catalog.sender.due(START)
    assert sent_slots([send.message]) == [0, 1]
    held = SoftStateAnswer(epoch=1, current=False, applied=0, slots=[SlotAnswer(0, "ok"), SlotAnswer(1, "ok")])
    catalog.sender.answered(send.node, send.message.message, held, START)
    assert sent_slots([catalog.sender.due(START)[0].message]) == [2, 3]


def test_a_summary_larger_than_a_frame_travels_alone() -> None:
    catalog = Catalog(index())
    catalog.sender.stale_slots(START)
    big = [SlotBuild(slot, catalog.sender.size_class, 1, 0, bytes(FRAME_BYTES_MAX + 1)) for slot in range(SLOTS)]
    catalog.sender.rebuilt(big, catalog.position)
    assert sent_slots([catalog.sender.due(START)[0].message]) == [0]


def test_one_message_at_a_time_is_under_way_to_a_node() -> None:
    catalog = Catalog(index())
    catalog.build(START)
    assert len(catalog.sender.due(START)) == 1
    assert catalog.sender.due(START + 1000) == []


# ---- changes ---------------------------------------------------------------------------------------------------------


def test_a_changed_slot_is_sent_an_increment_interval_after_its_first_change_and_not_built() -> None:
    catalog = settled()
    catalog.write({a_name_of(3)}, set(), START + 10)
    catalog.write({a_name_of(3, 1)}, set(), START + 10.9)
    assert catalog.build(START + 10.99) == []
    assert catalog.send(START + 10.99) == []
    assert catalog.build(START + 11) == []
    (message,) = catalog.send(START + 11)
    assert [(one.slot, one.to_seq) for one in message.summaries] == [(3, 2)]


def test_enough_changes_are_sent_at_once() -> None:
    catalog = settled()
    catalog.write({f"new{n}" for n in range(9)}, set(), START + 10)
    catalog.build(START + 10)
    assert catalog.send(START + 10) == []
    catalog.write({"new9"}, set(), START + 10)
    catalog.build(START + 10)
    assert sent_slots(catalog.send(START + 10)) != []


def test_a_build_that_changed_nothing_keeps_its_sequence() -> None:
    catalog = settled()
    catalog.sender.rebuilt(catalog.read(np.array([3])), catalog.position)
    assert catalog.sender.due(START + 3) == []


def test_a_commit_that_the_start_counted_already_is_passed_over() -> None:
    catalog = settled()
    names = catalog.sender.status(START).names
    catalog.sender.changed(News(7, digest.of(["late"]), NO_DIGESTS), START)
    assert catalog.sender.status(START).names == names
    assert catalog.sender.next_due(START) > 1


def test_what_comes_and_goes_during_a_build_is_told_after_it() -> None:
    catalog = settled()
    catalog.write(set(), {catalog.held(3)}, START + 1)
    builds, position = catalog.read(catalog.sender.stale_slots(START + 2)), catalog.position
    assert [build.slot for build in builds] == [3]
    catalog.write({a_name_of(3)}, {catalog.held(3)}, START + 2.5)
    catalog.sender.advance(START + 4)
    catalog.sender.rebuilt(builds, position)
    catalog.sender.advance(START + 4)
    (message,) = catalog.send(START + 4)
    assert (message.summaries[0].to_seq, message.position) == (3, catalog.position)
    assert whole_filter(message.summaries[0], RATE).names == builds[0].names + 1
    assert catalog.build(START + 4) == [3]


def test_a_change_told_after_the_build_that_holds_it_makes_nothing_stale() -> None:
    catalog = settled()
    catalog.write({a_name_of(3)}, set(), START + 1)
    stale = catalog.sender.stale_slots(START + 2)
    name = a_name_of(3, 1)
    catalog.names |= {name}
    catalog.sender.rebuilt(catalog.read(stale), catalog.position + 1)
    catalog.write({name}, set(), START + 2.1)
    assert catalog.build(START + 10) == []


def test_a_build_older_than_what_is_there_is_passed_over() -> None:
    catalog = settled()
    old, position = catalog.read(np.array([3])), catalog.position
    catalog.write({a_name_of(3)}, set(), START + 1)
    catalog.build(START + 2)
    catalog.sender.rebuilt(old, position)
    (message,) = catalog.send(START + 2)
    assert [(one.slot, one.to_seq) for one in message.summaries] == [(3, 2)]


def test_news_is_as_old_as_the_first_change_that_it_lacks() -> None:
    catalog = settled()
    catalog.write({"a"}, set(), START + 29)
    catalog.write({"b"}, set(), START + 29.5)
    (message,) = catalog.send(START + 30)
    assert (message.position, message.news_age_s) == (7, 1.0)


def test_news_of_a_quiet_catalog_is_fresh() -> None:
    catalog = settled()
    catalog.write(set(), set(), START + 5)
    (message,) = catalog.send(START + 30)
    assert (message.position, message.news_age_s) == (8, 0.0)


def test_a_slot_that_outgrows_its_class_has_all_slots_built_in_a_larger_one() -> None:
    catalog = settled()
    before = catalog.sender.size_class
    catalog.write({a_name_of(3, n) for n in range(20)}, set(), START + 1)
    assert catalog.build(START + 2) == list(range(SLOTS))
    assert catalog.sender.size_class > before
    (message,) = catalog.send(START + 2)
    assert {whole_filter(one, RATE).size_class for one in message.summaries} == {catalog.sender.size_class}


def test_a_class_is_kept_while_the_fullest_slot_is_near_its_edge() -> None:
    catalog = Catalog(index(), names=0)
    room = bloom.geometry(0, RATE).names_max
    names = {a_name_of(3, n) for n in range(room + 1)}
    catalog.write(names, set(), START)
    catalog.build(START + 1)
    larger = catalog.sender.size_class
    catalog.write(set(), {min(names)}, START + 2)
    assert catalog.build(START + 3) == [3]
    assert catalog.sender.size_class == larger


# ---- time ------------------------------------------------------------------------------------------------------------


def test_a_quiet_sender_gives_a_sign_of_life_every_renewal_interval() -> None:
    catalog = settled()
    assert catalog.send(START + 29.9) == []
    (renewal,) = catalog.send(START + 30)
    assert renewal.summaries == []
    assert catalog.sender.next_due(START + 30) == pytest.approx(30)


def test_every_slot_is_sent_whole_once_in_each_full_interval_and_evenly() -> None:
    catalog = settled(index(full_interval_s=80.0, renewal_interval_s=1000.0, expiry_s=3000.0))
    moments = [(START + tick, slot) for tick in range(1, 161) for slot in sent_slots(catalog.send(START + tick))]
    assert sorted(slot for _, slot in moments) == sorted([*range(SLOTS), *range(SLOTS)])
    assert {round(later - sooner) for (sooner, _), (later, _) in pairwise(moments)} == {10}


def test_two_sites_do_not_send_their_full_updates_at_the_same_moments() -> None:
    def first_turn(site: str) -> float:
        settings = index(full_interval_s=80.0, renewal_interval_s=1000.0, expiry_s=3000.0)
        catalog = Catalog(settings)
        identity = Identity(site, f"http://{site}:1", "store", 1)
        catalog.sender = Sender(identity, 1, settings, np.zeros(SLOTS, dtype=np.int64), position=7, now=START)
        catalog.build(START)
        catalog.send(START)
        return catalog.sender.next_due(START)

    assert len({round(first_turn(f"site{n}"), 3) for n in range(10)}) == 10


def test_nothing_is_due_before_the_moment_that_was_named_and_something_is_at_it() -> None:
    catalog = settled(index(nodes=3, redundancy=2, full_interval_s=200.0))
    now = START
    for turn in range(200):
        pause = catalog.sender.next_due(now)
        assert pause > 0
        assert catalog.send(now + pause * 0.999) == [], turn
        now += pause
        if turn % 7 == 0:
            catalog.write({f"turn{turn}"}, set(), now)
        assert catalog.send(now) or catalog.build(now) or catalog.send(now), turn
        catalog.send(now)


# ---- answers ---------------------------------------------------------------------------------------------------------


def test_a_slot_asked_for_again_is_owed_again_after_a_pause() -> None:
    catalog = settled()
    catalog.write({a_name_of(3)}, set(), START + 1)
    catalog.build(START + 2)
    (send,) = catalog.sender.due(START + 2)
    again = SoftStateAnswer(epoch=1, current=False, applied=7, slots=[SlotAnswer(3, "resend", "checksum")])
    catalog.sender.answered(send.node, send.message.message, again, START + 2)
    assert catalog.sender.due(START + 2) == []
    assert sent_slots(catalog.send(START + 3)) == [3]


def test_a_node_that_tells_what_it_holds_is_owed_the_difference() -> None:
    catalog = settled()
    (send,) = catalog.sender.due(START + 30)
    held = SoftStateAnswer(epoch=1, current=False, applied=0, held=[(slot, 1) for slot in (0, 2, 5)])
    catalog.sender.answered(send.node, send.message.message, held, START + 30)
    assert sent_slots(catalog.send(START + 30)) == [1, 3, 4, 6, 7]


def test_a_node_that_lost_its_memory_is_filled_by_soft_state_alone() -> None:
    """The Giggle paper, section 3.3: the contents of a failed index node come again with the updates."""
    catalog = settled()
    (send,) = catalog.sender.due(START + 30)
    nothing = SoftStateAnswer(epoch=1, current=False, applied=0, held=[])
    catalog.sender.answered(send.node, send.message.message, nothing, START + 30)
    assert sent_slots(catalog.send(START + 30)) == list(range(SLOTS))


def test_an_answer_to_another_message_says_nothing() -> None:
    catalog = settled()
    (send,) = catalog.sender.due(START + 30)
    nothing = SoftStateAnswer(epoch=1, current=False, applied=0, held=[])
    catalog.sender.answered(send.node, send.message.message - 1, nothing, START + 30)
    assert catalog.sender.progress(START + 30)[0].state == "current"
    assert catalog.sender.due(START + 31) == []


def test_a_message_without_an_answer_is_sent_again_with_the_newest_state() -> None:
    catalog = settled()
    catalog.write({a_name_of(3)}, set(), START + 1)
    catalog.build(START + 2)
    (send,) = catalog.sender.due(START + 2)
    catalog.write({a_name_of(5)}, set(), START + 2)
    catalog.sender.failed(send.node, send.message.message, "no answer", retryable=True, now=START + 3)
    catalog.build(START + 4)
    (message,) = catalog.send(START + 4)
    assert sorted(sent_slots([message])) == [3, 5]
    assert message.message == send.message.message + 1


def test_pauses_after_failures_grow_and_never_exceed_a_renewal_interval() -> None:
    """Else a node that comes back would call itself complete before it heard from every sender."""
    catalog = Catalog(index())
    now, pauses = START, []
    for _ in range(60):
        (send,) = catalog.sender.due(now)
        catalog.sender.failed(send.node, send.message.message, "refused", retryable=True, now=now)
        pauses.append(catalog.sender.progress(now)[0].retry_in_s)
        now += pauses[-1] + 1e-6
    assert pauses[0] <= 1.0
    assert pauses[0] < pauses[2] < pauses[4]
    assert all(15 <= pause <= 30 for pause in pauses[6:])


def test_a_lost_sign_of_life_is_given_again_before_the_next_is_due() -> None:
    catalog = settled()
    (send,) = catalog.sender.due(START + 30)
    catalog.sender.failed(send.node, send.message.message, "no answer", retryable=True, now=START + 31)
    assert catalog.sender.next_due(START + 31) <= 1.0
    assert len(catalog.sender.due(START + 32)) == 1


def test_a_push_ignores_pauses_and_builds_changed_slots_at_once() -> None:
    catalog = settled()
    (send,) = catalog.sender.due(START + 30)
    catalog.sender.failed(send.node, send.message.message, "no answer", retryable=True, now=START + 30)
    catalog.write({a_name_of(3)}, set(), START + 30)
    assert catalog.sender.due(START + 30) == []
    catalog.sender.push()
    assert catalog.sender.next_due(START + 30) == 0
    catalog.build(START + 30)
    assert sent_slots(catalog.send(START + 30)) == [3]
    assert catalog.sender.next_due(START + 30) > 1


def test_a_push_builds_slots_with_deletions_at_once() -> None:
    catalog = settled(index(rebuild_interval_s=1000.0), names=2_000)
    catalog.write(set(), {catalog.held(3)}, START + 1)
    assert catalog.build(START + 2) == []
    catalog.sender.push()
    assert catalog.build(START + 2) == [3]


def test_a_node_that_refuses_is_asked_again_each_renewal_interval() -> None:
    catalog = Catalog(index())
    (send,) = catalog.sender.due(START)
    catalog.sender.failed(send.node, send.message.message, "site-claimed", retryable=False, now=START)
    (progress,) = catalog.sender.progress(START)
    assert (progress.state, progress.error, progress.retry_in_s) == ("refused", "site-claimed", 30.0)
    catalog.build(START)
    assert catalog.sender.due(START + 29) == []
    assert len(catalog.sender.due(START + 30)) == 1


# ---- epochs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [1, 5], ids=["another incarnation used this epoch", "a later epoch is known"])
def test_a_sender_that_is_outdated_goes_above_the_known_epoch(known: int) -> None:
    catalog = Catalog(index(), epoch=1)
    catalog.build(START)
    (send,) = catalog.sender.due(START)
    outdated = SoftStateAnswer(epoch=known, current=False, applied=0, outdated=True)
    catalog.sender.answered(send.node, send.message.message, outdated, START)
    assert catalog.sender.behind == known
    assert catalog.sender.due(START + 100) == []
    with pytest.raises(ValueError, match="not above"):
        catalog.sender.restart(known, START)
    catalog.sender.restart(known + 1, START)
    (message,) = catalog.send(START)
    assert (message.epoch, sent_slots([message])) == (known + 1, list(range(SLOTS)))
    assert {one.to_seq for one in message.summaries} == {1}
    assert catalog.sender.behind == 0


def test_an_answer_from_before_a_new_epoch_acknowledges_nothing_in_it() -> None:
    catalog = Catalog(index(nodes=2), epoch=1)
    catalog.build(START)
    first, second = catalog.sender.due(START)
    outdated = SoftStateAnswer(epoch=3, current=False, applied=0, outdated=True)
    catalog.sender.answered(first.node, first.message.message, outdated, START)
    catalog.sender.restart(4, START)
    catalog.sender.answered(second.node, second.message.message, current(second), START)
    owed = {one.node: one.owed_slots for one in catalog.sender.progress(START)}
    assert owed == {name: len(catalog.index.ring.slots_owned(name)) for name in ("rli0", "rli1")}


# ---- what an operator sees -------------------------------------------------------------------------------------------


def test_progress_says_how_far_each_node_has_taken_the_updates() -> None:
    catalog = settled(index(nodes=2))
    before = {one.node: one for one in catalog.sender.progress(START + 4)}
    assert {(one.state, one.owed_slots, one.applied_position) for one in before.values()} == {("current", 0, 7)}
    assert before["rli0"].contact_age_s == 4
    catalog.write({f"new{n}" for n in range(50)}, set(), START + 4)
    catalog.build(START + 4)
    behind = catalog.sender.progress(START + 4)
    assert {one.state for one in behind} == {"behind"}
    assert all(one.owed_slots for one in behind)


def test_status_says_what_is_sent() -> None:
    catalog = settled()
    status = catalog.sender.status(START)
    assert (status.site, status.epoch, status.position, status.names) == ("cern", 1, 7, 40)
    assert 0 < status.expected_false_positive_rate <= RATE


def test_a_node_that_owns_no_slot_is_sent_nothing() -> None:
    catalog = Catalog(index(nodes=60))
    owners = {name for owners in catalog.index.ring.owners for name in owners}
    assert {send.node for send in catalog.sender.due(START)} == owners
    assert len(owners) < 60
