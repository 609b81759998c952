"""What an index node believes of its senders: messages in, decisions and answers compared.

The Giggle paper, section 3.3, requires of an index node that it discards the entries of a catalog from which it has had
no news in a given time, and that it needs no persistent state.
"""

import msgspec
import numpy as np
import pytest

from reploc import errors
from reploc.hierarchy import Beneath
from reploc.members import IndexSettings
from reploc.softstate import vector_hash
from reploc.wire import SOFT_STATE_VERSION, Member, SlotAnswer, SoftState, SoftStateAnswer, Summary
from rli.completeness import runs
from rli.decisions import DropSite, Forget, Settled
from rli.registry import Registry

SLOTS = 4
ALL = np.arange(SLOTS)
INDEX = IndexSettings(slots=SLOTS, renewal_interval_s=30.0, expiry_s=90.0, forget_after_s=1000.0)
START = 500.0


def summary(slot: int, sequence: int = 1) -> Summary:
    return Summary(slot, "bloom", 0, sequence, checksum=0, body=b"")


def message(
    number: int = 1, *, sequences: tuple[int, ...] = (1, 1, 1, 1), carries: str = "", **fields: object
) -> SoftState:
    """A message whose sender has these sequences, and which carries the summaries of the slots named in digits."""
    basis = SoftState(
        version=SOFT_STATE_VERSION,
        site="cern",
        sender="store-1",
        url="http://cern:1",
        slots=SLOTS,
        error_rate=INDEX.error_rate,
        epoch=1,
        incarnation=11,
        message=number,
        position=10 * number,
        news_age_s=0.0,
        vector=vector_hash(np.array(sequences, dtype=np.uint64)),
        summaries=[summary(int(slot), sequences[int(slot)]) for slot in carries],
    )
    return msgspec.structs.replace(basis, **fields)


def take(registry: Registry, what: SoftState, now: float = START, spoiled: dict[int, str] | None = None) -> Settled:
    """A message taken as the shell does it; the summaries of `spoiled` slots are broken."""
    decision = registry.receive(what, now)
    for one in decision.accepted:
        if one.slot not in (spoiled or {}):
            assert registry.applied(decision, one)
    return registry.answer(decision, spoiled or {})


def fresh() -> Registry:
    return Registry(INDEX, cells(ALL), START)


def filled() -> Registry:
    """A node that knows its one sender and holds everything of it, as of message 5."""
    registry = fresh()
    registry.learn(cells(ALL), [], START)
    answer = take(registry, message(5, carries="0123")).answer
    assert answer.current
    return registry


def complete(registry: Registry) -> list[bool]:
    return registry.complete(ALL).tolist()


# ---- news ------------------------------------------------------------------------------------------------------------


def test_a_first_renewal_is_answered_with_what_is_held_which_is_nothing() -> None:
    answer = take(fresh(), message()).answer
    assert answer == SoftStateAnswer(epoch=1, current=False, applied=0, held=[])


def test_a_node_with_no_memory_is_filled_by_the_updates_alone() -> None:
    """The Giggle paper, section 3.3: failure recovery needs no persistent replica state."""
    registry = fresh()
    first = take(registry, message(1, carries="01")).answer
    assert (first.current, first.held) == (False, [(0, 1), (1, 1)])
    second = take(registry, message(2, carries="23")).answer
    assert (second.current, second.held, second.applied) == (True, msgspec.UNSET, 20)


def test_the_summaries_of_a_message_count_before_vectors_are_compared() -> None:
    answer = take(fresh(), message(carries="0123")).answer
    assert answer.current
    assert answer.slots == [SlotAnswer(slot, "ok") for slot in range(SLOTS)]


def test_a_new_sequence_takes_the_place_of_the_old() -> None:
    registry = filled()
    assert not take(registry, message(6, sequences=(1, 2, 1, 1))).answer.current
    answer = take(registry, message(7, sequences=(1, 2, 1, 1), carries="1")).answer
    assert (answer.current, answer.applied) == (True, 70)


