"""The index of one node: one answer from all summaries, which are swapped in whole or not at all."""

import asyncio
import random
from collections.abc import Sequence

import numpy as np
import pytest
from sender_double import SenderDouble

from reploc import bloom, digest
from reploc.difference import DIFFERENCE_BITS_MAX, Difference
from reploc.errors import IndexMismatch, NameInvalid, SiteClaimed, SummaryInvalid
from reploc.members import IndexSettings, Node
from reploc.wire import Locations
from rli.index import Index

SETTINGS = IndexSettings(
    slots=8,
    redundancy=1,
    error_rate=1e-4,
    renewal_interval_s=10,
    expiry_s=30,
    forget_after_s=100,
    nodes=[Node(name="n", url="http://n:1")],
)


def container(size_class: int, error_rate: float) -> bytes:
    """An empty filter of this geometry as it travels."""
    shape = bloom.geometry(size_class, error_rate)
    return bloom.to_container(bloom.build(digest.of([]), shape), shape, 0)


def increment(to_set: Sequence[int], to_clear: Sequence[int]) -> dict[str, object]:
    """What makes a summary an increment that is not the sender's."""
    difference = Difference(np.array(to_set, dtype=np.uint32), np.array(to_clear, dtype=np.uint32))
    return {"from_seq": 1, "to_seq": 2, "body": difference.to_bytes(0)}


def made(bytes_max: int = 1 << 30) -> Index:
    """An index that has been up for so long that it knows all senders it has heard."""
    index = Index(SETTINGS, "n", bytes_max, now=0.0)
    look(index, 0.0, 30.0)
    return index


def look(index: Index, since: float, until: float) -> None:
    """The node looks at what has expired as often as it is to, so that it hears whoever speaks."""
    for moment in np.linspace(since, until, 31).tolist():
        index.expire(moment)


def many(index: Index, lfns: list[str], now: float = 31.0) -> Locations:
    return index.locations(lfns, digest.of(lfns), now)


async def heard(index: Index, *senders: SenderDouble, now: float = 30.0) -> None:
    for sender in senders:
        answer = await index.receive(sender.news(), now)
        assert (answer.current, answer.applied) == (True, sender.message)


async def test_one_lfn_and_many_get_the_same_answer() -> None:
    """Random sites and names, some of them nowhere, asked one by one and all together."""
    rng = random.Random(5)
    index = made()
    lfns = [f"/lfn/{number}" for number in range(300)]
    for number in range(9):
        names = rng.sample(lfns[:200], 60)
        await heard(index, SenderDouble(SETTINGS, f"S{number}", f"http://s{number}:1", f"sender-{number}", names=names))
    index.expire(45.0)
    asked = [*lfns, lfns[0]]
    together = many(index, asked, 45.0)
    assert list(together.locations) == lfns
    assert index.each_location(asked, 45.0) == [index.location(lfn, 45.0) for lfn in asked]
    for lfn in lfns:
        alone = index.location(lfn, 45.0)
        assert [site.site for site in alone.sites] == together.locations[lfn]
        assert alone.complete == (lfn not in together.incomplete)
        for site in alone.sites:
            assert (site.lrc, site.age_s) == (together.sites[site.site].lrc, together.sites[site.site].age_s)
    assert together.sites.keys() == {site for sites in together.locations.values() for site in sites}


async def test_a_node_that_was_stopped_answers_nothing_from_news_that_expired_meanwhile() -> None:
    """What was asked while it was stopped is answered before its duties are due."""
    index = made()
    await heard(index, SenderDouble(SETTINGS, "A", "http://a:1", "sender-a", names=["/a"]))
    late = 30.0 + SETTINGS.expiry_s + 1.0
    for said in (index.location("/new", late), *index.each_location(["/new", "/a"], late)):
        assert (said.complete, said.missing, said.sites) == (False, ["A"], [])
    together = many(index, ["/new", "/a"], late)
    assert (together.incomplete, together.missing, together.sites) == (["/new", "/a"], ["A"], {})
    assert index.expire(late) == ["A"], "the log is told of it all the same"
    assert index.expire(late) == []


