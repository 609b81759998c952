"""Shared memory: a worker sees what the main process holds, each answer as of one moment, and never half a change."""

import asyncio
import multiprocessing
import os
import random
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest
from sender_double import SenderDouble

from reploc import digest
from reploc.members import IndexSettings, Node
from reploc.wire import Member
from rli.answers import LATE_S
from rli.index import Index
from rli.seen import PART_MIN, Seen
from rli.shared import LOOKS_MAX, Changing, Shared

BYTES_MAX = 1 << 26
SETTINGS = IndexSettings(
    slots=8, redundancy=1, error_rate=1e-5, expiry_s=30, renewal_interval_s=10, nodes=[Node(name="n", url="http://n:1")]
)
#: Names of two generations, of which a site holds either at any moment.
OLD, NEW = [f"/old/{number}" for number in range(12)], [f"/new/{number}" for number in range(12)]
SECONDS = 3.0


@pytest.fixture
def shared() -> Iterator[Shared]:
    made = Shared.create(SETTINGS.slots, BYTES_MAX)
    yield made
    made.close()


def seen_of(shared: Shared) -> Seen:
    """What another process sees, through a mapping of its own."""
    return Seen(SETTINGS, BYTES_MAX, Shared(shared.descriptor, SETTINGS.slots, BYTES_MAX))


def same(index: Index, seen: Seen, lfns: list[str], now: float) -> None:
    digests = digest.of(lfns)
    assert seen.locations(lfns, digests, now) == index.locations(lfns, digests, now)
    assert seen.each_location(lfns, now) == index.each_location(lfns, now)
    assert [seen.each_location([lfn], now)[0] for lfn in lfns[:9]] == [index.location(lfn, now) for lfn in lfns[:9]]
    assert seen.helpless(digests) == bool(index.helpless(index.slots_of([], digests)).any())


async def test_a_worker_sees_what_the_main_process_holds(shared: Shared) -> None:
    """A random life of sites: full updates of many sizes, increments, silence, other addresses, lists of others."""
    rng = random.Random(7)
    index, seen = Index(SETTINGS, "n", BYTES_MAX, 0.0, shared), seen_of(shared)
    lfns = [f"/lfn/{number}" for number in range(400)]
    senders = [SenderDouble(SETTINGS, f"S{n}", f"http://s{n}:1", f"sender-{n}") for n in range(70)]
    now = 0.0
    index.expire(now)
    same(index, seen, lfns, now)
    for step in range(120):
        now += rng.random() * 2
        sender = rng.choice(senders)
        sender.names = rng.sample(lfns, rng.choice([3, 40, 300]))
        sender.changed()
        if step % 9 == 5:
            sender.epoch += 1
            sender.url = f"http://moved-{step}:1"
        built_for = rng.choice([4, 7, 13])
        await index.receive(sender.news([sender.summary(slot, built_for) for slot in range(SETTINGS.slots)]), now)
        if step % 20 == 10:
            index.learn(index.registry.listed(), [Member("lrc", f"T{step}", "http://t:1", "live", 1.0)], now)
        index.expire(now)
        same(index, seen, rng.sample(lfns, 50), now)
    index.expire(now + 31)
    same(index, seen, lfns, now + 31)


async def test_an_increment_is_seen(shared: Shared) -> None:
    index, seen = Index(SETTINGS, "n", BYTES_MAX, 0.0, shared), seen_of(shared)
    sender = SenderDouble(SETTINGS, names=OLD)
    index.expire(1.0)
    await index.receive(sender.news(), 1.0)
    before = [sender.summary(slot) for slot in range(SETTINGS.slots)]
    sender.names = NEW
    sender.changed()
    await index.receive(sender.news([sender.increment(slot, before[slot]) for slot in range(SETTINGS.slots)]), 2.0)
    found = seen.locations([*OLD, *NEW], digest.of([*OLD, *NEW]), 2.0).locations
    assert [lfn for lfn in OLD if found[lfn]] == []
    assert [lfn for lfn in NEW if not found[lfn]] == []