def test_a_whole_update_of_the_held_sequence_is_applied_again() -> None:
    registry = filled()
    assert len(registry.receive(message(6, carries="2"), START).accepted) == 1


def test_a_broken_summary_is_asked_for_again_and_the_held_one_stays() -> None:
    registry = filled()
    changed = message(6, sequences=(1, 2, 1, 1), carries="1")
    answer = take(registry, changed, spoiled={1: "checksum differs"}).answer
    assert answer.slots == [SlotAnswer(1, "resend", "checksum differs")]
    assert (answer.current, answer.held) == (False, [(slot, 1) for slot in range(SLOTS)])
    assert all(complete(registry))


def increment(slot: int, from_seq: int, to_seq: int) -> Summary:
    return msgspec.structs.replace(summary(slot, to_seq), from_seq=from_seq, checksum=to_seq)


@pytest.mark.parametrize(
    ("from_seq", "to_seq", "status", "taken"),
    [
        (5, 6, "ok", True),
        (3, 8, "ok", True),
        (6, 7, "resend", False),
        (4, 5, "ok", False),
        (2, 4, "ok", False),
    ],
    ids=["from what is held", "from before it to after it", "from after it", "known", "older than what is held"],
)
def test_an_increment_is_taken_from_any_sequence_up_to_the_held_one(
    from_seq: int, to_seq: int, status: str, taken: bool
) -> None:
    registry = filled()
    take(registry, message(6, sequences=(1, 5, 1, 1), carries="1"))
    news = message(7, sequences=(1, max(to_seq, 5), 1, 1), summaries=[increment(1, from_seq, to_seq)])
    decision = registry.receive(news, START)
    assert len(decision.accepted) == taken
    for one in decision.accepted:
        assert registry.applied(decision, one)
        assert registry.checksum(decision, 1) == to_seq
    answer = registry.answer(decision, {}).answer
    assert (answer.slots[0].status, answer.current) == (status, status == "ok")


def test_nothing_increments_a_slot_that_is_not_held_in_this_epoch() -> None:
    registry = filled()
    decision = registry.receive(message(1, epoch=2, sequences=(1, 2, 1, 1), summaries=[increment(1, 1, 2)]), START)
    assert decision.accepted == ()
    assert registry.answer(decision, {}).answer.slots[0].status == "resend"


# ---- late, doubled, reordered ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [5, 4], ids=["doubled", "late"])
def test_a_late_or_doubled_message_is_no_sign_of_life(number: int) -> None:
    registry = filled()
    take(registry, message(number, carries="0123"), START + 80)
    assert registry.expire(START + 90) == [DropSite("cern", 0)]


def test_a_late_message_moves_neither_position_nor_age() -> None:
    registry = filled()
    take(registry, message(4, position=999), START + 50)
    assert registry.applied_position("cern") == 50
    assert registry.ages(np.array([0]), START + 60).tolist() == [60.0]


def test_a_late_message_never_takes_a_slot_back() -> None:
    registry = filled()
    take(registry, message(6, sequences=(1, 3, 1, 1), carries="1"))
    decision = registry.receive(message(4, sequences=(1, 2, 1, 1), carries="1"), START)
    assert decision.accepted == ()
    assert registry.answer(decision, {}).answer.slots == [SlotAnswer(1, "ok")]


def test_a_late_message_may_still_bring_what_is_not_held() -> None:
    registry = fresh()
    take(registry, message(1))
    take(registry, message(3, carries="0"))
    answer = take(registry, message(2, carries="1")).answer
    assert answer.held == [(0, 1), (1, 1)]


