"""The pure rules of a lookup: answers of owners become one, and answers of catalogs become verified copies."""

import pytest

from reploc.client import locations, resolve
from reploc.client.locations import View
from reploc.client.resolve import CatalogAnswer, CatalogAsk
from reploc.errors import AnswerInvalid
from reploc.ring import Ring
from reploc.wire import Locations, Member, Members, Replica, Replicas, SiteNews


def said(
    held: dict[str, list[str]], incomplete: list[str] | None = None, missing: list[str] | None = None, age_s: float = 1
) -> Locations:
    sites = {site: SiteNews(f"http://{site}-{age_s}", age_s) for named in held.values() for site in named}
    return Locations(held, incomplete or [], missing or [], sites)


def test_two_answers_give_the_union_of_their_sites() -> None:
    both = locations.merged(said({"/a": ["X"], "/b": ["Z"]}, ["/a"], ["Y"]), said({"/a": ["Y", "X"]}))
    assert both.locations == {"/a": ["X", "Y"], "/b": ["Z"]}
    assert both.incomplete == []
    assert both.missing == []


def test_an_lfn_stays_incomplete_until_one_owner_is_complete_for_it() -> None:
    both = locations.merged(said({"/a": [], "/b": []}, ["/a", "/b"], ["Y"]), said({"/a": [], "/b": []}, ["/b"], ["Z"]))
    assert both.incomplete == ["/b"]
    assert both.missing == ["Y", "Z"]


def test_an_lfn_that_the_second_owner_was_not_asked_about_stays_as_it_was() -> None:
    both = locations.merged(said({"/a": [], "/b": []}, ["/a", "/b"], ["Y"]), said({"/a": []}))
    assert both.incomplete == ["/b"]


def test_the_younger_news_of_a_site_gives_its_address() -> None:
    both = locations.merged(said({"/a": ["X"]}, ["/a"], age_s=9), said({"/a": ["X"]}, age_s=2))
    assert both.sites == {"X": SiteNews("http://X-2", 2)}


def test_answers_about_different_lfns_are_laid_side_by_side() -> None:
    all_of_them = locations.joined([said({"/a": ["X"]}), said({"/b": []}, ["/b"], ["Y"]), locations.unanswered(["/c"])])
    assert all_of_them.locations == {"/a": ["X"], "/b": [], "/c": []}
    assert all_of_them.incomplete == ["/b", "/c"]
    assert all_of_them.missing == ["Y"]


def test_an_answer_must_describe_every_site_that_it_names() -> None:
    with pytest.raises(AnswerInvalid, match="node: says no address for site 'X'"):
        locations.checked(Locations({"/a": ["X"]}, [], [], {}), ["/a"], "node")


def test_parts_hold_every_lfn_once_and_no_more_than_a_request_takes() -> None:
    lfns = [f"/{number}" for number in range(5_000)]
    view = View(Ring(("a", "b", "c"), 64, 2), {})
    parts = view.parts(lfns)
    assert sorted(lfn for part in parts for lfn in part.lfns) == sorted(lfns)
    assert max(len(part.lfns) for part in parts) <= 1_000
    assert all(len(set(part.needs[0])) == 2 for part in parts)


def members(slots: int = 16, redundancy: int = 1, url: str = "http://a:1", ring: str | None = None) -> Members:
    version = Ring(("a",), slots, redundancy).version if ring is None else ring
    return Members("a", slots, redundancy, 1e-5, version, [], [Member("rli", "a", url, "listed")])


def test_a_list_of_members_describes_the_index() -> None:
    assert locations.view(members()) == View(Ring(("a",), 16, 1), {"a": "http://a:1"})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (members(slots=12, ring=""), "12 slots"),
        (members(slots=1 << 20, ring=""), "1048576 slots"),
        (members(redundancy=0, ring=""), "redundancy 0"),
        (members(url="ftp://a"), "is not http://HOST"),
        (Members("a", 16, 1, 1e-5, "", [], []), "lists no index nodes"),
    ],
)
def test_a_list_of_members_that_describes_no_index_is_refused(wrong: Members, words: str) -> None:
    with pytest.raises(AnswerInvalid, match=words):
        locations.view(wrong)


def test_each_catalog_is_asked_once_about_all_its_lfns() -> None:
    located = said({"/a": ["Y", "X"], "/b": ["X"], "/c": []})
    assert resolve.asks(located) == [
        CatalogAsk("X", "http://X-1", ["/a", "/b"]),
        CatalogAsk("Y", "http://Y-1", ["/a"]),
    ]


def test_copies_are_what_the_catalogs_know() -> None:
    located = said({"/a": ["X", "Y"], "/b": ["X"]})
    x, y = resolve.asks(located)
    found = resolve.lookup(
        located,
        [
            CatalogAnswer(y, Replicas({"/a": Replica(7, None, None, ["file:///y"])}, [])),
            CatalogAnswer(x, Replicas({"/a": Replica(7, None, None, ["file:///x"])}, ["/b"])),
        ],
    )
    assert [(at.site, at.lrc, at.size, at.pfns) for at in found.replicas["/a"]] == [
        ("X", "http://X-1", 7, ["file:///x"]),
        ("Y", "http://Y-1", 7, ["file:///y"]),
    ]
    assert found.replicas["/b"] == []
    assert found.complete


def test_what_a_catalog_says_unasked_is_not_believed() -> None:
    located = said({"/a": ["X"], "/b": []})
    (x,) = resolve.asks(located)
    replica = Replica(None, None, None, ["file:///x"])
    found = resolve.lookup(located, [CatalogAnswer(x, Replicas({"/a": replica, "/b": replica, "/c": replica}, []))])
    assert found.replicas["/b"] == []
    assert set(found.replicas) == {"/a", "/b"}


def test_a_catalog_that_said_nothing_leaves_exactly_its_lfns_incomplete() -> None:
    located = said({"/a": ["X", "Y"], "/b": ["X"], "/c": []}, ["/c"], ["Z"])
    x, y = resolve.asks(located)
    found = resolve.lookup(
        located, [CatalogAnswer(x, Replicas({}, ["/a", "/b"])), CatalogAnswer(y, "unreachable: gone")]
    )
    assert set(found.incomplete) == {"/a", "/c"}
    assert found.of("/a").unreachable == ["Y"]
    assert found.of("/b").complete
    assert found.of("/c").missing == ["Z"]
    assert found.message().missing == ["Z"]
    assert found.unreachable == {"Y": "unreachable: gone"}


def test_a_catalog_must_speak_about_every_lfn_that_it_was_asked_about() -> None:
    with pytest.raises(AnswerInvalid, match="X: answered for 1 of 2 LFNs"):
        resolve.checked(Replicas({}, ["/a"]), ["/a", "/b"], "X")
