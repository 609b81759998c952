"""Pages of a catalog against a plain list of names."""

import fnmatch
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrc import layout, listings
from lrc.catalog import Catalog
from reploc.errors import CollectionUnknown, NameInvalid
from reploc.wire import DeleteBody, DeleteItem, MappingItem, MappingsBody

LONG = "/l" + "x" * 493
NAMES = sorted(
    {f"/{a}/{b}{c}" for a in ("a", "b", "é") for b in ("x", "y", "[") for c in range(5)}
    | {LONG + end for end in ("", "1", "abcdefghijklmno", "abcdefghijklmnop", *(f"{'q' * 30}{n}" for n in range(6)))}
)


@pytest.fixture(scope="module")
def names_catalog() -> Iterator[Catalog]:
    with tempfile.TemporaryDirectory() as directory, Catalog.create(f"{directory}/store", "SITE") as catalog:
        items = [MappingItem(name, "pfn:" + name[:30], 1, None, name) for name in NAMES]
        assert catalog.write(MappingsBody("create", items)).errors == []
        yield catalog


def pages(catalog: Catalog, pattern: str, limit: int, after: str | None = None) -> list[str]:
    found: list[str] = []
    while True:
        page = catalog.lfns(pattern, limit, after)
        assert len(page.lfns) <= limit
        found += page.lfns
        if (after := page.next) is None:
            return found


pieces = st.sampled_from(["/", "a", "b", "é", "x", "*", "?", "[ab]", "[!a]", "[", "1", LONG, "q" * 30])
patterns = st.lists(pieces, min_size=1, max_size=5).map("".join)


@given(pattern=patterns, limit=st.integers(1, 7))
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_page_together_is_what_fnmatch_finds_in_key_order(
    names_catalog: Catalog, pattern: str, limit: int
) -> None:
    expected = [name for name in sorted(NAMES, key=layout.key) if fnmatch.fnmatchcase(name, pattern)]
    assert pages(names_catalog, pattern, limit) == expected


@given(after=st.sampled_from(NAMES) | st.text("/abé[x1", min_size=1, max_size=5), limit=st.integers(1, 7))
@settings(deadline=None, max_examples=100)
def test_a_page_begins_behind_any_name_there_or_not(names_catalog: Catalog, after: str, limit: int) -> None:
    expected = [name for name in sorted(NAMES, key=layout.key) if layout.key(name) > layout.key(after)]
    assert pages(names_catalog, "*", limit, after) == expected


def test_a_pattern_without_magic_finds_the_one_name(names_catalog: Catalog) -> None:
    assert names_catalog.lfns("/a/x1").lfns == ["/a/x1"]
    assert names_catalog.lfns("/a/x").lfns == []


def test_the_last_page_says_that_it_is_the_last_even_when_it_is_full(names_catalog: Catalog) -> None:
    page = names_catalog.lfns("/a/x*", limit=5)
    assert (len(page.lfns), page.next) == (5, None)


def test_a_page_looks_at_a_bounded_number_of_keys_and_goes_on_from_there(catalog: Catalog) -> None:
    count = listings.KEYS_PER_PAGE_MAX + 1
    for at in range(0, count, 5_000):
        batch = [MappingItem(f"/f{number:08}", "a:1") for number in range(at, min(at + 5_000, count))]
        catalog.write(MappingsBody("create", batch))
    first = catalog.lfns(f"*{count - 1}", limit=10)
    assert (first.lfns, first.next) == ([], f"/f{count - 2:08}")
    assert catalog.lfns(f"*{count - 1}", limit=10, after=first.next).lfns == [f"/f{count - 1:08}"]


def test_collections_are_listed_like_lfns(names_catalog: Catalog) -> None:
    page = names_catalog.collections("/a/x*", limit=3)
    assert [one.name for one in page.collections] == ["/a/x0", "/a/x1", "/a/x2"] and page.next == "/a/x2"
    rest = names_catalog.collections("/a/x*", limit=3, after=page.next)
    assert [one.name for one in rest.collections] == ["/a/x3", "/a/x4"] and rest.next is None


def test_a_listing_goes_on_when_the_name_that_it_stands_at_has_gone(catalog: Catalog) -> None:
    catalog.write(MappingsBody("create", [MappingItem(f"/{name}", "a:1", None, None, "/c") for name in "abcd"]))
    page, files = catalog.lfns("*", limit=2), catalog.collection_files("/c", limit=2)
    catalog.write(DeleteBody([DeleteItem("/b")]))
    assert catalog.lfns("*", limit=2, after=page.next).lfns == ["/c", "/d"]
    assert [file.lfn for file in catalog.collection_files("/c", 2, files.next).files] == ["/c", "/d"]


def test_a_collection_without_files_is_unknown(catalog: Catalog) -> None:
    catalog.write(MappingsBody("create", [MappingItem("/a", "a:1", 3, None, "/c")]))
    catalog.write(DeleteBody([DeleteItem("/a")]))
    for read in (catalog.collection, catalog.collection_files):
        with pytest.raises(CollectionUnknown, match="'/c' is not registered"):
            read("/c")


@pytest.mark.parametrize("wrong", ["", "a\0b", "x" * 4097])
def test_a_pattern_or_start_that_is_no_name_is_refused(names_catalog: Catalog, wrong: str) -> None:
    with pytest.raises(NameInvalid):
        names_catalog.lfns(wrong)
    with pytest.raises(NameInvalid):
        names_catalog.lfns("*", after=wrong)
