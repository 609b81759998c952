"""The pure rules of a demand: whom to ask besides the index, and what the catalogs' words change of its answer."""

from reploc.client import demands, locations
from reploc.client.demands import ExistenceAnswer
from reploc.client.resolve import CatalogAsk
from reploc.wire import Locations, SiteNews


def said(
    held: dict[str, list[str]], incomplete: list[str] | None = None, missing: list[str] | None = None
) -> Locations:
    sites = {site: SiteNews(f"http://{site}", 5.0) for named in held.values() for site in named}
    return Locations(held, incomplete or [], missing or [], sites)


def test_a_site_whose_news_is_too_old_is_asked_about_every_lfn_whatever_the_news_say() -> None:
    located = said({"/a": ["X"], "/b": ["Y"]})
    assert demands.asks(located, {"Z": "http://Z"}, verify=False) == [CatalogAsk("Z", "http://Z", ["/a", "/b"])]


def test_to_verify_each_site_is_asked_about_what_it_may_hold() -> None:
    located = said({"/a": ["X", "Y"], "/b": ["Y"]})
    assert demands.asks(located, {"Y": "http://Y"}, verify=True) == [
        CatalogAsk("X", "http://X", ["/a"]),
        CatalogAsk("Y", "http://Y", ["/a", "/b"]),
    ]


def test_without_a_demand_nobody_is_asked() -> None:
    assert demands.asks(said({"/a": ["X"]}), {}, verify=False) == []


def test_a_site_that_was_asked_is_listed_by_its_own_word_alone_with_age_zero() -> None:
    located = said({"/a": ["X", "Y"], "/b": ["Y"]})
    asks = demands.asks(located, {"Y": "http://Y"}, verify=False)
    settled = demands.settled(located, {"Y": "http://Y"}, [ExistenceAnswer(asks[0], frozenset(["/b"]))])
    assert settled.locations == {"/a": ["X"], "/b": ["Y"]}
    assert settled.sites == {"X": SiteNews("http://X", 5.0), "Y": SiteNews("http://Y", 0.0)}
    assert settled.incomplete == []


def test_a_site_that_had_nothing_in_the_news_is_found_by_asking_it() -> None:
    located = said({"/a": []})
    ask = CatalogAsk("Z", "http://Z", ["/a"])
    settled = demands.settled(located, {"Z": "http://Z"}, [ExistenceAnswer(ask, frozenset(["/a"]))])
    assert settled.locations == {"/a": ["Z"]}
    assert settled.sites["Z"].age_s == 0.0


def test_a_site_that_cannot_be_asked_is_left_out_and_named_and_its_lfns_are_incomplete() -> None:
    located = said({"/a": ["X", "Y"], "/b": ["X"]})
    asks = demands.asks(said({"/a": ["Y"]}), {}, verify=True)
    settled = demands.settled(located, {}, [ExistenceAnswer(asks[0], "unreachable: gone")])
    assert (settled.locations, settled.incomplete) == ({"/a": ["X"], "/b": ["X"]}, ["/a"])
    assert (settled.unverified, settled.stale) == (["Y"], [])
    settled = demands.settled(located, {"Y": "http://Y"}, [ExistenceAnswer(asks[0], "unreachable: gone")])
    assert (settled.unverified, settled.stale) == ([], ["Y"])


def test_a_false_positive_of_a_site_that_says_no_vanishes() -> None:
    located = said({"/a": ["X"]})
    (ask,) = demands.asks(located, {}, verify=True)
    settled = demands.settled(located, {}, [ExistenceAnswer(ask, frozenset())])
    assert (settled.locations, settled.sites, settled.incomplete) == ({"/a": []}, {}, [])


def test_another_owner_that_could_ask_all_sites_completes_the_answer() -> None:
    located = said({"/a": ["Y"]})
    ask = CatalogAsk("Y", "http://Y", ["/a"])
    first = demands.settled(located, {"Y": "http://Y"}, [ExistenceAnswer(ask, "unreachable: gone")])
    both = locations.merged(first, said({"/a": ["Y"]}))
    assert (both.locations, both.incomplete, both.stale) == ({"/a": ["Y"]}, [], [])


def test_existence_is_one_of_three_and_what_is_unheard_is_never_nowhere() -> None:
    located = said({"/a": ["X"], "/b": [], "/c": []}, ["/a", "/c"], ["Z"])
    existence = demands.existence(located)
    assert (existence.may_hold, existence.nowhere, existence.unknown) == (["/a"], ["/b"], ["/c"])
    assert existence.missing == ["Z"]
