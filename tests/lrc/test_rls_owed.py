"""What an index server of the Globus RLS is owed, and when: the rules alone, against a catalog that is a list of names.

The world in the last test draws what happens: commits, pages, answers that are lost, restarts of either side.
"""

from random import Random

import pytest

from lrc.layout import StoredIndex
from lrc.rls.filter import GrownFilter
from lrc.rls.owed import ATTEMPTS_MAX, Owed, Step
from lrc.settings import LrcRlsSettings
from reploc.rls.bloom import RlsFilter, hashes
from reploc.rls.feeding import Pace

LISTS = StoredIndex("rlsn://h:1", False)


def pace(**changes: object) -> Pace:
    return LrcRlsSettings(**changes).pace  # type: ignore[arg-type]


def told(position: int = 7, **changes: object) -> Owed:
    """A server of lists that was told everything up to the catalog's position at moment 0."""
    owed = Owed(StoredIndex("rlsn://h:1", False, (), position), pace(**changes), position, 0.0)
    assert owed.step(0.0) is Step.PAGE
    owed.begin_full(position)
    owed.paged(None, 0.0)
    assert (owed.settled, owed.step(0.0)) == (position, None)
    return owed


def test_changes_wait_for_the_buffer_or_for_their_number() -> None:
    owed = told()
    owed.changed(1, 8, 10.0)
    assert (owed.step(39.9), owed.step(40.0)) == (None, Step.CHANGES)
    assert owed.due_in(10.0) == 30.0
    owed.changed(199, 9, 11.0)
    assert owed.step(11.0) is Step.CHANGES
    owed.caught_up(9, 12.0, last=True)
    assert (owed.step(12.0), owed.lag_s(12.0), owed.settled) == (None, 0.0, 9)


def test_a_commit_that_comes_while_changes_are_sent_is_owed_still() -> None:
    owed = told()
    owed.changed(200, 8, 1.0)
    owed.changed(1, 9, 2.0)
    owed.caught_up(8, 3.0, last=True)
    assert owed.lag_s(5.0) == 4.0
    assert owed.step(3.0) is Step.CHANGES


def test_full_updates_come_again_and_with_a_factor_only_while_changes_are_told() -> None:
    owed = told(list_interval_s=100.0, factor=10)
    assert (owed.step(999.0), owed.step(1000.0)) == (None, Step.PAGE)
    owed.paced(pace(list_interval_s=100.0, factor=10, immediate=False), 50.0)
    assert owed.step(150.0) is Step.PAGE


def test_changes_go_out_between_pages_and_all_of_them_before_the_first() -> None:
    owed = told(list_interval_s=100.0, immediate=False)
    owed.changed(1, 8, 1.0)
    assert owed.step(99.0) is None
    assert owed.step(100.0) is Step.CHANGES
    owed.caught_up(8, 100.0, last=True)
    owed.changed(1, 9, 100.0)
    assert owed.step(100.0) is Step.PAGE, "what comes meanwhile does not put the full update off for ever"
    lively = told(list_interval_s=100.0)
    lively.begin_full(7)
    lively.paged("/a", 100.0)
    lively.changed(200, 8, 100.0)
    assert lively.step(100.0) is Step.CHANGES
    lively.caught_up(8, 100.0, last=True)
    assert (lively.step(100.0), lively.behind) == (Step.PAGE, "/a")


def test_pauses_grow_up_to_a_bound_and_end_with_success() -> None:
    owed = told(retry_s=5.0)
    owed.changed(200, 8, 0.0)
    rests = []
    for _ in range(5):
        owed.failed("dead", 0.0)
        rests.append(owed.rests_for(0.0))
    assert rests == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert owed.step(4.9) is None
    owed.caught_up(8, 5.0, last=True)
    owed.failed("dead", 5.0)
    assert owed.rests_for(5.0) == 1.0