async def test_no_lfns_are_no_answer_and_no_trouble() -> None:
    index = made()
    assert index.each_location([], 31.0) == []
    assert many(index, []) == Locations({}, [], [], {})
    await heard(index, SenderDouble(SETTINGS, names=["/a"]))
    assert many(index, []) == Locations({}, [], [], {})


async def test_a_fresh_index_is_incomplete_until_it_has_been_up_for_expiry() -> None:
    index = Index(SETTINGS, "n", 1 << 30, now=0.0)
    await heard(index, SenderDouble(SETTINGS, names=["/a"]), now=1.0)
    look(index, 0.0, 29.0)
    assert many(index, ["/a", "/b", "/a"], 29.0).incomplete == ["/a", "/b"]
    assert (index.location("/a", 29.0).complete, index.location("/b", 29.0).complete) == (False, False)
    assert many(index, ["/a", "/b"]).incomplete == ["/a", "/b"]
    index.expire(30.0)
    assert index.location("/a", 30.0).complete
    assert many(index, ["/a", "/b"]).incomplete == []


@pytest.mark.parametrize("asked", [False, True])
async def test_time_in_which_a_node_slept_is_no_time_in_which_it_heard_all_senders(asked: bool) -> None:
    """What they sent lies unread when it goes on and looks for what has expired, by its duty or for a question."""
    index = Index(SETTINGS, "n", 1 << 30, now=0.0)
    look(index, 0.0, 10.0)
    if not asked:
        index.expire(1000.0)
    assert many(index, ["/a"], 1000.0).incomplete == ["/a"]
    look(index, 1000.0, 1019.0)
    assert many(index, ["/a"], 1019.0).incomplete == ["/a"]
    look(index, 1019.0, 1020.0)
    assert many(index, ["/a"], 1020.0).incomplete == []


async def test_a_silent_site_is_missing_and_gone_from_answers() -> None:
    index = made()
    a, b = SenderDouble(SETTINGS, names=["/x"]), SenderDouble(SETTINGS, "B", "http://b:1", "sender-b", names=["/x"])
    await heard(index, a, b)
    assert many(index, ["/x"]).locations == {"/x": ["A", "B"]}
    await index.receive(b.news([]), 50.0)
    assert index.expire(60.0) == ["A"]
    said = index.location("/x", 61.0)
    assert ([site.site for site in said.sites], said.complete, said.missing) == (["B"], False, ["A"])
    assert index.expire(61.0) == []
    await index.receive(b.news([]), 80.0)
    await index.receive(b.news([]), 109.0)
    await index.receive(b.news([]), 138.0)
    index.expire(160.0)
    assert index.location("/x", 160.0).complete, "after forget_after_s a silent site is not waited for"


async def test_a_site_that_comes_back_is_complete_again_when_it_has_sent_all() -> None:
    index = made()
    sender = SenderDouble(SETTINGS, names=["/x"])
    await heard(index, sender)
    index.expire(60.0)
    answer = await index.receive(sender.news([sender.summary(slot) for slot in range(4)]), 61.0)
    assert (answer.current, answer.held) == (False, [(slot, 1) for slot in range(4)])
    assert many(index, [f"/{number}" for number in range(50)]).incomplete
    await heard(index, sender, now=62.0)
    assert many(index, ["/x"]).incomplete == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"body": b""}, "0 bytes long"),
        ({"checksum": 7}, "its header says 0000000000000007"),
        ({"body": container(5, 1e-3)}, "has error rate 0.001; expected 0.0001"),
        ({"body": container(5, 1e-4)[:-1]}, "its geometry needs"),
        ({"from_seq": 1}, "difference is 82 bytes long"),
        ({"from_seq": 2}, "sequence 1 is held, the increment is from 2"),
        (increment([1, 9], []), "checksum of slot 0 after the increment would be"),
        (increment([], [0]), "checksum of slot 0 after the increment would be"),
        (increment([5, 1 << 20], []), "bit 1048576 of slot 0 is beyond the"),
        (increment([5, 5], []), "out of order"),
        (increment([], range(DIFFERENCE_BITS_MAX + 1)), "expected at most"),
    ],
)
async def test_a_broken_summary_is_asked_for_again_and_the_last_good_one_stays(
    changes: dict[str, object], said: str
) -> None:
    index = made()
    sender = SenderDouble(SETTINGS, names=[f"/{number}" for number in range(80)])
    await heard(index, sender)
    before = many(index, sender.names, 40.0)
    sender.names = []
    sender.changed()
    whole = [sender.summary(slot) for slot in range(1, SETTINGS.slots)]
    answer = await index.receive(sender.news([sender.summary(0, **changes), *whole]), 40.0)
    assert [(slot.slot, slot.status) for slot in answer.slots] == [(0, "resend"), *((n, "ok") for n in range(1, 8))]
    assert said in answer.slots[0].reason
    assert not answer.current
    after = many(index, sender.names or list(before.locations), 40.0)
    slots = digest.slots_of(digest.of(list(before.locations)), SETTINGS.slots)
    for lfn, slot in zip(before.locations, slots.tolist(), strict=True):
        assert after.locations[lfn] == (["A"] if slot == 0 else []), lfn
    assert (await index.receive(sender.news([sender.summary(0)]), 41.0)).current
    assert set(map(tuple, many(index, list(before.locations)).locations.values())) == {()}


