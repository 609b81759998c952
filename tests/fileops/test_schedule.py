"""The schedule keeps its limits whatever happens, serves everyone, and prefers disks and good links."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fileops.lane import Claimed, Lane
from fileops.links import Links
from fileops.operation import OPEN, TABLE, Event, Passage, after
from fileops.retries import RetrySettings, Spent, failed, pause_s
from fileops.schedule import LARGE_SHARE, AtOnceSettings, Begin, Schedule
from reploc.errors import OperationUnready
from reploc.sites import Site
from reploc.storage.faults import Absent, StorageFault

NAMES = ("a", "b", "c", "d")


def site(name: str, **changes: object) -> Site:
    return Site(name=name, lrc="http://127.0.0.1:1", **changes)  # type: ignore[arg-type]


def lane(number: int, kind: str = "copy", at: str = "d", sources: tuple[str, ...] = ("a",), **changes: object) -> Lane:
    told = {"order": 0, "witness": "", "large": False} | changes
    return Lane(id=number, kind=kind, site=at, sources=sources, **told)  # type: ignore[arg-type]


lanes = st.lists(
    st.builds(
        lambda kind, at, sources, order, large: (kind, at, tuple(sorted(sources - {at})), order, large),
        st.sampled_from(["copy", "delete"]),
        st.sampled_from(NAMES),
        st.sets(st.sampled_from(NAMES), min_size=2),
        st.integers(0, 3),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
    unique=True,
).map(
    lambda rows: [
        lane(number, kind, at, sources if kind == "copy" else (), order=order, large=large and kind == "copy")
        for number, (kind, at, sources, order, large) in enumerate(rows, 1)
    ]
)


@settings(max_examples=60, deadline=None)
@given(
    lanes,
    st.fixed_dictionaries({name: st.tuples(*[st.integers(1, 6)] * 3) for name in NAMES}),
    st.tuples(st.integers(1, 15), st.integers(1, 4), st.integers(1, 5)),
    st.integers(0, 1 << 30),
)
def test_no_limit_is_ever_exceeded_and_nothing_waits_for_ever(
    ready: list[Lane],
    limits: dict[str, tuple[int, int, int]],
    total: tuple[int, int, int],
    seed: int,
) -> None:
    rng = random.Random(seed)
    sites = {
        name: site(name, copies_in_max=into, copies_out_max=out, deletions_max=gone)
        for name, (into, out, gone) in limits.items()
    }
    told = AtOnceSettings(operations=total[0], per_link=total[1], batch=total[2])
    schedule = Schedule(sites, told, Links(), rng.random)
    waiting = Counter({each.id: rng.randrange(1, 30) for each in ready})
    by_id = {each.id: each for each in ready}
    active: list[tuple[Lane, str]] = []
    for _ in range(3_000):
        schedule.ready([by_id[number] for number, count in waiting.items() if count])
        for begin in schedule.decide():
            had = min(begin.count, waiting[begin.lane.id], rng.randrange(begin.count + 1) or begin.count)
            schedule.began(begin, had)
            waiting[begin.lane.id] -= had
            active += [(begin.lane, begin.source)] * had
        check_limits(active, sites, told)
        if not active and not +waiting:
            break
        rng.shuffle(active)
        for _ in range(rng.randrange(len(active) + 1)):
            schedule.ended(*active.pop())
    assert not +waiting and not active
    assert schedule.places.total == 0 and not +schedule.places.links and not +schedule.places.outgoing


def check_limits(active: list[tuple[Lane, str]], sites: dict[str, Site], limits: AtOnceSettings) -> None:
    assert len(active) <= limits.operations
    copies = [(each, source) for each, source in active if each.kind == "copy"]
    for name, told in sites.items():
        assert sum(each.site == name for each, _ in copies) <= told.copies_in_max
        assert sum(source == name for _, source in copies) <= told.copies_out_max
        assert sum(each.site == name for each, _ in active if each.kind == "delete") <= told.deletions_max
        large = sum(each.site == name and each.large for each, _ in copies)
        assert large <= max(1, int(LARGE_SHARE * told.copies_in_max))
    for (source, at), count in Counter((source, each.site) for each, source in copies).items():
        assert count <= limits.per_link and source in sites and source != at


def decided(sites: dict[str, Site], ready: list[Lane], links: Links | None = None, chance: float = 0.9) -> list[Begin]:
    schedule = Schedule(sites, AtOnceSettings(operations=10, per_link=10, batch=5), links or Links(), lambda: chance)
    schedule.ready(ready)
    return schedule.decide()


def test_a_disk_is_read_before_tape_even_when_its_places_are_taken() -> None:
    sites = {"a": site("a", storage="mss"), "b": site("b", copies_out_max=2), "d": site("d")}
    ready = [lane(1, sources=("a", "b")), lane(2, sources=("a", "b"), order=7)]
    assert [(each.source, each.count) for each in decided(sites, ready)] == [("b", 2)]
    assert [each.source for each in decided(sites, [lane(1)])] == ["a"]


def test_a_site_that_is_not_ready_gives_and_gets_nothing_and_its_operations_wait() -> None:
    sites = {"a": site("a"), "b": site("b", status="waitroom"), "d": site("d")}
    ready = [lane(1, sources=("b",)), lane(2, at="b"), lane(3, kind="delete", at="b", sources=()), lane(4)]
    assert [each.lane.id for each in decided(sites, ready)] == [4]


def test_a_drained_site_gets_nothing_until_it_is_not() -> None:
    schedule = Schedule({"a": site("a"), "d": site("d")}, AtOnceSettings(), Links(), lambda: 0.9)
    schedule.ready([lane(1)])
    for drained, count in ((frozenset({"a"}), 0), (frozenset({""}), 0), (frozenset[str](), 1)):
        schedule.drained = drained
        assert len(schedule.decide()) == count


def test_the_better_link_is_taken_and_now_and_then_another_one() -> None:
    links = Links()
    for _ in range(20):
        links.add("a", "d", succeeded=False, moved=0, seconds=1, now=0)
        links.add("b", "d", succeeded=True, moved=10_000_000, seconds=1, now=0)
        links.add("c", "d", succeeded=True, moved=1_000_000, seconds=1, now=0)
    rng = random.Random(4)
    chosen = Counter(links.choose(("a", "b", "c"), "d", rng.random) for _ in range(2_000))
    assert chosen["b"] > 1_800
    assert chosen["a"] > 10 and chosen["c"] > 10
    assert links.choose((), "d", rng.random) is None


def test_a_small_order_is_not_held_up_by_one_of_many_lanes() -> None:
    sites = {"a": site("a", copies_out_max=100), "d": site("d", copies_in_max=1)}
    schedule = Schedule(sites, AtOnceSettings(batch=1), Links(), lambda: 0.9)
    schedule.ready([*(lane(number, order=1) for number in range(1, 50)), lane(50, order=2)])
    served = []
    for _ in range(10):
        (begin,) = schedule.decide()
        served.append(begin.lane.order)
        schedule.began(begin, 1)
        schedule.ended(begin.lane, begin.source)
    assert Counter(served) == {1: 5, 2: 5}


# ---- what is done about failures -------------------------------------------------------------------------------------


def claimed(attempts: int = 1, sources: tuple[str, ...] = ("a", "b"), **changes: object) -> Claimed:
    told = {"failures": {}, "source": "a", "cancel": False, "step": "", "pfns": ()} | changes
    return Claimed(
        id=1, lane=lane(1, sources=sources), lfn="/f", size=1, checksum=None, collection=None, attempts=attempts,
        fence=1, **told,  # type: ignore[arg-type]
    )  # fmt: skip


SETTINGS = RetrySettings(attempts_max=3, pause_s=10, pause_s_max=60)


def test_a_fault_of_the_source_takes_another_one_and_the_last_one_holds_with_each_reason() -> None:
    first = failed(claimed(), Absent("source", "gone"), SETTINGS, 100.0, 0.5, Spent())
    assert (first.event, first.due_s, first.failures) == (Event.DELAYED, 100.0, {"a": "gone"})
    rest = claimed(2, ("b",), failures={"a": "gone"}, source="b")
    last = failed(rest, StorageFault("source", "bad"), SETTINGS, 100.0, 0.5, Spent())
    assert (last.event, last.words) == (Event.HELD, "no source is left: a: gone; b: bad")


@pytest.mark.parametrize("blame", ["transient", "destination"])
def test_what_may_pass_is_tried_again_and_then_held(blame: str) -> None:
    fault = StorageFault(blame, "full")  # type: ignore[arg-type]
    again = failed(claimed(2), fault, SETTINGS, 100.0, 0.0, Spent())
    assert (again.event, again.due_s) == (Event.DELAYED, 110.0)
    held = failed(claimed(3), fault, SETTINGS, 100.0, 0.0, Spent())
    assert (held.event, held.words) == (Event.HELD, "failed 3 times, the last time: full")


def test_what_breaks_at_the_last_attempt_does_not_hide_why_the_one_before_failed() -> None:
    broke, full = StorageFault("transient", "reset"), StorageFault("destination", "full")
    held = failed(claimed(3, reason="full"), broke, SETTINGS, 100.0, 0.0, Spent())
    assert held.words == "failed 3 times, the last time: reset; the time before: full"
    for reason, fault in (("full", full), ("reset", full), ("reset", broke)):
        words = failed(claimed(3, reason=reason), fault, SETTINGS, 100.0, 0.0, Spent()).words
        assert words == f"failed 3 times, the last time: {fault.said}"


def test_what_cannot_pass_is_held_at_once() -> None:
    held = failed(claimed(), StorageFault("permanent", "no"), SETTINGS, 0.0, 0.0, Spent())
    assert (held.event, held.words) == (Event.HELD, "no")


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_and_stay_within_their_bound(attempts: int, chance: float) -> None:
    pause = pause_s(SETTINGS, attempts, chance)
    assert min(10 * 2 ** min(attempts - 1, 20), 60) / 2 <= pause <= 60


# ---- the table of an operation's life --------------------------------------------------------------------------------


def test_every_open_state_leads_to_an_end_and_no_end_leads_on() -> None:
    for state, events in TABLE.items():
        assert bool(events) == (state in OPEN)
    reached, todo = set(), ["queued"]
    while todo:
        state = todo.pop()
        if state not in reached:
            reached.add(state)
            todo += TABLE[state].values()  # type: ignore[index]
    assert reached == set(TABLE)


def test_an_event_that_a_state_does_not_know_is_refused_with_the_story() -> None:
    story = [Passage(1.0, "claimed", "active", "by r"), Passage(2.0, "succeeded", "done", "copied")]
    with pytest.raises(
        OperationUnready, match=r"that is done cannot be claimed; so far: 1\.000 claimed → active: by r"
    ):
        after("done", Event.CLAIMED, story)
