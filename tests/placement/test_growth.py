"""Growing replicas: new blocks come to where a dataset shall be whole, and nothing comes where it was deleted."""

from __future__ import annotations

import pytest
from stores import BYTES, FILES, SITES, Told, wish

from placement import growth, intents, orders
from placement.dealer.settings import DealerSettings
from placement.growth import Growth
from placement.intents import Growing
from placement.messages import BlockItem, DatasetItem, InjectBody, OwnerItem, PartitionItem, QuotaItem, SiteItem
from reploc.orders import Order, OrderReport
from reploc.sites import Site

WHOLE = (FILES, BYTES)
MAX_AGE_S = 60.0


@pytest.fixture(autouse=True)
def heard(told: Told) -> None:
    told.define()
    told.inject(InjectBody(owners=[OwnerItem("/a", "T2", "physics", growing=True)]))
    for site in SITES:
        told.hear(site, 1, **({"b1": WHOLE, "b2": WHOLE} if site == "T1" else {}))


def grow(told: Told, **bounds: float) -> int:
    return Growth(told.keeper, MAX_AGE_S, DealerSettings(**bounds)).run_once()


def feed(told: Told) -> list[Order]:
    with told.keeper.database.reading() as connection:
        return list(orders.feed(connection, 0, 100).orders)


def ordered(told: Told) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(each.site, each.group, tuple(block.name for block in each.blocks)) for each in feed(told)]


def growing(told: Told) -> list[Growing]:
    with told.keeper.database.reading() as connection:
        return intents.growing(connection)


def arrives(told: Told, site: str = "T2") -> None:
    """Everything that is ordered there is done and observed."""
    told.report(*(OrderReport(each.id, "done", position=5) for each in feed(told) if each.state == "new"))
    told.hear(site, 5, b1=WHOLE, b2=WHOLE)
    told.keeper.settle()


def test_a_growing_replica_is_filled_and_then_follows_its_dataset(told: Told) -> None:
    assert grow(told) == 1
    assert ordered(told) == [("T2", "physics", ("/a#1", "/a#2"))]
    assert [block.sources for block in feed(told)[0].blocks] == [("T1",), ("T1",)]
    assert grow(told) == 0, "what is ordered is not ordered twice"
    arrives(told)
    assert grow(told) == 0
    new = [BlockItem(name="3", size=BYTES, num_files=FILES)]
    told.inject(InjectBody(datasets=[DatasetItem(name="/a", is_open=True, blocks=new)]))
    assert grow(told) == 0, "nobody has the new block yet"
    told.hear("T1", 6, b1=WHOLE, b2=WHOLE, b3=(1, 5))
    assert grow(told) == 0, "nobody has all of it yet"
    told.hear("T1", 7, b1=WHOLE, b2=WHOLE, b3=WHOLE)
    assert grow(told) == 1
    assert ordered(told)[-1] == ("T2", "physics", ("/a#3",))
    assert ("/a#3", "T2", True) in told.rows("copying")


def test_a_block_that_grew_is_ordered_again(told: Told) -> None:
    assert grow(told) == 1
    arrives(told)
    told.inject(InjectBody(datasets=[DatasetItem("/a", blocks=[BlockItem("1", size=30, num_files=3)])]))
    told.hear("T1", 6, b1=(3, 30), b2=WHOLE)
    assert grow(told) == 1
    assert ordered(told)[-1] == ("T2", "physics", ("/a#1",))


def test_nothing_is_copied_to_a_site_because_it_seems_empty(told: Told) -> None:
    told.clock.now += 30
    for site in ("T1", "T3"):
        told.renew(site, 1)
    told.clock.now += 40
    assert grow(told) == 0
    told.renew("T2", 1)
    assert grow(told) == 1


def test_a_site_that_is_not_ready_gets_nothing(told: Told) -> None:
    told.inject(InjectBody(sites=[SiteItem(site=Site(name="T2", lrc="http://T2:39280", status="morgue"))]))
    assert grow(told) == 0


def test_what_was_deleted_is_not_brought_back(told: Told) -> None:
    grow(told)
    arrives(told)
    (number,) = told.write(wish("delete", "T2", "1", witness="T1")).written
    assert grow(told) == 0
    told.report(OrderReport(number, "done", position=6))
    assert growing(told) == []
    told.hear("T2", 6, b2=WHOLE)
    told.keeper.settle()
    assert grow(told) == 0
    assert ("/a#2", "T2", 1) in told.rows("group"), "its owner stays"


def test_a_copy_that_failed_rests_for_a_while(told: Told) -> None:
    grow(told)
    told.report(OrderReport(feed(told)[0].id, "failed", reason="no link"))
    assert grow(told) == 0
    told.clock.now += growth.REST_S + 1
    for site in SITES:
        told.renew(site, 2)
    assert grow(told) == 1


# ---- quotas ----------------------------------------------------------------------------------------------------------


def bound(told: Told, quota: int | None, **others: int) -> None:
    """The partition that the dealer works on, with quotas."""
    quotas = [QuotaItem(site, "Default", size) for site, size in {"T2": quota, **others}.items()]
    whole = PartitionItem("Default", condition="blockreplica.owner != None")
    told.inject(InjectBody(partitions=[whole], quotas=quotas))


#: Of a quota all may be taken, and all may be on its way.
ALL = {"target_site_occupancy": 1.0, "max_site_pending_fraction": 1.0}


def test_a_growing_replica_gets_no_more_than_the_quota_of_its_site_leaves(told: Told) -> None:
    bound(told, 2 * BYTES - 1)
    assert grow(told, **ALL) == 1
    assert ordered(told) == [("T2", "physics", ("/a#1",))]
    assert grow(told, **ALL) == 0, "what is ordered takes room"
    bound(told, 2 * BYTES)
    assert grow(told, **ALL) == 1
    assert ordered(told)[-1] == ("T2", "physics", ("/a#2",))


def test_the_dealers_bounds_hold_for_growing_replicas_too(told: Told) -> None:
    bound(told, 2 * BYTES)
    assert grow(told, **ALL | {"target_site_occupancy": 0.4}) == 0
    assert grow(told, **ALL | {"max_site_pending_fraction": 0.5}) == 1
    assert ordered(told) == [("T2", "physics", ("/a#1",))]
    told.report(OrderReport(feed(told)[0].id, "done", position=5))
    told.hear("T2", 5, b1=WHOLE)
    told.keeper.settle()
    assert grow(told, **ALL | {"max_site_pending_fraction": 0.5}) == 1
    assert ordered(told)[-1] == ("T2", "physics", ("/a#2",))


@pytest.mark.parametrize("quota", [None, 0])
def test_a_site_without_a_quota_gets_nothing_and_it_is_said_why(told: Told, quota: int | None) -> None:
    bound(told, quota, T3=-1)
    told.inject(InjectBody(owners=[OwnerItem("/a", "T3", "physics", growing=True)]))
    duty = Growth(told.keeper, MAX_AGE_S, DealerSettings())
    assert duty.run_once() == 1
    assert duty.run_once() == 0
    assert {site for site, _, _ in ordered(told)} == {"T3"}, "a negative quota has no bound"
    assert duty.waiting == {"T2": "no quota for the partition"}


def test_what_is_there_already_is_not_counted_twice(told: Told) -> None:
    told.hear("T2", 2, b1=(1, BYTES - 1))
    bound(told, 2 * BYTES)
    assert grow(told, **ALL) == 1
    assert ordered(told) == [("T2", "physics", ("/a#1", "/a#2"))]
