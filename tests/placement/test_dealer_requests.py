"""Requests and the dealer: what people ask for is proposed, ordered where there is room, or says what it waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import pytest
from dealing import Shelf, dealt, outcomes, world
from stores import BYTES as TOLD_BYTES
from stores import FILES, SITES, Told

from placement import cycle, fulfilment, requests
from placement.cycle import Outcome
from placement.dealer import ordering, planning
from placement.dealer.archive import DatabaseArchive
from placement.dealer.ordering import Dealer
from placement.dealer.plan import Plan
from placement.dealer.plugin import Scene, configured
from placement.dealer.request import Request, RequestSettings
from placement.dealer.settings import DealerSettings
from placement.inventory import Inventory
from placement.request_messages import DataRequest, RequestItem, RequestsQuery, RequestState
from placement.requests import Ruling
from reploc.errors import InventoryMoved
from reploc.orders import OrderReport

FOUR = ["A", "B", "C", "D"]


def asked(number: int, item: str, *sites: str, copies: int | None = None, group: str = "", **more: Any) -> DataRequest:
    told = {"kind": "copy", "state": "new", "reason": "", "asked_by": "jane", "created_s": 0.0, "updated_s": 0.0} | more
    return DataRequest(id=number, item=item, sites=list(sites), group=group, copies=copies, **told)


def planned(held: Inventory, *open_requests: DataRequest, max_size: int = 0, **more: Any) -> Plan:
    plugin = Request(RequestSettings(max_size=max_size))
    return dealt(held, {"request": (1, plugin)}, archive=Shelf(requests=open_requests), **more)


def held(
    sites: Sequence[Any], *at: str, datasets: Sequence[Any] = ("/a",), groups: Mapping[str, str] | None = None
) -> Inventory:
    """The dataset /a at some sites, of some groups there."""
    owned = groups or {}
    replicas = [{"block": "/a", "site": site} | ({"group": owned[site]} if site in owned else {}) for site in at]
    return world(sites, datasets, replicas, groups=["G", "H"])


def rulings(plan: Plan) -> tuple[Ruling, ...]:
    return plan.header.rulings


def test_one_copy_comes_to_each_site_that_is_named() -> None:
    plan = planned(held(FOUR, "A"), asked(7, "/a", "A", "C", "D"))
    assert sorted(outcomes(plan)) == [("/a", "C"), ("/a", "D")]
    assert rulings(plan) == (Ruling(7, "activated", "", ("C", "D")),)
    assert set(plan.decisions["why"]) == {"request 7"}


@pytest.mark.parametrize("seed", range(5))
def test_so_many_copies_come_to_some_of_the_sites_and_those_that_are_there_count(seed: int) -> None:
    plan = planned(held(FOUR, "A", "B"), asked(7, "/a", "B", "C", "D", copies=2), seed=seed)
    ((_, site),) = outcomes(plan)
    assert site in ("C", "D")
    assert rulings(plan) == (Ruling(7, "activated", "", (site,)),)
    assert rulings(planned(held(FOUR, "A", "B"), asked(7, "/a", "A", "B", "C", copies=2)))[0].state == "new"


def test_patterns_name_sites_and_blocks_are_asked_for_singly() -> None:
    two = world(FOUR, [{"name": "/a", "blocks": ["1", "2"]}], [{"block": f"/a#{n}", "site": "A"} for n in "12"])
    plan = planned(two, asked(1, "/a#2", "[CD]"))
    assert sorted(outcomes(plan)) == [("/a#2", "C"), ("/a#2", "D")]


def test_a_whole_copy_of_another_group_is_handed_over_and_not_copied() -> None:
    plan = planned(held(FOUR, "A", "B", groups={"B": "H"}), asked(7, "/a", "B", "C", copies=1, group="G"))
    assert outcomes(plan) == [("/a", "B")]
    assert plan.decisions["decision"].to_list() == ["hand over"]
    assert rulings(plan) == (Ruling(7, "activated", "", ()),)
    own = planned(held(FOUR, "A", "B", groups={"B": "G"}), asked(7, "/a", "B", "C", copies=1, group="G"))
    assert outcomes(own) == []


def test_a_copy_that_is_on_its_way_counts_and_is_the_requests_too() -> None:
    replicas = [{"block": "/a", "site": "A"}, {"block": "/a", "site": "C", "files": 0, "bytes": 0, "copying": True}]
    plan = planned(world(FOUR, ["/a"], replicas), asked(7, "/a", "C"))
    assert outcomes(plan) == []
    assert rulings(plan) == (Ruling(7, "activated", "", ("C",)),)


@pytest.mark.parametrize(
    ("site", "more", "ruling"),
    [
        ({"quota": 1_000}, {}, ("new", "beyond target_site_occupancy (B)")),
        ({"status": "waitroom"}, {}, ("new", "the site is not ready (B)")),
        ({}, {"left_out": frozenset({"B"})}, ("new", "no fresh news of the site (B)")),
        ({}, {"left_out": frozenset({"A"})}, ("new", "no source for a block (B)")),
        ({}, {"max_cycle_volume": 10}, ("new", "beyond max_cycle_volume (B)")),
        ({}, {"target_sites": ("*", "!B")}, ("rejected", "no target site (B)")),
        ({}, {"max_size": 500}, ("rejected", "it has 1.0 kB; at most 500 bytes are taken")),
    ],
)
def test_what_cannot_be_ordered_waits_with_its_reason_or_is_rejected_where_waiting_is_in_vain(
    site: dict[str, Any], more: dict[str, Any], ruling: tuple[str, str]
) -> None:
    plan = planned(held(["A", {"name": "B"} | site], "A"), asked(7, "/a", "B"), **more)
    assert [(each.state, each.reason, each.sites) for each in rulings(plan)] == [(*ruling, ())]
    assert plan.blocks.is_empty()


def test_a_dead_dataset_is_not_copied_any_more() -> None:
    plan = planned(held(FOUR, "A", datasets=[{"name": "/a", "status": "invalid"}]), asked(7, "/a", "B"))
    assert rulings(plan) == (Ruling(7, "rejected", "the dataset's status (B)"),)


def test_a_request_that_is_partly_fulfilled_says_what_the_rest_waits_for() -> None:
    sites = ["A", "B", {"name": "C", "quota": 1_000}]
    plan = planned(held(sites, "A"), asked(7, "/a", "B", "C"), asked(8, "/a", "C", state="activated"))
    full = "beyond target_site_occupancy (C)"
    assert rulings(plan) == (Ruling(7, "activated", full, ("B",)), Ruling(8, "activated", full, ()))


def test_deletions_are_not_the_dealers() -> None:
    plan = planned(held(FOUR, "A", "B"), asked(7, "/a", "B", kind="delete"))
    assert (outcomes(plan), rulings(plan)) == ([], ())


# ---- in the database -------------------------------------------------------------------------------------------------


def run(told: Told, seed: int = 1) -> Outcome:
    """One cycle of the dealer, with the one plugin."""
    settings = DealerSettings(partition="P", max_site_pending_fraction=1.0)
    archive = DatabaseArchive(lambda: nullcontext(told.keeper))
    plugins = configured({"request": {"priority": 0}}, "a test")
    decider = Dealer(
        settings, plugins, seed, lambda inventory, now, absent: Scene(inventory, now, settings, absent, {}, archive)
    )
    return cycle.run(told.keeper, decider, 60.0)


@pytest.fixture
def ready(told: Told) -> Told:
    told.define()
    told.partition(100_000)
    whole = (FILES, TOLD_BYTES)
    for site in SITES:
        told.hear(site, 1, **({"b1": whole, "b2": whole} if site == "T1" else {}))
    return told


def ask(told: Told, *sites: str, item: str = "/a") -> int:
    with told.keeper.writing() as connection:
        return requests.ask(connection, [RequestItem("copy", item, list(sites))], "jane", told.clock()).ids[0]


def plan_of(told: Told) -> Plan:
    """A plan of the one plugin, to be applied later."""
    settings = DealerSettings(partition="P", max_site_pending_fraction=1.0)
    archive = DatabaseArchive(lambda: nullcontext(told.keeper))
    scene = Scene(told.keeper.inventory(), told.clock(), settings, frozenset(), {}, archive)
    return planning.make(scene, configured({"request": {}}, "a test"), 1)


def kept(told: Told) -> dict[int, tuple[str, str, list[str]]]:
    """State, reason and the sites of orders of each request."""
    with told.keeper.database.reading() as connection:
        found = requests.page(connection, RequestsQuery()).requests
    return {each.id: (each.state, each.reason, [order.site for order in each.orders]) for each in found}


ENDS: list[RequestState] = ["cancelled", "rejected", "completed"]


@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_copied_for_a_request_that_has_ended_since_the_plan_was_made(ready: Told, end: RequestState) -> None:
    gone, held = ask(ready, "T2", item="/a#1"), ask(ready, "T3", item="/a#2")
    plan = plan_of(ready)
    with ready.keeper.writing() as connection:
        requests.rule(connection, [Ruling(gone, end, "so it is")], "a test", ready.clock())
    with pytest.raises(InventoryMoved, match="/a#1 at T2: the request that it is for has ended"):
        ordering.order(ready.keeper, plan, 60.0)
    assert kept(ready) == {gone: (end, "so it is", []), held: ("new", "", [])}
    done = ordering.order(ready.keeper, plan, 60.0, holding=True)
    assert [(row["block"], row["reason"]) for row in done.left.iter_rows(named=True)] == [
        ("/a#1", "the request that it is for has ended")
    ]
    assert kept(ready) == {gone: (end, "so it is", []), held: ("activated", "", ["T3"])}


def test_a_request_whose_copies_do_not_hold_any_more_stays_as_it_is(ready: Told) -> None:
    lost, some = ask(ready, "T2", item="/a#1"), ask(ready, "T2", "T3", item="/a#2")
    plan = plan_of(ready)
    ready.define(T2="waitroom")
    done = ordering.order(ready.keeper, plan, 60.0, holding=True)
    assert done.left["block"].to_list() == ["/a#1", "/a#2"]
    assert kept(ready) == {lost: ("new", "", []), some: ("activated", "", ["T3"])}


def test_a_request_that_was_activated_since_is_not_new_again_by_an_older_plan(ready: Told) -> None:
    number = ask(ready, "T2")
    ready.define(T2="waitroom")
    waiting = plan_of(ready)
    assert [ruling.state for ruling in waiting.header.rulings] == ["new"]
    ready.define()
    ordering.order(ready.keeper, plan_of(ready), 60.0)
    ordering.order(ready.keeper, waiting, 60.0)
    assert kept(ready)[number] == ("activated", "", ["T2"])


def test_a_request_lives_from_asking_to_its_copies(ready: Told) -> None:
    def now() -> DataRequest:
        with ready.keeper.database.reading() as connection:
            return requests.page(connection, RequestsQuery()).requests[0]

    with ready.keeper.writing() as connection:
        asked_for = RequestItem("copy", "/a", ["T2", "T3"], "physics", 1)
        requests.ask(connection, [asked_for], "jane", ready.clock())
    done = run(ready)
    (order,) = now().orders
    assert (now().state, [order.id]) == ("activated", done.written.written)
    assert run(ready).written.written == [], "what is on its way is not ordered again"
    ready.report(OrderReport(order.id, "failed", reason="no link"))
    (again,) = run(ready, seed=3).written.written
    assert [each.state for each in now().orders] == ["failed", "new"]
    ready.report(OrderReport(again, "done", position=7))
    site = now().orders[-1].site
    ready.hear(site, 7, b1=(FILES, TOLD_BYTES), b2=(FILES, TOLD_BYTES))
    assert fulfilment.run_once(ready.keeper, 60.0, 1_000.0) == 1
    assert now().state == "completed"
    assert ("/a#1", site, 1) in ready.rows("group")