async def test_a_main_process_that_is_held_up_is_asked_itself(shared: Shared) -> None:
    """It may hold news that has expired; a worker cannot know."""
    index, seen = Index(SETTINGS, "n", BYTES_MAX, 0.0, shared), seen_of(shared)
    await index.receive(SenderDouble(SETTINGS, names=OLD).news(), 1.0)
    index.expire(1.0)
    assert seen.each_location(OLD[:1], 1.0 + LATE_S)[0].sites
    with pytest.raises(Changing):
        seen.each_location(OLD[:1], 1.1 + LATE_S)
    with pytest.raises(Changing):
        seen.locations(OLD, digest.of(OLD), 1.1 + LATE_S)


def test_what_is_read_while_it_changes_is_read_again(shared: Shared) -> None:
    other = Shared(shared.descriptor, SETTINGS.slots, BYTES_MAX)
    looks = []

    def read() -> str:
        looks.append(len(looks))
        if len(looks) == 1:
            with shared:
                pass
        if len(looks) == 2:
            with shared:
                raise_for_nothing()
        return "whole"

    def raise_for_nothing() -> None:
        with pytest.raises(IndexError):
            other.arrays["sites"][7]

    assert other.consistently(read) == "whole"
    assert looks == [0, 1, 2]


def test_what_never_comes_to_rest_is_left_to_the_main_process(shared: Shared) -> None:
    other = Shared(shared.descriptor, SETTINGS.slots, BYTES_MAX)
    looks = []

    def read() -> None:
        looks.append(0)
        with shared:
            pass

    with pytest.raises(Changing):
        other.consistently(read)
    assert len(looks) == LOOKS_MAX
    with shared, pytest.raises(Changing):
        other.consistently(read)


def test_an_error_of_its_own_is_no_change(shared: Shared) -> None:
    def read() -> None:
        raise IndexError("not a matter of the moment")

    with pytest.raises(IndexError, match="not a matter"):
        shared.consistently(read)


def test_a_reader_that_is_another_process_never_sees_half_a_change() -> None:
    """One process swaps and changes the filters of a slot as fast as it can; another asks all the time."""
    settings = IndexSettings(slots=1, redundancy=1, error_rate=1e-5, nodes=[Node(name="n", url="http://n:1")])
    shared = Shared.create(1, BYTES_MAX)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    writer = context.Process(target=_write, args=(shared.descriptor, settings, theirs), daemon=True)
    writer.start()
    assert ours.recv() == "begun"
    seen = Seen(settings, BYTES_MAX, Shared(shared.descriptor, 1, BYTES_MAX))
    each = PART_MIN // 2  # of both so few that they are not asked in parts, which may be of different moments
    asked, sights = [*OLD[:each], *NEW[:each]], {"old": 0, "new": 0, "changing": 0}
    try:
        while not ours.poll():
            assert writer.is_alive(), "the writer broke"
            try:
                found = seen.locations(asked, digest.of(asked), 1.0)
            except Changing:
                sights["changing"] += 1
                continue
            old, new = (sum(bool(found.locations[lfn]) for lfn in lfns) for lfns in (asked[:each], asked[each:]))
            assert (old, new) in ((each, 0), (0, each)), sights
            sights["old" if old else "new"] += 1
    finally:
        writer.kill()
        writer.join()
        shared.close()
    assert sights["old"] > 10, sights
    assert sights["new"] > 10, sights


def _write(descriptor: int, settings: IndexSettings, to: Connection) -> None:
    asyncio.run(_swap(descriptor, settings, to))
    os._exit(0)


async def _swap(descriptor: int, settings: IndexSettings, to: Connection) -> None:
    index = Index(settings, "n", BYTES_MAX, 0.0, Shared(descriptor, 1, BYTES_MAX))
    sender = SenderDouble(settings, names=OLD)
    index.expire(1.0)
    await index.receive(sender.news(), 1.0)
    to.send("begun")
    loop = asyncio.get_running_loop()
    until, turn = loop.time() + SECONDS, 0
    while loop.time() < until:
        turn += 1
        before = sender.summary(0)
        sender.names = NEW if turn % 2 else OLD
        sender.changed()
        # A whole filter of one class, an increment of it, and a whole one of another class.
        summary = (sender.summary(0), sender.increment(0, before), sender.summary(0, 9))[turn % 3]
        answer = await index.receive(sender.news([summary]), 1.0)
        assert answer.slots[0].status == "ok", answer
        await asyncio.sleep(0.001)
    to.send("done")