async def test_bits_cut_short_are_asked_for_again() -> None:
    index = made()
    sender = SenderDouble(SETTINGS, names=["/a"])
    cut = [sender.summary(slot, body=sender.summary(slot).body[:-1]) for slot in range(SETTINGS.slots)]
    answer = await index.receive(sender.news(cut), 31.0)
    assert {slot.status for slot in answer.slots} == {"resend"}
    assert answer.held == []
    assert index.location("/a", 31.0).missing == ["A"]


async def test_without_room_a_summary_is_refused_and_others_go_on_being_served() -> None:
    index = made(bytes_max=1 << 20)
    first = SenderDouble(SETTINGS, names=["/a"])
    await heard(index, first)
    large = SenderDouble(SETTINGS, "B", "http://b:1", "sender-b", names=["/a"])
    answer = await index.receive(large.news([large.summary(slot, built_for=24) for slot in range(8)]), 31.0)
    assert "memory-full" in answer.slots[-1].reason
    assert "A" in many(index, ["/a"]).locations["/a"]


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"version": 99}, IndexMismatch, "version 99"),
        ({"slots": 16}, IndexMismatch, "16 slots"),
        ({"error_rate": 1e-5}, IndexMismatch, "error rate 1e-05"),
        ({"error_rate": float("nan")}, IndexMismatch, "error rate nan"),
        ({"site": "a b"}, NameInvalid, "is not a site name"),
        ({"url": "ftp://a"}, NameInvalid, "is not http"),
        ({"sender": "another"}, SiteClaimed, "spoken for by another sender, at http://a:1"),
        ({"url": "http://elsewhere:1"}, SiteClaimed, "epoch 1 at http://elsewhere:1"),
    ],
)
async def test_a_message_that_is_refused_changes_nothing(
    changes: dict[str, object], kind: type[Exception], said: str
) -> None:
    index = made()
    sender = SenderDouble(SETTINGS, names=["/a"])
    await heard(index, sender)
    before = index.registry.members(40.0), many(index, ["/a", "/b"], 40.0)
    sender.names = ["/b"]
    sender.changed()
    with pytest.raises(kind, match=said):
        await index.receive(sender.news(**changes), 40.0)
    assert (index.registry.members(40.0), many(index, ["/a", "/b"], 40.0)) == before


async def test_a_slot_that_the_index_does_not_have_spoils_the_whole_message() -> None:
    index = made()
    sender = SenderDouble(SETTINGS, names=["/a"])
    with pytest.raises(SummaryInvalid, match="slot 8 is unknown; expected 0 to 7"):
        await index.receive(sender.news([sender.summary(0), sender.summary(8)]), 31.0)
    assert index.registry.members(31.0) == []


async def test_an_earlier_epoch_and_another_incarnation_are_outdated() -> None:
    index = made()
    sender = SenderDouble(SETTINGS, epoch=5, names=["/a"])
    await heard(index, sender)
    sender.names = []
    for changes in ({"epoch": 4}, {"incarnation": 2}):
        answer = await index.receive(sender.news(**changes), 32.0)
        assert (answer.outdated, answer.epoch, answer.slots) == (True, 5, [])
    assert many(index, ["/a"]).locations == {"/a": ["A"]}


