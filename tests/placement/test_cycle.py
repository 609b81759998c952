"""A cycle: what starts it, what stops it before anything is ordered, and what history has of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from stores import BYTES, FILES, Told, telling, wish

from placement import cycle, history, locks, orders, wishes
from placement.inventory import Inventory
from placement.messages import (
    BlockItem,
    Cycle,
    CyclesQuery,
    DatasetItem,
    GroupItem,
    InjectBody,
    LockItem,
    OwnerItem,
    SiteItem,
    WishBody,
    WishItem,
)
from placement.orders import Handover
from placement.recording import Decided
from reploc.errors import DefinitionUnknown, InventoryInvalid, InventoryMoved, NewsMissing
from reploc.orders import OrderReport
from reploc.sites import Site

WHOLE = (FILES, BYTES)
MAX_AGE_S = 60.0


@dataclass
class Decider:
    """Decides what it is told to, and keeps what it was given."""

    decided: Decided = field(default_factory=Decided)
    meanwhile: Callable[[], object] = bool
    kind: str = "test"
    policy: str = "do as told"
    left_out: frozenset[str] | None = None
    asked: int = 0

    def decide(self, inventory: Inventory, now: float, left_out: frozenset[str]) -> Decided:
        self.left_out = left_out
        self.asked += 1
        self.meanwhile()
        return self.decided


@pytest.fixture(autouse=True)
def heard(told: Told) -> None:
    told.define()
    for site in ("T1", "T2", "T3"):
        told.hear(site, 1, **({"b1": WHOLE, "b2": WHOLE} if site == "T1" else {}))


def cycles(told: Told) -> list[Cycle]:
    with told.keeper.database.reading() as connection:
        return history.page(connection, CyclesQuery()).cycles


def ordered(told: Told) -> int:
    with told.keeper.database.reading() as connection:
        return len(orders.pending(connection))


def test_a_cycle_writes_what_was_decided_and_is_on_record(told: Told) -> None:
    told.own("/a", "T1", "physics")
    decided = Decided(
        (wish("copy", "T2", "1"),), (Handover("/a", "T1", "ops"),), {"weighed": 3}, b"line by line", seed=7
    )
    done = cycle.run(told.keeper, Decider(decided), MAX_AGE_S)
    (kept,) = cycles(told)
    assert (kept.id, kept.outcome, kept.seed, kept.policy) == (done.number, "done", 7, "do as told")
    assert kept.totals == {
        "weighed": 3,
        "orders": 1,
        "joined": 0,
        "cancelled": 0,
        "handed_over": 1,
        "left_out": [],
    }
    with told.keeper.database.reading() as connection:
        assert history.decisions(connection, done.number).decisions == b"line by line"
        (order,) = orders.feed(connection, 0, 10).orders
    assert order.asked_by == f"cycle {done.number}"
    with telling(told.url) as other:
        assert other.keeper.inventory().version != kept.inventory


def test_a_cycle_stops_where_news_of_a_ready_site_is_old_and_says_which(told: Told) -> None:
    told.clock.now += 100
    told.hear("T1", 2, b1=WHOLE)
    decider = Decider(Decided((wish("copy", "T2", "1"),)))
    with pytest.raises(NewsMissing, match=r"T2 \(its news is 100.0 s old\), T3 \(its news is 100.0 s old\)"):
        cycle.run(told.keeper, decider, MAX_AGE_S)
    assert decider.left_out is None
    assert ordered(told) == 0
    (kept,) = cycles(told)
    assert (kept.outcome, "T2" in kept.reason) == ("refused", True)


def test_news_from_the_future_is_of_no_known_age_and_stops_a_cycle(told: Told) -> None:
    """A clock was set back, or another service with a clock ahead wrote the news; a little ahead is none of that."""
    told.clock.now -= 30
    assert cycle.run(told.keeper, Decider(), MAX_AGE_S).left_out == ()
    told.clock.now -= 7_200
    with pytest.raises(NewsMissing, match=r"T2 \(its news is from 2 h in the future: a clock is or was wrong\)"):
        cycle.run(told.keeper, Decider(), MAX_AGE_S)
    assert cycle.run(told.keeper, Decider(), MAX_AGE_S, partial=True).left_out == ("T1", "T2", "T3")
    with pytest.raises(InventoryInvalid, match="no READY site with fresh news"):
        wishes.ordered(told.keeper, WishBody([WishItem("copy", "/a", "T2")]), MAX_AGE_S)
    told.renew("T2", 1)
    assert cycle.run(told.keeper, Decider(), MAX_AGE_S, partial=True).left_out == ("T1", "T3")


def test_with_partial_the_sites_without_news_are_left_out(told: Told) -> None:
    told.clock.now += 100
    told.hear("T1", 2, b1=WHOLE)
    decider = Decider()
    assert cycle.run(told.keeper, decider, MAX_AGE_S, partial=True).left_out == ("T2", "T3")
    assert decider.left_out == {"T2", "T3"}


def test_a_site_of_which_nothing_was_heard_stops_a_cycle_unless_it_is_not_ready(told: Told) -> None:
    def define(status: str) -> None:
        site = Site(name="T4", lrc="http://t4:39280", status=status)  # type: ignore[arg-type]
        told.inject(InjectBody(sites=[SiteItem(site=site)]))

    define("ready")
    with pytest.raises(NewsMissing, match=r"T4 \(nothing was heard\)"):
        cycle.run(told.keeper, Decider(), MAX_AGE_S)
    define("morgue")
    assert cycle.run(told.keeper, Decider(), MAX_AGE_S).left_out == ()


def test_where_others_have_decided_meanwhile_a_cycle_decides_anew(told: Told) -> None:
    """The second time the other's order is there already, so that nobody has decided anything meanwhile."""
    with telling(told.url) as other:
        decider = Decider(Decided((wish("copy", "T2", "1"),)), meanwhile=lambda: other.write(wish("copy", "T3", "1")))
        done = cycle.run(told.keeper, decider, MAX_AGE_S)
    assert decider.asked == 2
    assert (len(done.written.written), ordered(told)) == (1, 2)
    assert [kept.outcome for kept in cycles(told)] == ["done"]


