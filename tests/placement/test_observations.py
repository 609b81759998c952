"""The news of a site, chosen among nodes: redundant ones, partitioned ones, ones that lag, ones that lack something."""

from __future__ import annotations

import numpy as np
import polars as pl

from placement.observations import Observation, missing, news, split
from reploc.holdings import Holdings, SiteHoldings

SLOTS = 4


def node(name: str, slots: tuple[int, int], *sites: SiteHoldings, lacks: tuple[str, ...] = ()) -> Holdings:
    return Holdings(name, True, list(lacks), [slots], SLOTS, list(sites))


def told(position: int, age_s: float = 1.0, complete: bool = True, version: str = "") -> SiteHoldings:
    return SiteHoldings("T1", "http://t1:39280", version or f"v{position}", position, age_s, complete, 0)


def test_of_redundant_nodes_the_one_of_the_highest_position_is_taken_whole() -> None:
    heard = news([node("n0", (0, 3), told(5)), node("n1", (0, 3), told(7)), node("n2", (0, 3), told(6))])["T1"]
    assert [(part.node, part.slots) for part in heard.parts] == [("n1", None)]
    assert (heard.position, heard.complete) == (7, True)


def test_complete_news_goes_before_news_of_a_higher_position() -> None:
    heard = news([node("n0", (0, 3), told(5)), node("n1", (0, 3), told(7, complete=False))])["T1"]
    assert [part.node for part in heard.parts] == ["n0"]
    assert heard.complete


def test_partitioned_nodes_are_joined_and_the_whole_is_as_old_as_its_oldest_part() -> None:
    heard = news([node("n0", (0, 1), told(5, 9.0)), node("n1", (2, 3), told(7, 2.0))])["T1"]
    assert [part.node for part in heard.parts] == ["n1", "n0"]
    assert all(part.slots is None for part in heard.parts)
    assert (heard.position, heard.age_s, heard.complete) == (5, 9.0, True)


def test_where_nodes_overlap_each_slot_is_told_once_by_the_better_one() -> None:
    heard = news([node("n0", (0, 2), told(5)), node("n1", (1, 3), told(7))])["T1"]
    first, second = heard.parts
    assert (first.node, first.slots) == ("n1", None)
    assert second.node == "n0"
    assert second.slots is not None and second.slots.tolist() == [True, False, False, False]


def test_a_slot_that_nobody_tells_of_makes_news_incomplete() -> None:
    heard = news([node("n0", (0, 1), told(5))])["T1"]
    assert not heard.complete
    assert not news([node("n0", (0, 3), told(5, complete=False))])["T1"].complete


def test_a_node_of_an_index_of_other_slots_is_not_joined() -> None:
    other = Holdings("n1", True, [], [(4, 7)], 8, [told(5)])
    heard = news([node("n0", (0, 1), told(7)), other])["T1"]
    assert [part.node for part in heard.parts] == ["n0"]
    assert not heard.complete


def test_versions_differ_wherever_contents_may() -> None:
    def versions(*nodes: Holdings) -> object:
        return news(list(nodes))["T1"].versions

    one = versions(node("n0", (0, 2), told(5)), node("n1", (1, 3), told(7)))
    assert one == versions(node("n1", (1, 3), told(7)), node("n0", (0, 2), told(5)))
    assert one != versions(node("n0", (0, 2), told(5)), node("n1", (1, 3), told(7, version="other")))
    # The same versions, but n0 is believed for more slots.
    assert one != versions(node("n0", (0, 2), told(8, version="v5")), node("n1", (1, 3), told(7)))


def test_sites_that_nobody_tells_of_are_missing() -> None:
    nodes = [node("n0", (0, 3), told(5), lacks=("T2", "T3")), node("n1", (0, 3), lacks=("T1", "T3"))]
    assert missing(nodes, news(nodes)) == ["T2", "T3"]


def test_contents_that_did_not_change_keep_their_moment_whatever_came_and_went() -> None:
    heard = news([node("n0", (0, 3), told(5))])["T1"]

    def array(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array(values, dtype=np.int64)

    first = Observation().replaced(heard, 100.0, array(9, 3, 5), array(1, 1, 1), array(10, 10, 10))
    assert (first.blocks.tolist(), first.last_update.tolist()) == ([3, 5, 9], [100, 100, 100])
    second = first.replaced(heard, 200.0, array(5, 7, 9, 11), array(1, 1, 2, 1), array(10, 10, 10, 10))
    assert second.last_update.tolist() == [100, 200, 200, 200]
    assert second.replaced(heard, 300.0, array(), array(), array()).blocks.tolist() == []


def test_incomplete_news_takes_nothing_away_until_complete_news_does() -> None:
    """A node that is gone, or that has just started, says nothing of what it does not hold yet."""

    def array(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array(values, dtype=np.int64)

    whole = news([node("n0", (0, 3), told(5))])["T1"]
    half = news([node("n0", (0, 1), told(5))])["T1"]
    starting = news([node("n0", (0, 3), told(5, complete=False))])["T1"]
    assert whole.versions != starting.versions
    seen = Observation().replaced(whole, 100.0, array(9, 3, 5), array(1, 1, 1), array(10, 10, 10))
    for lacking in (half, starting):
        kept = seen.replaced(lacking, 200.0, array(7, 3), array(1, 2), array(10, 20))
        assert not kept.complete
        assert (kept.blocks.tolist(), kept.files.tolist()) == ([3, 5, 7, 9], [2, 1, 1, 1])
        assert kept.last_update.tolist() == [200, 100, 200, 100]
        assert kept.replaced(whole, 300.0, array(3), array(2), array(20)).blocks.tolist() == [3]


def test_names_of_collections_are_split_at_the_first_hash() -> None:
    parts = split(pl.Series(["/a#1", "/a", "/a#1#2", "/a#"]))
    assert parts.rows() == [("/a", "1"), ("/a", None), ("/a", "1#2"), ("/a", "")]
