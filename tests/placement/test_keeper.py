"""Observations become an inventory: derived definitions, ages, positions, owners; all of it survives or comes again."""

from __future__ import annotations

import pytest
from stores import BYTES, FILES, START_S, Told, telling, wish

from placement.messages import BlockItem, DatasetItem, InjectBody
from reploc.orders import OrderReport

WHOLE = (FILES, BYTES)


@pytest.fixture(autouse=True)
def defined(told: Told) -> None:
    told.define()


def test_what_a_site_holds_is_in_the_inventory(told: Told) -> None:
    told.hear("T1", 7, 3.0, b1=WHOLE, b2=(1, 9))
    assert told.rows("files", "bytes", "complete", "last_update") == [
        ("/a#1", "T1", FILES, BYTES, True, int(START_S)),
        ("/a#2", "T1", 1, 9, False, int(START_S)),
    ]
    (row, *_) = told.keeper.inventory().sites.select("position", "news_at", "news_complete").rows()
    assert row == (7, START_S - 3.0, True)
    assert told.keeper.inventory().fresh_sites(START_S, 10.0).tolist() == [True, False, False]


def test_an_unchanged_inventory_is_the_same_object_and_an_older_one_is_kept_by_its_holder(told: Told) -> None:
    told.hear("T1", 7, b1=WHOLE)
    first = told.keeper.inventory()
    assert told.keeper.inventory() is first
    told.hear("T1", 8, b2=WHOLE)
    second = told.keeper.inventory()
    assert second.version != first.version
    assert first.block_replicas["block"].to_list() == [0]
    assert second.block_replicas["block"].to_list() == [1]
    assert second.blocks is not None


def test_what_did_not_change_keeps_the_moment_at_which_it_was_seen(told: Told) -> None:
    told.hear("T1", 7, b1=WHOLE, b2=(1, 9))
    told.clock.now += 100
    told.hear("T1", 8, b1=WHOLE, b2=WHOLE)
    assert told.rows("last_update") == [("/a#1", "T1", int(START_S)), ("/a#2", "T1", int(START_S) + 100)]


def test_what_nobody_defined_is_defined_from_what_is_seen(told: Told) -> None:
    told.hear_of("T9", 1, {"/new#1": (3, 30), "/alone": (1, 5)})
    told.hear_of("T1", 1, {"/new#1": (4, 25), "/new#2": (1, 1)})
    made = told.keeper.inventory()
    assert made.sites.filter(name="T9").select("status", "storage_type").rows() == [("unknown", "unknown")]
    assert made.datasets["name"].to_list()[1:] == ["/alone", "/new"]
    # The largest that any site was seen to hold, files and bytes each.
    assert made.blocks.filter(name="1").select("files", "size").rows()[-1] == (4, 30)
    assert told.rows("complete")[0] == ("/alone", "T9", True)


def test_a_total_that_was_seen_never_falls_and_one_that_was_told_never_rises(told: Told) -> None:
    told.hear_of("T1", 1, {"/new#1": (3, 30), "/a#1": (9, 999)})
    told.hear_of("T1", 2, {"/new#1": (1, 10), "/a#1": (9, 999)})
    made = told.keeper.inventory()
    assert made.blocks["size"].to_list() == [BYTES, BYTES, 30]
    assert told.rows("complete") == [("/a#1", "T1", False), ("/new#1", "T1", False)]
    # A person lowers it.
    told.inject(InjectBody(datasets=[DatasetItem("/new", blocks=[BlockItem("1", size=10, num_files=1)])]))
    assert told.rows("complete")[1] == ("/new#1", "T1", True)


def test_a_restarted_service_has_everything_again_and_asks_only_for_what_changed(told: Told) -> None:
    told.own("/a", "T1", "physics")
    told.hear_of("T1", 7, {"/a#1": WHOLE, "/new": (1, 5)})
    told.clock.now += 50
    assert told.keeper.save() == 1
    assert told.keeper.save() == 0
    before = told.rows("files", "bytes", "group", "last_update", "complete")
    with telling(told.url) as again:
        assert again.rows("files", "bytes", "group", "last_update", "complete") == before
        assert again.keeper.observation("T1").versions == told.keeper.observation("T1").versions
        assert again.keeper.inventory().version == told.keeper.inventory().version


def test_lost_observations_leave_definitions_and_owners(told: Told) -> None:
    told.own("/a", "T1", "physics")
    told.hear("T1", 7, b1=WHOLE)
    told.keeper.save()
    told.keeper.forget_observations()
    assert told.rows() == []
    assert told.keeper.observation("T1").versions == ()
    assert not told.keeper.inventory().fresh_sites(START_S, 1e9).any()
    told.hear("T1", 7, b1=WHOLE)
    assert told.rows("group") == [("/a#1", "T1", 1)]


