"""Locks: what they hold, at which sites and of which groups, until when."""

from __future__ import annotations

import pytest
from stores import BYTES, FILES, START_S, Told

from placement import locks
from placement.messages import LockItem, LocksQuery
from reploc.errors import DefinitionUnknown, InventoryInvalid

WHOLE = (FILES, BYTES)
EVERY = [("/a#1", "T1"), ("/a#1", "T2"), ("/a#2", "T1"), ("/b", "T1")]


@pytest.fixture(autouse=True)
def defined(told: Told) -> None:
    told.define()
    told.hear_of("T1", 1, {"/a#1": WHOLE, "/a#2": WHOLE, "/b": WHOLE})
    told.hear_of("T2", 1, {"/a#1": WHOLE})
    told.own("/a", "T1", "physics")


def place(told: Told, *items: LockItem) -> list[int]:
    with told.keeper.writing() as connection:
        return locks.place(connection, items, "somebody", told.clock())


def locked(told: Told) -> list[tuple[object, object]]:
    return sorted((block, site) for block, site, held in told.rows("locked") if held)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("item", "held"),
    [
        (LockItem("/a"), EVERY[:3]),
        (LockItem("/a", site="T1"), [EVERY[0], EVERY[2]]),
        (LockItem("/a", site="T*"), EVERY[:3]),
        (LockItem("/a#1"), EVERY[:2]),
        (LockItem("/a", group="physics"), [EVERY[0], EVERY[2]]),
        (LockItem("*", group="None"), [EVERY[1], EVERY[3]]),
        (LockItem("/?"), EVERY),
        (LockItem("/a#*", site="T2"), [EVERY[1]]),
        (LockItem("/nothing"), []),
        (LockItem("/a#9"), []),
    ],
)
def test_a_lock_holds_what_it_names(told: Told, item: LockItem, held: list[tuple[str, str]]) -> None:
    (number,) = place(told, item)
    assert locked(told) == held
    with told.keeper.writing() as connection:
        assert locks.release(connection, [number], "somebody", told.clock()) == [number]
    assert locked(told) == []


def test_a_lock_expires(told: Told) -> None:
    place(told, LockItem("/a#1", expires_s=START_S + 10))
    assert len(locked(told)) == 2
    told.clock.now += 10
    assert locked(told) == []


def test_released_and_expired_locks_are_history(told: Told) -> None:
    first, second = place(told, LockItem("/a", comment="for a paper"), LockItem("/b", expires_s=START_S + 1))
    with told.keeper.writing() as connection:
        locks.release(connection, [first], "a person", told.clock())
        assert locks.release(connection, [first], "again", told.clock()) == []
    told.clock.now += 5
    with told.keeper.database.reading() as connection:
        assert locks.page(connection, LocksQuery(), told.clock()).locks == []
        every = locks.page(connection, LocksQuery(all=True, limit=1), told.clock())
        told_of = [(lock.id, lock.released_by, lock.comment) for lock in every.locks]
        assert told_of == [(first, "a person", "for a paper")]
        assert [lock.id for lock in locks.page(connection, LocksQuery(all=True, after=first), 0.0).locks] == [second]
        assert every.next == first


def test_what_cannot_be_right_is_refused(told: Told) -> None:
    with pytest.raises(InventoryInvalid, match="it would have expired already"):
        place(told, LockItem("/a"), LockItem("/b", expires_s=START_S))
    for item, said in (
        (LockItem("/a", site="T9"), "site 'T9' is not defined; known: T1, T2, T3"),
        (LockItem("/a", site="T["), r"no site matches 'T\['"),
        (LockItem("/a", group="nobody"), "group 'nobody' is not defined; known: None, ops, physics"),
    ):
        with pytest.raises(DefinitionUnknown, match=said):
            place(told, LockItem("/a"), item)
    with pytest.raises(DefinitionUnknown, match="lock 99 is not defined"), told.keeper.writing() as connection:
        locks.release(connection, [99], "", 0.0)
    assert locked(told) == []