def test_a_message_from_before_a_site_was_silent_brings_nothing() -> None:
    """What it tells is older than the age that is told of the site since it is heard again."""
    registry = filled()
    slow = registry.receive(message(6, sequences=(2, 1, 1, 1), carries="0"), START)
    registry.expire(START + 90)
    take(registry, message(8, sequences=(3, 1, 1, 1)), START + 95)
    assert not registry.applied(slow, slow.accepted[0])
    answer = take(registry, message(7, sequences=(2, 1, 1, 1), carries="0"), START + 96).answer
    assert answer.held == []
    assert take(registry, message(9, sequences=(3, 1, 1, 1), carries="0123"), START + 97).answer.current


def test_a_message_that_a_newer_one_overtook_settles_nothing() -> None:
    """The newer one says that something is lacking below, which the older one's word must not undo."""
    registry = fresh()
    registry.learn(cells(ALL), [], START)
    whole, lacking = (Beneath("ring", complete, [], ["cern"], 1) for complete in (True, False))
    slow = registry.receive(message(1, carries="0123", beneath=whole), START)
    for one in slow.accepted:
        assert registry.applied(slow, one)
    assert take(registry, message(2, beneath=lacking)).answer.current
    registry.answer(slow, {})
    assert not any(complete(registry))
    take(registry, message(3, beneath=whole))
    assert all(complete(registry))


def test_a_summary_overtaken_while_it_was_written_is_not_swapped_in() -> None:
    registry = filled()
    slow = registry.receive(message(6, sequences=(1, 2, 1, 1), carries="1"), START)
    take(registry, message(7, sequences=(1, 3, 1, 1), carries="1"))
    assert not registry.applied(slow, slow.accepted[0])
    assert registry.answer(slow, {}).answer.slots == [SlotAnswer(1, "ok")]


def test_a_summary_written_while_its_sender_fell_silent_is_not_swapped_in() -> None:
    registry = filled()
    slow = registry.receive(message(6, carries="1"), START)
    registry.expire(START + 90)
    assert not registry.applied(slow, slow.accepted[0])
    assert not registry.answer(slow, {}).answer.current


def test_a_summary_written_while_a_new_epoch_began_is_not_swapped_in() -> None:
    registry = filled()
    slow = registry.receive(message(6, sequences=(9, 9, 9, 9), carries="1"), START)
    take(registry, message(1, epoch=2))
    assert not registry.applied(slow, slow.accepted[0])
    assert registry.answer(slow, {}).answer.outdated


# ---- epochs ----------------------------------------------------------------------------------------------------------


def test_a_new_epoch_is_served_from_the_old_one_until_its_slots_come() -> None:
    registry = filled()
    settled = take(registry, message(1, epoch=2, carries="0"), START + 10)
    assert settled.drop is None
    assert (settled.answer.current, settled.answer.held) == (False, [(0, 1)])
    assert all(complete(registry))
    assert registry.ages(np.array([0]), START + 10).tolist() == [10.0]


def test_leftovers_of_an_old_epoch_go_when_sender_and_node_agree() -> None:
    registry = filled()
    settled = take(registry, message(1, sequences=(1, 0, 1, 0), epoch=2, carries="02"))
    assert settled.answer.current
    assert settled.drop is not None
    assert (settled.drop.site, settled.drop.number, settled.drop.slots.tolist()) == ("cern", 0, [1, 3])
    assert complete(registry) == [True, False, True, False]
    assert registry.missing_sites(ALL) == ["cern"]


@pytest.mark.parametrize(
    "fields", [{"epoch": 2}, {"epoch": 3, "incarnation": 12}], ids=["an earlier epoch", "another incarnation in it"]
)
def test_an_outdated_message_changes_nothing_and_names_the_epoch_to_go_above(fields: dict[str, int]) -> None:
    """So that a site whose catalog was restored from a backup is not muted."""
    registry = fresh()
    take(registry, message(1, epoch=3, carries="0123"))
    decision = registry.receive(message(9, sequences=(2, 2, 2, 2), carries="0123", **fields), START + 80)
    assert (decision.accepted, decision.renews) == ((), False)
    answer = registry.answer(decision, {}).answer
    assert (answer.outdated, answer.epoch, answer.current) == (True, 3, False)
    assert registry.expire(START + 90) == [DropSite("cern", 0)]