def test_a_server_that_lists_the_catalog_no_more_is_told_everything() -> None:
    owed = told()
    owed.connected(True, 1.0)
    assert owed.step(1.0) is None
    owed.connected(False, 1.0)
    assert (owed.step(1.0), owed.settled) == (Step.PAGE, None)
    elsewhere = told()
    elsewhere.seen(False)
    elsewhere.connected(False, 1.0)
    assert elsewhere.step(1.0) is None


def test_a_batch_is_given_up_after_so_many_answers() -> None:
    owed = told()
    assert [owed.poisoned() for _ in range(ATTEMPTS_MAX)] == [False] * (ATTEMPTS_MAX - 1) + [True]


def test_a_store_that_was_restored_from_a_backup_does_not_trust_what_it_was_told_later() -> None:
    assert Owed(StoredIndex("rlsn://h:1", False, (), 12), pace(), 12, 0.0).told == 12
    assert Owed(StoredIndex("rlsn://h:1", False, (), 13), pace(), 12, 0.0).told is None


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_the_server_ends_with_the_names_of_the_catalog(seed: int) -> None:
    print(f"seed {seed}")
    rng, now = Random(seed), 0.0
    names: set[str] = set()
    log: list[tuple[int, str]] = []
    held: set[str] = set()
    listed = False
    position = 0
    noted = 0
    owed = Owed(LISTS, pace(buffer_s=3.0, list_interval_s=40.0, retry_s=4.0), position, now)
    for step in range(600):
        now += rng.random()
        calm = step > 450
        if not calm and rng.random() < 0.4:
            position += 1
            name = f"/{rng.randrange(30):02}"
            (names.discard if name in names else names.add)(name)
            log.append((position, name))
            owed.changed(1, position, now)
        if not calm and rng.random() < 0.02:  # the server restarts, with an empty memory, and the catalog sees that
            held, listed = set(), False
            owed.failed("gone", now)
            owed.connected(listed, now)
        if owed.told is not None and rng.random() < 0.1:
            noted = owed.told
        if not calm and rng.random() < 0.02:  # the catalog is killed, and knows what it noted
            owed = Owed(StoredIndex("rlsn://h:1", False, (), noted), owed.pace, position, now)
            owed.connected(listed, now)
        todo = owed.step(now)
        lost = not calm and rng.random() < 0.1
        if todo is Step.PAGE:
            if not owed.walking:
                owed.begin_full(position)
            page = sorted(name for name in names if owed.behind is None or name > owed.behind)[:5]
            held |= set(page)
            listed = True
            owed.failed("lost", now) if lost else owed.paged(page[-1] if len(page) == 5 else None, now)
        elif todo is Step.CHANGES:
            assert owed.told is not None
            found = [(at, name) for at, name in log if at > owed.told][:4]
            for _, name in found:
                (held.add if name in names else held.discard)(name)
            reached = found[-1][0] if found else position
            owed.failed("lost", now) if lost else owed.caught_up(reached, now, last=reached == position)
    assert held == names
    assert owed.lag_s(now) == 0


def test_a_grown_filter_lacks_no_name_and_is_built_anew_when_it_is_old() -> None:
    names = [f"/lfn/{number}" for number in range(500)]
    made = GrownFilter(400, 3, 10, 1)
    made.add(names[:400])
    made.turned_over(names[400:], 0, 5, 10.0)
    assert RlsFilter(made.bits, 3, made.data).may_hold(hashes([name.encode() for name in names])).all()
    assert (made.bits, len(made.data), made.position) == (4_000, 501, 5)
    assert not made.is_old(500, 3, 10, 300.0, 10.0)
    assert made.is_old(501, 3, 10, 300.0, 10.0)
    assert made.is_old(500, 4, 10, 300.0, 10.0)
    made.turned_over([], 1, 6, 20.0)
    assert (made.is_old(499, 3, 10, 300.0, 319.9), made.is_old(499, 3, 10, 300.0, 320.0)) == (False, True)
    made.turned_over([], 3, 7, 21.0)
    assert made.is_old(496, 3, 10, 300.0, 22.0), "a hundredth has gone"
