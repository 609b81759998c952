"""LFN → PFN and back: rules in order, by prefix and by expression, chained, and what no door may name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reploc import config, names
from reploc.errors import ConfigInvalid, NameInvalid
from reploc.name_mapping import NameRule, mapping
from reploc.sites import Door, Site, by_name

RULES = [
    NameRule(prefix="/store/temp/", to="/scratch/"),
    NameRule(pattern=r"/store/user/(.)(.*?)/(?P<rest>.*)", to=r"/home/\1/\1\2/\g<rest>"),
    NameRule(prefix="/store/", to="/cms/store/"),
]


@pytest.mark.parametrize(
    ("lfn", "path"),
    [
        ("/store/temp/a", "/scratch/a"),
        ("/store/user/ann/x/y", "/home/a/ann/x/y"),
        ("/store/mc/b.root", "/cms/store/mc/b.root"),
    ],
)
def test_the_first_rule_that_fits_decides(lfn: str, path: str) -> None:
    assert mapping(RULES, "webdav", "davs://se:1094/base/").pfn(lfn) == f"davs://se:1094/base{path}"


def test_a_name_that_no_rule_fits_is_refused_in_words() -> None:
    with pytest.raises(NameInvalid, match="no rule of davs://se:1094 fits '/other/a'"):
        mapping(RULES, "webdav", "davs://se:1094").pfn("/other/a")


@pytest.mark.parametrize(
    ("lfn", "said"),
    [
        ("relative", "does not begin with a slash"),
        ("/a/../b", "holds the component '..'"),
        ("/a/./b", "holds the component '.'"),
        ("/a//b", "holds the component ''"),
        ("/a/", "holds the component ''"),
    ],
)
def test_a_path_that_could_lead_out_or_be_spelled_in_two_ways_is_refused(lfn: str, said: str) -> None:
    with pytest.raises(NameInvalid, match=said):
        mapping([], "posix", "file:///data").pfn(lfn)


def test_a_rule_may_go_through_the_rules_of_another_protocol() -> None:
    rules = [
        NameRule(protocol="direct", prefix="/store/", to="/pnfs/store/"),
        NameRule(protocol="webdav", pattern="/pnfs/(.*)", to=r"/dav/\1", chain="direct"),
    ]
    assert mapping(rules, "webdav", "davs://se").pfn("/store/a") == "davs://se/dav/store/a"


def test_a_circle_of_chains_and_a_chain_to_nothing_are_refused() -> None:
    circle = [
        NameRule(protocol="a", prefix="/", to="/", chain="b"),
        NameRule(protocol="b", prefix="/", to="/", chain="a"),
    ]
    with pytest.raises(ConfigInvalid, match="a circle: a → b → a"):
        mapping(circle, "a", "davs://se")
    with pytest.raises(ConfigInvalid, match="chained to 'b', which has no rules"):
        mapping(circle[:1], "a", "davs://se")


def test_a_url_is_encoded_as_a_scan_encodes_it_and_an_address_of_xrootd_is_not() -> None:
    assert mapping([], "posix", "file:///data/").pfn("/a b/ü+#?.txt") == "file:///data/a%20b/%C3%BC%2B%23%3F.txt"
    assert mapping([], "posix", "file:///").pfn("/a") == "file:///a"
    for address in ("root://se:1094", "root://se:1094/", "root://se:1094//"):
        assert mapping([], "xrootd", address).pfn("/a b/ü+") == "root://se:1094//a b/ü+"
    assert mapping([], "xrootd", "root://se:1094//eos/x/").pfn("/a") == "root://se:1094//eos/x/a"
    with pytest.raises(NameInvalid, match=r"holds '\?'"):
        mapping([], "xrootd", "root://se").pfn("/a?b")


def test_a_pfn_that_is_too_long_is_refused() -> None:
    with pytest.raises(NameInvalid, match="pfn is 4,1"):
        mapping([], "posix", "file:///data").pfn("/" + "a" * 4095)


paths = st.lists(
    st.text(st.characters(exclude_categories=["C"], exclude_characters="/"), min_size=1, max_size=8).filter(
        lambda part: part not in (".", "..")
    ),
    min_size=1,
    max_size=5,
).map(lambda parts: "/" + "/".join(parts))


@given(paths)
def test_a_path_comes_back_from_its_pfn_and_the_lfn_from_its_path(lfn: str) -> None:
    for rules in (
        [],
        [NameRule(prefix="/", to="/base/")],
        [NameRule(prefix="/a", to="/b"), *RULES, NameRule(prefix="/", to="/")],
    ):
        door = mapping(rules, "webdav", "davs://se:1094/x")
        try:
            path = door.path(lfn)
        except NameInvalid:
            continue
        assert door.path_of(door.pfn(lfn)) == path
        back = door.lfn(path)
        assert back is None or door.path(back) == path
        assert rules or back == lfn


def test_a_path_has_no_lfn_where_an_earlier_rule_would_lead_elsewhere() -> None:
    rules = [NameRule(prefix="/store/", to="/new/"), NameRule(prefix="/", to="/old/")]
    door = mapping(rules, "posix", "file:///d")
    assert door.lfn("/new/a") == "/store/a"
    assert door.lfn("/old/b") == "/b"
    assert door.lfn("/old/store/a") is None
    assert door.lfn("/elsewhere") is None


def test_a_pfn_of_another_door_has_no_path() -> None:
    door = mapping([], "webdav", "davs://se/base")
    assert door.path_of("davs://other/base/a") is None
    assert door.path_of("davs://se/based/a") is None
    assert door.path_of("davs://se/base/%ff") is None
    assert door.path_of("davs://se/base/a%2F%2E%2E/b") is None


class _Many(config.Settings, frozen=True):
    """Sites, as a service's settings hold them."""

    sites: list[Site]


