"""Requests: what may be asked for, what becomes of it, and what ends it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from sqlalchemy import create_engine, inspect, text
from stores import BYTES, FILES, Told, telling, wish

from placement import cycle, fulfilment, locks, orders, requests, tables
from placement.database import Database
from placement.inventory import Inventory
from placement.messages import GroupItem, InjectBody, LockItem
from placement.orders import Wish
from placement.recording import Decided
from placement.request_messages import DataRequest, DataRequests, Requested, RequestItem, RequestsQuery
from placement.requests import Ruling
from reploc.errors import DefinitionUnknown, InventoryInvalid, ReplocError
from reploc.orders import OrderReport

WHOLE = (FILES, BYTES)
MAX_AGE_S, PATIENCE_S = 60.0, 1_000.0


@pytest.fixture(autouse=True)
def heard(told: Told) -> None:
    told.define()
    for site in ("T1", "T2", "T3"):
        told.hear(site, 1, **({"b1": WHOLE, "b2": WHOLE} if site == "T1" else {}))


def copy(*sites: str, item: str = "/a", copies: int | None = None, group: str = "") -> RequestItem:
    return RequestItem("copy", item, list(sites), group, copies)


def deletion(*sites: str, item: str = "/a") -> RequestItem:
    return RequestItem("delete", item, list(sites))


def ask(told: Told, *items: RequestItem, by: str = "jane") -> Requested:
    with told.keeper.writing() as connection:
        return requests.ask(connection, items, by, told.clock())


def cancel(told: Told, *ids: int) -> list[int]:
    with told.keeper.writing() as connection:
        return requests.cancel(connection, ids, "not wanted any more", told.clock())


def listed(told: Told, **asked: object) -> DataRequests:
    with told.keeper.database.reading() as connection:
        return requests.page(connection, RequestsQuery(**asked))  # type: ignore[arg-type]


def of(told: Told, number: int) -> DataRequest:
    return next(each for each in listed(told).requests if each.id == number)


def order_states(told: Told) -> dict[int, str]:
    with told.keeper.database.reading() as connection:
        return {order.id: order.state for order in orders.feed(connection, 0, 100).orders}


def fulfil(told: Told) -> int:
    return fulfilment.run_once(told.keeper, MAX_AGE_S, PATIENCE_S)


@dataclass
class Activating:
    """Decides to fulfil requests as it is told to, and says so; once it does something else meanwhile."""

    wishes: tuple[Wish, ...]
    rulings: tuple[Ruling, ...]
    told: Told
    cancels: int = 0
    asked: int = field(default=0, init=False)
    kind: str = "test"
    policy: str = ""

    def decide(self, inventory: Inventory, now: float, left_out: frozenset[str]) -> Decided:
        self.asked += 1
        with self.told.keeper.database.reading() as connection:
            waiting = {each.id for each in requests.opened(connection)}
        if self.cancels and self.asked == 1:
            cancel(self.told, self.cancels)
        rulings = tuple(each for each in self.rulings if each.id in waiting)
        return Decided(self.wishes if rulings else (), rulings=rulings)


def activate(told: Told, *numbers: int, site: str = "T2") -> list[int]:
    rulings = tuple(Ruling(number, "activated", "", (site,)) for number in numbers)
    decider = Activating((wish("copy", site, "1", "2", sources=("T1",)),), rulings, told)
    done = cycle.run(told.keeper, decider, MAX_AGE_S)
    return [*done.written.written, *done.written.joined]


# ---- asking ----------------------------------------------------------------------------------------------------------


def test_a_request_is_kept_with_who_asked_and_when(told: Told) -> None:
    (number,) = ask(told, copy("T3", "T2", "T3", copies=1, group="physics")).ids
    assert of(told, number) == DataRequest(
        number, "copy", "/a", ["T2", "T3"], "physics", 1, "new", "", "jane", told.clock(), told.clock()
    )


def test_who_asks_again_for_what_is_open_is_given_the_number_of_that(told: Told) -> None:
    first = ask(told, copy("T2", "T3"), copy("T2"), copy("T3", "T2"))
    assert first.joined == [first.ids[0]] == [first.ids[2]]
    assert ask(told, copy("T3", "T2"), by="john").ids == [first.ids[0]]
    assert len(listed(told).requests) == 2
    cancel(told, first.ids[0])
    again = ask(told, copy("T2", "T3"))
    assert again.joined == [] and again.ids[0] > max(first.ids)


@pytest.mark.parametrize(
    ("item", "kind", "said"),
    [
        (copy("T2", item="/zz"), DefinitionUnknown, "'/zz' is not defined"),
        (copy("T2", item="/a#9"), DefinitionUnknown, "'/a#9' is not defined"),
        (copy("T2", "T9"), DefinitionUnknown, "site 'T9' is not defined; known: T1, T2, T3"),
        (copy("X*"), DefinitionUnknown, r"no site matches 'X\*'; known: T1, T2, T3"),
        (copy("T2", group="nobody"), DefinitionUnknown, "group 'nobody' is not defined"),
        (copy("T2", "T2", copies=2), InventoryInvalid, "2 copies are wanted over 1 sites"),
        (copy("T*", copies=4), InventoryInvalid, "4 copies are wanted over 3 sites"),
        (RequestItem("delete", "/a", ["T2"], copies=1), InventoryInvalid, "a deletion is of what is there"),
        (deletion("T?", item="/a#1"), InventoryInvalid, "request 1 asks for the copy of '/a' at T3; cancel that"),
        (copy("T3", item="\x00"), ReplocError, "control character"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_in_words_and_with_it_all_else(
    told: Told, item: RequestItem, kind: type[ReplocError], said: str
) -> None:
    (number,) = ask(told, copy("T3")).ids
    said = said.replace("request 1 ", f"request {number} ").replace("; cancel that", "")
    with pytest.raises(kind, match=said):
        ask(told, copy("T2", item="/a#2"), item)
    assert [each.id for each in listed(told).requests] == [number]


def test_a_copy_and_a_deletion_of_the_same_cannot_be_asked_for_at_once(told: Told) -> None:
    with pytest.raises(InventoryInvalid, match="another of these requests asks for the deletion of '/a' at T2"):
        ask(told, copy("T*", item="/a#1"), deletion("T2"))
    assert ask(told, copy("T3", item="/a#1"), deletion("T2")).joined == []


def test_requests_are_listed_by_cursor_and_narrowed(told: Told) -> None:
    ids = ask(told, copy("T2"), copy("T3", item="/a#1"), copy("T2", "T3", item="/a#2")).ids
    told.clock.now += 100
    told.inject(InjectBody(groups=[GroupItem("late")]))
    ids += ask(told, copy("T1", group="late"), by="John Doe").ids
    cancel(told, ids[1])

    def found(**asked: object) -> list[int]:
        return [each.id for each in listed(told, **asked).requests]

    assert found() == ids[::-1]
    first = listed(told, limit=3)
    assert ([each.id for each in first.requests], first.next) == (ids[:0:-1], ids[1])
    rest = listed(told, limit=3, before=first.next)
    assert ([each.id for each in rest.requests], rest.next) == (ids[:1], None)
    assert found(state="cancelled") == [ids[1]]
    assert found(kind="delete") == []
    assert found(item="/a") == ids[::-1]
    assert found(item="/a#1") == [ids[1]]
    assert found(site="T3") == [ids[2], ids[1]]
    assert found(site="t3") == []
    assert found(by="Doe") == [ids[3]]
    assert found(by="doe") == []
    assert found(since_s=int(told.clock())) == [ids[3]]
    assert found(until_s=int(told.clock())) == ids[2::-1]


# ---- copies ----------------------------------------------------------------------------------------------------------


def test_a_copy_is_activated_with_its_order_and_completed_when_it_is_observed(told: Told) -> None:
    (number,) = ask(told, copy("T2")).ids
    assert fulfil(told) == 0
    (order,) = activate(told, number)
    seen = of(told, number)
    assert (seen.state, [(each.id, each.site, each.state) for each in seen.orders]) == (
        "activated",
        [(order, "T2", "new")],
    )
    told.report(OrderReport(order, "done", position=5))
    assert fulfil(told) == 0, "the copy is said to be done, and nobody has seen it"
    told.hear("T2", 5, b1=WHOLE, b2=WHOLE)
    assert fulfil(told) == 1
    assert of(told, number).state == "completed"


def test_copies_that_are_there_complete_a_request_that_nothing_was_done_for(told: Told) -> None:
    some, every = ask(told, copy("T*", copies=1), copy("T1", "T2")).ids
    assert fulfil(told) == 1
    assert (of(told, some).state, of(told, every).state) == ("completed", "new")


def test_a_copy_of_another_group_completes_no_request_for_one_until_it_is_handed_over(told: Told) -> None:
    told.own("/a", "T1", "ops")
    anybodys, its = ask(told, copy("T1"), copy("T1", group="physics")).ids
    assert fulfil(told) == 1
    assert (of(told, anybodys).state, of(told, its).state) == ("completed", "new")
    told.own("/a", "T1", "physics")
    assert (fulfil(told), of(told, its).state) == (1, "completed")


def test_a_copy_that_is_to_be_deleted_completes_nothing(told: Told) -> None:
    told.hear("T2", 2, b1=WHOLE, b2=WHOLE)
    told.write(wish("delete", "T2", "1", witness="T1"))
    (number,) = ask(told, copy("T2")).ids
    assert fulfil(told) == 0
    assert of(told, number).state == "new"


def test_a_request_that_is_cancelled_while_a_cycle_decides_is_not_activated(told: Told) -> None:
    (number,) = ask(told, copy("T2")).ids
    ruling = Ruling(number, "activated", "", ("T2",))
    decider = Activating((wish("copy", "T2", "1", "2", sources=("T1",)),), (ruling,), told, cancels=number)
    done = cycle.run(told.keeper, decider, MAX_AGE_S)
    assert (decider.asked, done.written.written) == (2, [])
    assert of(told, number).state == "cancelled"


def test_a_cancelled_request_takes_its_own_orders_with_it(told: Told) -> None:
    mine, shared, other = ask(told, copy("T2"), copy("T3"), copy("T3", item="/a#1")).ids
    (own,) = activate(told, mine)
    (both,) = activate(told, shared, other, site="T3")
    assert cancel(told, mine, shared, mine) == [mine, shared]
    assert order_states(told) == {own: "cancelled", both: "new"}
    assert cancel(told, mine) == []
    assert cancel(told, other) == [other]
    assert order_states(told) == {own: "cancelled", both: "cancelled"}
    assert of(told, mine).reason == "not wanted any more"
    with pytest.raises(DefinitionUnknown, match="request 999 is not defined"):
        cancel(told, 999)


def test_an_order_that_was_there_before_outlives_the_request_that_joined_it(told: Told) -> None:
    (before,) = told.write(wish("copy", "T2", "1", "2", sources=("T1",))).written
    (number,) = ask(told, copy("T2")).ids
    assert activate(told, number) == [before]
    assert [each.id for each in of(told, number).orders] == [before]
    cancel(told, number)
    assert order_states(told) == {before: "new"}


def test_what_could_not_be_done_for_too_long_is_rejected_with_the_last_reason(told: Told) -> None:
    waiting, tried = ask(told, copy("T2"), copy("T3")).ids
    rulings = (Ruling(waiting, "new", "T2 is full"),)
    cycle.run(told.keeper, Activating((), rulings, told), MAX_AGE_S)
    assert of(told, waiting).reason == "T2 is full"
    (order,) = activate(told, tried, site="T3")
    told.clock.now += PATIENCE_S + 1
    assert fulfil(told) == 1
    told.report(OrderReport(order, "failed", reason="no link"))
    assert fulfil(told) == 1
    reasons = {each.id: (each.state, each.reason) for each in listed(told).requests}
    assert reasons[waiting] == ("rejected", "not fulfilled within 17 min; T2 is full")
    assert reasons[tried] == ("rejected", f"not fulfilled within 17 min; order {order} at T3 failed: no link")
    assert cancel(told, waiting) == []


# ---- deletions -------------------------------------------------------------------------------------------------------


def test_a_deletion_is_ordered_where_it_can_be_and_completed_when_nothing_is_there(told: Told) -> None:
    told.hear("T2", 2, b1=WHOLE)
    (number,) = ask(told, deletion("T2", "T3")).ids
    assert fulfil(told) == 1
    seen = of(told, number)
    (order,) = seen.orders
    assert (seen.state, order.site) == ("activated", "T2")
    assert fulfil(told) == 0
    told.report(OrderReport(order.id, "done", position=3))
    assert fulfil(told) == 0
    told.hear("T2", 3)
    assert (fulfil(told), of(told, number).state) == (1, "completed")


def test_a_deletion_waits_while_it_would_lose_something_and_says_why(told: Told) -> None:
    told.hear("T2", 2, b1=WHOLE, b2=WHOLE)
    with told.keeper.writing() as connection:
        (lock,) = locks.place(connection, [LockItem("/a#2", "T2")], "jane", told.clock())
    (number,) = ask(told, deletion("T1", "T2")).ids
    assert fulfil(told) == 1
    seen = of(told, number)
    assert [order.site for order in seen.orders] == ["T1"]
    assert (seen.state, seen.reason) == ("activated", "'/a#1' at T2: no other copy of it would survive")
    with told.keeper.writing() as connection:
        locks.release(connection, [lock], "jane", told.clock())
    # What is left there is the witness of what goes.
    assert fulfil(told) == 1
    assert of(told, number).reason == "'/a#1' at T2: it is locked"
    assert cancel(told, number) == [number]
    assert set(order_states(told).values()) == {"cancelled"}


def test_two_deletions_do_not_count_on_each_others_copies(told: Told) -> None:
    told.hear("T2", 2, b1=WHOLE)
    one, other = ask(told, deletion("T1", item="/a#1"), deletion("T2", item="/a#1")).ids
    assert fulfil(told) == 2
    assert (of(told, one).state, of(told, other).state) == ("activated", "new")
    assert of(told, other).reason == "'/a#1' at T2: no other copy of it would survive"


def test_nothing_is_taken_for_gone_at_a_site_of_which_nothing_was_heard(told: Told) -> None:
    (number,) = ask(told, deletion("T3")).ids
    told.keeper.forget_observations()
    assert fulfil(told) == 0
    told.hear("T3", 2)
    assert (fulfil(told), of(told, number).state) == (1, "completed")


# ---- the database ----------------------------------------------------------------------------------------------------


def test_a_database_of_before_requests_had_orders_is_brought_up_to_date(told: Told) -> None:
    ask(told, copy("T2"))
    engine = create_engine(told.url)
    with engine.begin() as connection:
        tables.request_orders.drop(connection)
        connection.execute(text("DROP INDEX placement_requests_state"))
        connection.execute(text("UPDATE reploc_versions SET version = 1 WHERE service = 'placement'"))
    with telling(told.url) as again:
        for site in ("T1", "T2", "T3"):
            again.hear(site, 1, **({"b1": WHOLE, "b2": WHOLE} if site == "T1" else {}))
        assert activate(again, listed(again).requests[0].id)
    assert "placement_requests_state" in {each["name"] for each in inspect(engine).get_indexes("placement_requests")}
    engine.dispose()
    Database(told.url).close()


def test_patterns_of_sites_mean_those_that_there_are_when_it_is_decided(told: Told) -> None:
    made = told.keeper.inventory()
    found = fulfilment.sites_of(made, ["T1", "T[23]"])
    assert [made.sites["name"][int(key)] for key in found] == ["T1", "T2", "T3"]
    assert list(fulfilment.sites_of(made, ["T[!1]"])) == list(found[1:])