async def test_a_new_epoch_is_served_slot_by_slot_over_the_old_one() -> None:
    index = made()
    sender = SenderDouble(SETTINGS, names=[f"/{number}" for number in range(80)])
    await heard(index, sender)
    sender.epoch, sender.message = 2, 0
    await index.receive(sender.news([]), 32.0)
    said = many(index, sender.names, 32.0)
    assert (set(map(tuple, said.locations.values())), said.incomplete) == ({("A",)}, [])
    await heard(index, sender, now=33.0)


async def test_late_messages_and_doubled_ones_do_no_harm() -> None:
    index = made()
    sender = SenderDouble(SETTINGS, names=["/old"])
    late = sender.news()
    sender.names = ["/new"]
    sender.changed()
    sender.sequences = dict.fromkeys(range(8), 2)
    newest = sender.news()
    for message in (newest, late, newest, late):
        await index.receive(message, 31.0)
    assert many(index, ["/old", "/new"]).locations == {"/old": [], "/new": ["A"]}


async def test_messages_that_are_written_at_the_same_time_end_in_the_newest() -> None:
    """Large filters take many steps each; two messages are interleaved, and a site expires under a third."""
    index = made()
    sender = SenderDouble(SETTINGS, names=["/old"])
    older = sender.news([sender.summary(slot, built_for=14) for slot in range(8)])
    sender.changed()
    sender.changed()
    sender.names = ["/new"]
    newer = sender.news([sender.summary(slot, built_for=14) for slot in range(8)])
    await asyncio.gather(index.receive(older, 31.0), index.receive(newer, 31.0))
    assert many(index, ["/old", "/new"]).locations == {"/old": [], "/new": ["A"]}
    sender.changed()
    third = asyncio.create_task(index.receive(sender.news([sender.summary(s, built_for=16) for s in range(8)]), 32.0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    index.expire(70.0)
    assert not (await third).current
    assert many(index, ["/new"], 70.0).locations == {"/new": []}
    assert index.matrix.memory().used == 0


async def test_increments_change_what_is_answered_and_late_and_doubled_ones_do_no_harm() -> None:
    index = made()
    sender = SenderDouble(SETTINGS, names=["/old", "/kept"])
    await heard(index, sender)
    first = [sender.summary(slot) for slot in range(8)]
    sender.names = ["/kept", "/new"]
    sender.changed()
    second = [sender.summary(slot) for slot in range(8)]
    late = sender.news([sender.increment(slot, first[slot]) for slot in range(8)])
    sender.names = ["/kept", "/newest"]
    sender.changed()
    newest = sender.news([sender.increment(slot, second[slot]) for slot in range(8)])
    assert {one.status for one in (await index.receive(newest, 31.0)).slots} == {"resend"}
    for message in (late, late):
        await index.receive(message, 31.0)
    assert many(index, ["/old", "/kept", "/new"]).locations == {"/old": [], "/kept": ["A"], "/new": ["A"]}
    for turn in range(2):
        answer = await index.receive(sender.news(newest.summaries), 32.0 + turn)
        assert answer.current
        await index.receive(late, 33.0)
    said = many(index, ["/old", "/kept", "/new", "/newest"]).locations
    assert said == {"/old": [], "/kept": ["A"], "/new": [], "/newest": ["A"]}


async def test_an_increment_from_before_what_is_held_leads_to_the_newest() -> None:
    """The answer to the first increment was lost: the sender tells of both from where the node was before."""
    index = made()
    sender = SenderDouble(SETTINGS, names=["/a"])
    await heard(index, sender)
    first = [sender.summary(slot) for slot in range(8)]
    sender.names = ["/a", "/b"]
    sender.changed()
    await index.receive(sender.news([sender.increment(slot, first[slot]) for slot in range(8)]), 31.0)
    sender.names = ["/a", "/b", "/c"]
    sender.changed()
    answer = await index.receive(sender.news([sender.increment(slot, first[slot]) for slot in range(8)]), 32.0)
    assert answer.current
    assert many(index, ["/a", "/b", "/c"]).locations == {"/a": ["A"], "/b": ["A"], "/c": ["A"]}