# ---- who may speak for a site ----------------------------------------------------------------------------------------


def test_a_second_sender_is_refused_until_the_first_has_expired() -> None:
    registry = filled()
    other = message(1, sender="store-2", carries="0123")
    with pytest.raises(errors.SiteClaimed, match="another sender, at http://cern:1"):
        registry.receive(other, START + 89)
    registry.expire(START + 90)
    assert take(registry, other, START + 90).answer.current
    with pytest.raises(errors.SiteClaimed):
        registry.receive(message(6), START + 91)


def test_a_refused_sender_keeps_no_claim_alive() -> None:
    registry = filled()
    with pytest.raises(errors.SiteClaimed):
        registry.receive(message(1, sender="store-2"), START + 80)
    assert registry.expire(START + 90) == [DropSite("cern", 0)]


def test_a_sender_that_moved_speaks_from_its_new_address_in_a_new_epoch() -> None:
    registry = filled()
    take(registry, message(1, epoch=2, url="http://moved:1"))
    assert registry.url(0) == "http://moved:1"


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_copy_of_a_store_at_another_address_is_refused_unless_its_epoch_is_later(epoch: int) -> None:
    """So that two copies of one store do not outbid each other for ever: the later start speaks."""
    registry = fresh()
    take(registry, message(1, epoch=2))
    with pytest.raises(errors.SiteClaimed, match="epoch 2"):
        registry.receive(message(2, epoch=epoch, incarnation=12, url="http://copy:1"), START)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"slots": 8}, errors.IndexMismatch),
        ({"error_rate": 0.5}, errors.IndexMismatch),
        ({"version": 99}, errors.IndexMismatch),
        ({"summaries": [summary(4)]}, errors.SummaryInvalid),
        ({"site": "no site"}, errors.NameInvalid),
        ({"url": "ftp://cern"}, errors.NameInvalid),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_message_that_cannot_be_right_is_refused_and_changes_nothing(
    fields: dict[str, object], error: type[errors.ReplocError]
) -> None:
    registry = fresh()
    with pytest.raises(error):
        registry.receive(message(**fields), START)
    assert registry.members(START) == []


# ---- time ------------------------------------------------------------------------------------------------------------


def test_a_sender_without_news_is_no_longer_served_but_is_missing() -> None:
    """The Giggle paper, section 3.3: soft state, whose entries time out."""
    registry = filled()
    take(registry, message(6), START + 60)
    assert registry.expire(START + 149) == []
    assert registry.expire(START + 150) == [DropSite("cern", 0)]
    assert registry.expire(START + 151) == []
    assert registry.applied_position("cern") == 0
    assert complete(registry) == [False] * SLOTS
    assert registry.missing_sites(ALL) == ["cern"]
    assert [member.state for member in registry.members(START + 150)] == ["silent"]


def test_a_silent_sender_that_speaks_again_is_asked_for_everything() -> None:
    registry = filled()
    registry.expire(START + 90)
    assert take(registry, message(6), START + 100).answer.held == []
    assert take(registry, message(7, carries="0123"), START + 101).answer.current
    assert all(complete(registry))


def test_a_late_message_of_a_silent_sender_brings_nothing() -> None:
    registry = filled()
    registry.expire(START + 90)
    assert registry.receive(message(4, carries="0123"), START + 91).accepted == ()


def test_a_silent_sender_is_forgotten_in_the_end_and_its_number_given_again() -> None:
    registry = filled()
    take(registry, message(site="ral", sender="store-2", carries="0123"), START + 500)
    registry.expire(START + 90)
    assert registry.expire(START + 1090) == [Forget("cern", 0), DropSite("ral", 1)]
    assert registry.missing_sites(ALL) == ["ral"]
    take(registry, message(site="kit", sender="store-3"), START + 1090)
    assert (registry.number("kit"), registry.number("cern")) == (0, None)
    assert complete(registry) == [False] * SLOTS