@pytest.mark.parametrize(
    ("site", "said"),
    [
        ({"name": "a b", "lrc": "http://x"}, "is not a site name"),
        ({"name": "a", "lrc": "x"}, "lrc 'x' is not http://HOST"),
        ({"name": "a", "lrc": "http://x", "doors": [{"protocol": "ftp", "url": "ftp://x"}]}, "or 'posix' or 'webdav'"),
        ({"name": "a", "lrc": "http://x", "doors": [{"protocol": "posix", "url": "/data"}]}, "expected SCHEME://"),
        ({"name": "a", "lrc": "http://x", "rules": [{"to": "/"}]}, "either a prefix or a pattern"),
        ({"name": "a", "lrc": "http://x", "rules": [{"to": r"\2", "pattern": "(a)"}]}, "invalid group reference 2"),
        ({"name": "a", "lrc": "http://x", "rules": [{"to": "/", "pattern": "("}]}, "missing \\)"),
        ({"name": "a", "lrc": "http://x", "rulez": []}, "unknown key 'sites\\[0\\].rulez'; did you mean"),
        ({"name": "a", "lrc": "http://x", "doors": [{"protocol": "posix", "url": "file:///d"}] * 2}, "stands twice"),
        (
            {
                "name": "a",
                "lrc": "http://x",
                "doors": [{"protocol": "posix", "url": "file:///d"}],
                "rules": [{"to": "/", "prefix": "/", "chain": "gfal", "protocol": "posix"}],
            },
            "chained to 'gfal', which has no rules",
        ),
    ],
)
def test_a_site_that_is_wrong_is_refused_in_words(site: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigInvalid, match=said):
        config.parse(_Many, {"sites": [site]}, "sites.toml")


def test_a_site_names_files_at_each_of_its_doors() -> None:
    site = Site(
        name="a",
        lrc="http://127.0.0.1:1",
        doors=[Door(protocol="webdav", url="davs://se/x"), Door(protocol="posix", url="file:///data")],
        rules=[NameRule(protocol="posix", prefix="/store", to="/pool"), NameRule(prefix="/", to="/")],
    )
    assert [site.mapping(door).pfn("/store/a") for door in site.doors] == ["davs://se/x/store/a", "file:///data/pool/a"]
    assert all(names.fault(site.mapping(door).pfn("/store/a")) is None for door in site.doors)


def test_two_sites_of_one_name_are_refused() -> None:
    site = Site(name="a", lrc="http://x")
    assert by_name([site]) == {"a": site}
    with pytest.raises(ConfigInvalid, match="site 'a' is defined twice"):
        by_name([site, site])
