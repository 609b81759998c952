"""Orders: what becomes of a new one where others are open, what carriers are told and may say, and who owns what."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from stores import BYTES, FILES, Told, wish

from placement import orders, tables
from placement.messages import OrderHistoryQuery
from placement.orders import Handover, Wish
from reploc.errors import DefinitionUnknown, InventoryInvalid, OrderEnded
from reploc.orders import BlockOrder, Order, OrderReport, Orders

WHOLE = (FILES, BYTES)


@pytest.fixture(autouse=True)
def defined(told: Told) -> None:
    told.define()
    told.hear("T1", 1, b1=WHOLE, b2=WHOLE)


def fed(told: Told, after: int = 0, limit: int = 100) -> Orders:
    with told.keeper.database.reading() as connection:
        return orders.feed(connection, after, limit)


def states(told: Told) -> list[tuple[int, str, str, tuple[str, ...]]]:
    """(id, kind, state, blocks) of all orders in the order of their numbers."""
    every = sorted(fed(told).orders, key=lambda order: order.id)
    return [(each.id, each.kind, each.state, tuple(block.name for block in each.blocks)) for each in every]


def of(told: Told, number: int) -> Order:
    return next(order for order in fed(told).orders if order.id == number)


def test_an_order_is_handed_to_carriers_with_all_that_they_need(told: Told) -> None:
    (number,) = told.write(wish("copy", "T2", "1", "2", group="physics", sources=("T1",))).written
    (order,) = fed(told).orders
    assert (order.id, order.kind, order.item, order.site, order.group, order.state) == (
        number,
        "copy",
        "/a",
        "T2",
        "physics",
        "new",
    )
    assert order.blocks[1] == BlockOrder("/a#2", FILES, BYTES, ("T1",))
    assert order.asked_by == "a test"


def test_a_second_order_for_the_same_block_joins_the_first(told: Told) -> None:
    (first,) = told.write(wish("copy", "T2", "1")).written
    again = told.write(wish("copy", "T2", "1"))
    assert (again.written, again.joined) == ([], [first])
    more = told.write(wish("copy", "T2", "1", "2"))
    assert more.joined == [first]
    assert states(told)[1:] == [(more.written[0], "copy", "new", ("/a#2",))]


def test_a_copy_of_what_is_to_be_deleted_cancels_the_deletion(told: Told) -> None:
    (deletion,) = told.write(wish("delete", "T1", "1", "2")).written
    written = told.write(wish("copy", "T1", "1"))
    assert written.cancelled == [deletion]
    # Nobody had begun, so that no copy is needed; the other block shall still go.
    assert states(told) == [
        (deletion, "delete", "cancelled", ("/a#1", "/a#2")),
        (written.written[0], "delete", "new", ("/a#2",)),
    ]


def test_after_a_deletion_that_had_begun_the_copy_is_ordered_too(told: Told) -> None:
    (deletion,) = told.write(wish("delete", "T1", "1")).written
    told.report(OrderReport(deletion, "active"))
    written = told.write(wish("copy", "T1", "1"))
    assert [kind for _, kind, _, _ in states(told)] == ["delete", "copy"]
    assert written.cancelled == [deletion]


def test_a_deletion_of_what_is_on_its_way_cancels_the_copy_and_cleans_up(told: Told) -> None:
    (copy,) = told.write(wish("copy", "T2", "1")).written
    written = told.write(wish("delete", "T2", "1"))
    assert written.cancelled == [copy]
    assert states(told)[1] == (written.written[0], "delete", "new", ("/a#1",))


def test_a_copy_for_another_group_than_the_one_whose_deletion_is_open_changes_the_owner(told: Told) -> None:
    told.own("/a", "T1", "physics")
    told.write(Wish("delete", "/a", "T1", "physics", wish("delete", "T1", "1", "2").blocks))
    written = told.write(wish("copy", "T1", "1", "2", group="ops"))
    assert written.written == []
    assert written.handed_over == 1
    assert told.rows("group", "deleting") == [("/a#1", "T1", 2, False), ("/a#2", "T1", 2, False)]


def test_single_blocks_are_handed_over_and_taken_back_with_the_whole(told: Told) -> None:
    told.own("/a", "T1", "physics")
    with told.keeper.writing() as connection:
        assert orders.hand_over(connection, Handover("/a", "T1", "ops", ("/a#1",))) == 1
    assert told.rows("group") == [("/a#1", "T1", 2), ("/a#2", "T1", 1)]
    with told.keeper.writing() as connection:
        assert orders.hand_over(connection, Handover("/a", "T1", "physics", ("/a#1",))) == 1
    assert told.rows("group") == [("/a#1", "T1", 1), ("/a#2", "T1", 1)]
    with told.keeper.writing() as connection:
        orders.hand_over(connection, Handover("/a", "T1", "ops", ("/a#1",)))
        orders.hand_over(connection, Handover("/a", "T1", "ops"))
    assert told.rows("group") == [("/a#1", "T1", 2), ("/a#2", "T1", 2)]


def test_who_gets_the_last_block_of_a_dataset_at_a_site_owns_it_as_a_whole(told: Told) -> None:
    told.own("/a", "T1", "physics")
    for block in ("/a#2", "/a#1"):
        with told.keeper.writing() as connection:
            orders.hand_over(connection, Handover("/a", "T1", "ops", (block,)))
    with told.keeper.database.reading() as connection:
        owners = select(tables.groups.c.name).join(tables.dataset_intents)
        assert connection.scalars(owners).all() == ["ops"]
        assert connection.execute(select(tables.block_intents)).all() == []
    assert told.rows("group") == [("/a#1", "T1", 2), ("/a#2", "T1", 2)]


def test_a_done_deletion_is_nobodys_any_more(told: Told) -> None:
    told.own("/a", "T1", "physics")
    (number,) = told.write(wish("delete", "T1", "1", "2")).written
    told.report(OrderReport(number, "done", position=3))
    assert told.rows("group") == [("/a#1", "T1", 0), ("/a#2", "T1", 0)]


def test_the_feed_tells_every_change_once_and_from_any_place(told: Told) -> None:
    (first,) = told.write(wish("copy", "T2", "1")).written
    (second,) = told.write(wish("copy", "T3", "1")).written
    page = fed(told, limit=1)
    assert [order.id for order in page.orders] == [first]
    rest = fed(told, page.next)
    assert [order.id for order in rest.orders] == [second]
    assert fed(told, rest.next) == Orders((), rest.next)
    told.report(OrderReport(first, "active", FILES, 1, BYTES, 10))
    (changed,) = fed(told, rest.next).orders
    assert (changed.id, changed.state, changed.files_done, changed.bytes_done) == (first, "active", 1, 10)
    assert [order.id for order in fed(told).orders] == [second, first]


def test_repeated_and_late_reports_do_no_harm(told: Told) -> None:
    (number,) = told.write(wish("copy", "T2", "1")).written
    done = OrderReport(number, "done", FILES, FILES, BYTES, BYTES, position=5)
    told.report(OrderReport(number, "active"), done, done, OrderReport(number, "active"))
    assert of(told, number).state == "done"
    before = fed(told).next
    told.report(done)
    assert fed(told).next == before
    with pytest.raises(OrderEnded, match=f"order {number} is done; it cannot become failed"):
        told.report(OrderReport(number, "failed"))
    with pytest.raises(DefinitionUnknown, match="order 999999 is not defined"):
        told.report(OrderReport(999_999, "active"))


def test_reports_with_one_that_is_wrong_change_nothing(told: Told) -> None:
    (number,) = told.write(wish("copy", "T2", "1")).written
    with pytest.raises(DefinitionUnknown):
        told.report(OrderReport(number, "active"), OrderReport(999_999, "active"))
    assert of(told, number).state == "new"


def test_a_carrier_may_go_on_reporting_on_an_order_that_was_cancelled(told: Told) -> None:
    (number,) = told.write(wish("copy", "T2", "1")).written
    assert told.cancel(number) == [number]
    assert told.cancel(number) == []
    told.report(OrderReport(number, "done", position=4))
    assert of(told, number).state == "cancelled"
    with pytest.raises(DefinitionUnknown, match="order 999999"):
        told.cancel(999_999)


def test_wishes_that_contradict_each_other_or_name_no_site_write_nothing(told: Told) -> None:
    with pytest.raises(InventoryInvalid, match="'/a#1' at T2 shall be copied and deleted at once"):
        told.write(wish("copy", "T2", "1"), wish("delete", "T2", "1"))
    with pytest.raises(DefinitionUnknown, match="site 'T9' is not defined; known: T1, T2, T3"):
        told.write(wish("copy", "T2", "1"), wish("copy", "T9", "1"))
    assert fed(told).orders == ()


def test_orders_are_listed_from_the_newest_back(told: Told) -> None:
    numbers = [told.write(wish("copy", site, "1")).written[0] for site in ("T2", "T3")]
    told.cancel(numbers[0])

    def listed(**asked: object) -> list[int]:
        with told.keeper.database.reading() as connection:
            return [each.id for each in orders.history(connection, OrderHistoryQuery(**asked)).orders]  # type: ignore[arg-type]

    assert listed() == numbers[::-1]
    assert listed(state="cancelled") == numbers[:1]
    assert listed(site="T3") == numbers[1:]
    assert listed(item="/a") == numbers[::-1]
    assert listed(item="/a#1") == []
    assert listed(limit=1, before=numbers[1]) == numbers[:1]