def test_a_block_has_its_own_owner_else_the_dataset_replicas(told: Told) -> None:
    told.own("/a", "T1", "physics")
    told.own("/a#2", "T1", "ops")
    told.hear("T1", 7, b1=WHOLE, b2=WHOLE)
    told.hear("T2", 7, b1=WHOLE)
    assert told.rows("group") == [("/a#1", "T1", 1), ("/a#2", "T1", 2), ("/a#1", "T2", 0)]


# ---- orders and observations meet by position ------------------------------------------------------------------------


def test_an_ordered_copy_is_projected_and_not_there(told: Told) -> None:
    told.hear("T1", 7, b1=WHOLE, b2=WHOLE)
    told.write(wish("copy", "T2", "1", group="ops", sources=("T1",)))
    assert told.rows("files", "copying", "source", "group") == [
        ("/a#1", "T1", FILES, False, True, 0),
        ("/a#2", "T1", FILES, False, False, 0),
        ("/a#1", "T2", 0, True, False, 2),
    ]
    projected = told.keeper.inventory().dataset_replicas.select("bytes", "projected_bytes").rows()
    assert projected == [(2 * BYTES, 2 * BYTES), (0, BYTES)]


def test_a_finished_copy_stays_projected_until_the_news_includes_it(told: Told) -> None:
    told.hear("T2", 7)
    (number,) = told.write(wish("copy", "T2", "1")).written
    told.report(OrderReport(number, "done", FILES, FILES, BYTES, BYTES, position=9))
    assert told.rows("copying") == [("/a#1", "T2", True)]
    told.hear("T2", 8)
    assert told.keeper.settle() == 0
    assert told.rows("copying") == [("/a#1", "T2", True)]
    told.hear("T2", 9, b1=WHOLE)
    assert told.keeper.settle() == 1
    assert told.rows("copying", "complete") == [("/a#1", "T2", False, True)]


def test_a_finished_deletion_counts_as_gone_until_the_news_includes_it(told: Told) -> None:
    told.hear("T2", 7, b1=WHOLE, b2=WHOLE)
    (number,) = told.write(wish("delete", "T2", "1", witness="T1")).written
    told.report(OrderReport(number, "done", position=12))
    assert told.rows("deleting") == [("/a#1", "T2", True), ("/a#2", "T2", False)]
    told.hear("T2", 11, b1=WHOLE, b2=WHOLE)
    told.keeper.settle()
    assert told.rows("deleting")[0] == ("/a#1", "T2", True)
    told.hear("T2", 12, b2=WHOLE)
    told.keeper.settle()
    assert told.rows("deleting") == [("/a#2", "T2", False)]


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_what_a_carrier_left_half_done_counts_as_gone_until_the_news_includes_it(told: Told, state: str) -> None:
    told.hear("T2", 7, b1=WHOLE)
    (number,) = told.write(wish("delete", "T2", "1")).written
    told.report(OrderReport(number, state, position=9))  # type: ignore[arg-type]
    assert told.rows("deleting") == [("/a#1", "T2", True)]
    told.hear("T2", 9, b1=(1, 10))
    told.keeper.settle()
    assert told.rows("deleting", "complete") == [("/a#1", "T2", False, False)]


def test_an_order_cancelled_under_its_carrier_counts_until_the_carrier_has_spoken(told: Told) -> None:
    told.hear("T2", 7, b1=WHOLE)
    (number,) = told.write(wish("delete", "T2", "1")).written
    told.report(OrderReport(number, "active"))
    told.cancel(number)
    told.hear("T2", 1_000, b1=WHOLE)
    assert told.keeper.settle() == 0
    assert told.rows("deleting") == [("/a#1", "T2", True)]
    told.report(OrderReport(number, "cancelled", position=1_001))
    told.hear("T2", 1_001, b1=(1, 10))
    assert told.keeper.settle() == 1
    assert told.rows("deleting") == [("/a#1", "T2", False)]


def test_a_carrier_that_never_speaks_of_a_cancelled_order_is_not_waited_for_for_ever(told: Told) -> None:
    told.hear("T2", 7, b1=WHOLE)
    (number,) = told.write(wish("delete", "T2", "1")).written
    told.report(OrderReport(number, "active"))
    told.cancel(number)
    told.clock.now += 7_200
    assert told.keeper.settle() == 1
    assert told.rows("deleting") == [("/a#1", "T2", False)]


def test_the_witness_of_a_deletion_is_locked_until_it_ends(told: Told) -> None:
    told.hear("T1", 7, b1=WHOLE)
    told.hear("T2", 7, b1=WHOLE)
    (number,) = told.write(wish("delete", "T2", "1", witness="T1")).written
    assert told.rows("locked") == [("/a#1", "T1", True), ("/a#1", "T2", False)]
    told.report(OrderReport(number, "done", position=8))
    assert told.rows("locked") == [("/a#1", "T1", False), ("/a#1", "T2", False)]