def test_age_runs_from_the_moment_whose_catalog_is_fully_applied() -> None:
    registry = filled()
    take(registry, message(6, news_age_s=2.0), START + 30)
    assert registry.ages(np.array([0]), START + 31).tolist() == [3.0]
    take(registry, message(7, sequences=(1, 2, 1, 1)), START + 60)
    assert registry.ages(np.array([0]), START + 61).tolist() == [33.0]


def test_age_counts_from_the_receipt_not_from_the_end_of_the_writing() -> None:
    registry = filled()
    decision = registry.receive(message(6), START + 30)
    registry.expire(START + 40)
    registry.answer(decision, {})
    assert registry.ages(np.array([0]), START + 40).tolist() == [10.0]


def test_what_comes_to_an_empty_node_is_as_fresh_as_its_first_message() -> None:
    registry = fresh()
    take(registry, message(1, carries="0", news_age_s=1.0), START + 10)
    assert registry.ages(np.array([0]), START + 20).tolist() == [11.0]


# ---- completeness ----------------------------------------------------------------------------------------------------


def test_a_fresh_node_is_not_complete_until_every_live_sender_must_have_spoken() -> None:
    registry = fresh()
    assert complete(registry) == [False] * SLOTS
    take(registry, message(carries="0123"), START + 1)
    registry.expire(START + 89)
    assert complete(registry) == [False] * SLOTS
    assert registry.missing_sites(ALL) == []
    registry.expire(START + 90)
    assert complete(registry) == [True] * SLOTS
    assert runs(np.flatnonzero(registry.listed())) == [(0, 3)]


def test_a_node_that_was_told_the_senders_is_complete_once_it_holds_them() -> None:
    registry = fresh()
    senders = [Member("lrc", "cern", "http://cern:1", "live", 3.0), Member("rli", "a", "http://a:1", "listed")]
    registry.learn(cells(np.array([0, 2, 3])), senders, START)
    assert complete(registry) == [False] * SLOTS
    assert registry.missing_sites(ALL) == ["cern"]
    take(registry, message(carries="012"))
    assert complete(registry) == [True, False, True, False]
    assert runs(np.flatnonzero(registry.listed())) == [(0, 0), (2, 3)]


def test_a_node_vouches_only_for_slots_that_it_owns() -> None:
    registry = Registry(INDEX, cells(np.array([1])), START)
    registry.learn(cells(ALL), [], START)
    assert complete(registry) == [False, True, False, False]
    registry.expire(START + 90)
    assert runs(np.flatnonzero(registry.listed())) == [(1, 1)]


def test_a_sender_that_a_peer_named_and_that_never_speaks_is_forgotten_as_soon_as_there() -> None:
    """Two nodes that ask each other would otherwise keep a name for ever."""
    registry = fresh()
    registry.learn(cells(ALL), [Member("lrc", "gone", "http://gone:1", "silent", 1000.0)], START)
    assert [member.state for member in registry.members(START)] == ["listed"]
    assert registry.expire(START) == []
    assert [member.state for member in registry.members(START)] == ["silent"]
    assert registry.expire(START + 90) == [Forget("gone", 0)]
    assert complete(registry) == [True] * SLOTS


def test_missing_says_for_each_slot_which_sites_are_not_held() -> None:
    registry = filled()
    take(registry, message(site="ral", sender="store-2", carries="13"))
    missing = registry.missing(np.array([3, 0, 0]))[:, :2]
    assert missing.tolist() == [[False, False], [False, True], [False, True]]
    assert registry.missing_sites(np.array([], dtype=np.intp)) == []


def cells(slots: np.ndarray) -> np.ndarray:
    """All sites of these slots."""
    share = np.zeros((SLOTS, 1), dtype=bool)
    share[slots] = True
    return share