def test_a_cycle_gives_up_where_others_go_on_deciding(told: Told) -> None:
    lock = LockItem("/a")

    def place() -> None:
        with told.keeper.writing() as connection:
            locks.place(connection, [lock], "somebody", told.clock())

    decider = Decider(Decided((wish("copy", "T2", "1"),)), meanwhile=place)
    with pytest.raises(InventoryMoved, match="somebody else has decided"):
        cycle.run(told.keeper, decider, MAX_AGE_S)
    assert (decider.asked, ordered(told)) == (cycle.ATTEMPTS_MAX, 0)
    assert [kept.outcome for kept in cycles(told)] == ["refused"]


def test_what_carriers_report_meanwhile_holds_no_cycle_up(told: Told) -> None:
    (copy,) = told.write(wish("copy", "T2", "2", sources=("T1",))).written
    told.hear("T3", 2, b1=WHOLE)
    (deletion,) = told.write(wish("delete", "T3", "1", witness="T1")).written
    told.own("/a", "T3", "physics")
    version = told.keeper.inventory().version

    def report() -> None:
        told.report(OrderReport(copy, "active", files_done=1), OrderReport(deletion, "done", position=3))

    decider = Decider(Decided((wish("copy", "T2", "1"),)), meanwhile=report)
    told.report(OrderReport(copy, "active"))
    assert told.keeper.inventory().version == version
    done = cycle.run(told.keeper, decider, MAX_AGE_S)
    assert (decider.asked, len(done.written.written)) == (1, 1)


