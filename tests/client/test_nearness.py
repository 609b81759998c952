"""Copies in the order that suits a client, and what is said of an order that could not be had."""

from reploc.client.nearness import Nearness
from reploc.client.resolve import Lookup
from reploc.wire import Ordering, SiteReplica

NEAR = Nearness({"CERN": {"FNAL": 120.0, "CNAF": 10.0}, "DESY": {"CERN": 15.0}})


def found(*sites: str) -> Lookup:
    copies = [SiteReplica(site, f"http://{site}", None, None, [f"root://{site}/a"]) for site in sorted(sites)]
    return Lookup({"/a": copies}, [], [], {}, {})


def ordered(client_site: str | None, *sites: str) -> tuple[list[str], Ordering]:
    said = NEAR.nearest_first(found(*sites), client_site)
    assert said.message().ordering == said.of("/a").ordering == said.ordering
    return [copy.site for copy in said.replicas["/a"]], said.ordering


def test_the_clients_own_site_comes_first_and_then_the_nearest() -> None:
    assert ordered("CERN", "CNAF", "CERN", "FNAL", "DESY") == (["CERN", "CNAF", "DESY", "FNAL"], Ordering("distance"))


def test_a_distance_said_one_way_holds_both_ways_unless_the_other_is_said_too() -> None:
    assert NEAR.distance("CERN", "DESY") == NEAR.distance("DESY", "CERN") == 15.0
    both = Nearness({"A": {"B": 1.0}, "B": {"A": 2.0}})
    assert (both.distance("A", "B"), both.distance("B", "A")) == (1.0, 2.0)


def test_sites_of_unknown_distance_come_last_by_name_and_are_named() -> None:
    sites, ordering = ordered("CERN", "ZZZ", "FNAL", "AAA")
    assert sites == ["FNAL", "AAA", "ZZZ"]
    assert ordering.by == "distance"
    assert ordering.reason == "no distance is configured from CERN to AAA, ZZZ; copies there come last, by name"


def test_an_order_that_cannot_be_computed_says_so() -> None:
    assert ordered(None, "B", "A") == (["A", "B"], Ordering("name", "no client_site was given"))
    assert ordered("X", "B", "A") == (["A", "B"], Ordering("name", "no distance is configured from X to A, B"))
    assert ordered("X", "A", "X") == (["X", "A"], Ordering("site", "no distance is configured from X to A"))


def test_many_unknown_sites_are_counted() -> None:
    _, ordering = ordered("X", *(f"S{number}" for number in range(8)))
    assert ordering.reason.endswith("S3, S4 and 3 more")


def test_where_only_the_own_site_has_a_copy_nothing_is_lacking() -> None:
    assert ordered("X", "X") == (["X"], Ordering("distance"))
