"""Copies in the order that suits a client, and what is said of an order that could not be had."""

import pytest

from reploc.client.nearness import Nearness
from reploc.client.resolve import Lookup
from reploc.client.round_trips import GAIN, LFNS_MAX, RoundTrips
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


def measured(**seconds: float) -> RoundTrips:
    trips = RoundTrips()
    for site, took in seconds.items():
        trips.measured(site, took, 1)
    return trips


def test_round_trips_order_what_has_no_distance_behind_what_has_one() -> None:
    near = Nearness(NEAR.distances, measured(FNAL=0.0001, AAA=0.3, ZZZ=0.1))
    said = near.nearest_first(found("AAA", "CERN", "FNAL", "MMM", "ZZZ"), "CERN")
    assert [copy.site for copy in said.replicas["/a"]] == ["CERN", "FNAL", "ZZZ", "AAA", "MMM"]
    assert said.ordering.by == "round_trip"
    assert "no distance is configured from CERN to AAA, MMM, ZZZ, and no round trip was measured to MMM" in (
        said.ordering.reason
    )


def test_round_trips_alone_order_and_say_that_no_distance_is_configured() -> None:
    said = Nearness(trips=measured(A=0.2, B=0.1)).nearest_first(found("A", "B"), "X")
    assert [copy.site for copy in said.replicas["/a"]] == ["B", "A"]
    assert said.ordering == Ordering("round_trip", "no distance is configured from X to A, B")


def test_one_slow_answer_does_not_turn_the_order_round() -> None:
    trips = measured(A=0.010, B=0.012)
    trips.measured("A", 0.020, 1)
    assert trips.seconds("A") == pytest.approx(0.010 + GAIN * 0.010)
    for _ in range(50):
        trips.measured("A", 0.020, 1)
    assert trips.seconds("A") == pytest.approx(0.020, rel=0.01)


def test_long_questions_measure_no_distance() -> None:
    trips = RoundTrips()
    trips.measured("A", 1.0, LFNS_MAX + 1)
    assert trips.seconds("A") is None


def test_only_so_many_sites_are_remembered_those_measured_last() -> None:
    trips = RoundTrips(sites_max=2)
    for site in ("A", "B", "A", "C"):
        trips.measured(site, 0.1, 1)
    assert (len(trips), trips.seconds("B")) == (2, None)
    assert trips.seconds("A") == trips.seconds("C") == 0.1