@pytest.mark.parametrize(
    "body",
    [
        InjectBody(groups=[GroupItem(name="analysis")]),
        InjectBody(owners=[OwnerItem("/a", "T1", "physics")]),
        InjectBody(datasets=[DatasetItem(name="/a", status="invalid")]),
    ],
)
def test_definitions_by_people_are_decisions_and_what_was_seen_is_none(told: Told, body: InjectBody) -> None:
    before = told.keeper.inventory_with_decisions()[1]
    told.hear_of("T1", 2, {"/new#1": WHOLE, "/a#1": (FILES + 1, BYTES + 1)})
    told.inject(InjectBody(datasets=[DatasetItem(name="/b", blocks=[BlockItem(name="1", size=1, num_files=1)])]))
    assert told.keeper.inventory_with_decisions()[1] == before
    told.inject(body)
    after = told.keeper.inventory_with_decisions()[1]
    assert after > before
    told.inject(body)
    assert told.keeper.inventory_with_decisions()[1] == after


def test_what_people_ask_for_is_written_while_carriers_report(told: Told) -> None:
    """Reports come all the time, from another process; nobody who asks for a copy has to ask again for that."""
    (copy,) = told.write(wish("copy", "T2", "2", sources=("T1",))).written
    done = threading.Event()
    reports: list[OrderReport] = []
    asked = 0
    with telling(told.url) as other, ThreadPoolExecutor(1) as pool:

        def report() -> None:
            # A breath between two, since SQLite lets those who wait in by chance.
            while not done.wait(0.005):
                reports.append(OrderReport(copy, "active", files_done=len(reports) + 1, files=1 << 30))
                other.report(reports[-1])

        reporting = pool.submit(report)
        try:
            while asked < 20 or (len(reports) < 20 and not reporting.done()):
                asked += 1
                what = WishItem("copy", "/a#1", "T2" if asked % 2 else "T3")
                assert len(wishes.ordered(told.keeper, WishBody([what]), MAX_AGE_S).written) == 1
                told.cancel(copy + asked)
        finally:
            done.set()
        reporting.result()


def test_a_decision_that_fails_orders_nothing_and_is_on_record(told: Told) -> None:
    def fail() -> None:
        raise RuntimeError("the popularity service does not answer")

    with pytest.raises(RuntimeError):
        cycle.run(told.keeper, Decider(Decided((wish("copy", "T2", "1"),)), meanwhile=fail), MAX_AGE_S)
    assert ordered(told) == 0
    (kept,) = cycles(told)
    assert (kept.outcome, kept.reason) == ("failed", "RuntimeError: the popularity service does not answer")


def test_orders_of_which_one_cannot_be_written_are_none(told: Told) -> None:
    decided = Decided((wish("copy", "T2", "1"), wish("copy", "T9", "1")))
    with pytest.raises(DefinitionUnknown, match="site 'T9' is not defined"):
        cycle.run(told.keeper, Decider(decided), MAX_AGE_S)
    assert ordered(told) == 0
    assert [kept.outcome for kept in cycles(told)] == ["failed"]


def test_a_service_with_older_news_takes_over_the_news_that_settled_an_order(told: Told) -> None:
    """The deletion has ended for whoever reads the orders, so that nobody may still see what it deleted."""
    told.hear("T2", 5, b1=WHOLE)
    told.keeper.save()
    with telling(told.url) as other:
        assert other.keeper.observation("T2").position == 5
        (number,) = told.write(wish("delete", "T2", "1", witness="T1")).written
        told.report(OrderReport(number, "done", position=6))
        assert ("/a#1", "T2", True) in other.rows("deleting")
        told.hear("T2", 6)
        assert told.keeper.settle() == 1
        assert [row for row in other.rows("deleting") if row[1] == "T2"] == []


def test_the_age_of_news_whose_contents_are_saved_is_saved_too(told: Told) -> None:
    told.keeper.save()
    told.clock.now += 500
    told.renew("T1", 9)
    assert told.keeper.save() == 0
    with telling(told.url) as other:
        seen = other.keeper.observation("T1")
        assert (seen.position, seen.news_at) == (9, told.clock.now)
