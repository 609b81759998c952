"""Names: what is one, what is not, and what is said about it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reploc import names
from reploc.errors import NameInvalid

TEXT = st.text(max_size=40)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "is empty"),
        ("a\nb", "control character (U+000A) at character 1"),
        ("\x7f", "U+007F"),
        ("a\x85", "U+0085"),
        ("\ud800", "half a surrogate pair"),
        ("é" * 2049, "is 4,098 bytes long; at most 4,096"),
        ("x" * 4097, "is 4,097 bytes long"),
    ],
)
def test_what_is_no_name_is_said_in_words(name: str, said: str) -> None:
    with pytest.raises(NameInvalid, match=r"^lfn .*") as caught:
        names.require(name)
    assert said in caught.value.detail


@pytest.mark.parametrize("name", ["a", "x" * 4096, "é" * 2048, "/a b/ç,+%'\"\\", "o'brien", "日本/データ", " "])
def test_any_other_text_is_a_name(name: str) -> None:
    assert names.require(name) == name


@given(st.lists(TEXT, max_size=20))
def test_many_names_are_judged_as_one_by_one(candidates: list[str]) -> None:
    alone = {index: wrong for index, name in enumerate(candidates) if (wrong := names.fault(name))}
    assert names.faults(candidates) == alone


def test_the_first_of_many_that_is_no_name_is_named_by_its_index() -> None:
    with pytest.raises(NameInvalid, match=r"lfns\[2\] is empty"):
        names.require_all(["a", "b", "", "c", "\n"])


@pytest.mark.parametrize("site", ["T2_US_MIT", "cern.ch", "a", "site-1"])
def test_site_names_are_those_that_grids_use(site: str) -> None:
    assert names.require_site(site) == site


@pytest.mark.parametrize("site", ["", "-a", "a b", "a/b", "x" * 254, "ä", "a\n"])
def test_other_site_names_are_refused(site: str) -> None:
    with pytest.raises(NameInvalid, match="is not a site name"):
        names.require_site(site)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "https://rli.example.org", "http://[::1]:39290"])
def test_a_base_url_loses_its_trailing_slash(url: str) -> None:
    assert names.require_url(url + "/") == url


@pytest.mark.parametrize(
    "url", ["", "ftp://a", "http://", "http://a:0", "http://a:x", "http://a?b", "http://a#b", "a:1"]
)
def test_what_is_no_base_url_is_refused(url: str) -> None:
    with pytest.raises(NameInvalid):
        names.require_url(url)


@pytest.mark.parametrize("checksum", ["adler32:00ab12cd", "md5:" + "0" * 32, "sha256:" + "f" * 64])
def test_known_checksums_are_accepted(checksum: str) -> None:
    assert names.checksum_fault(checksum) is None


@pytest.mark.parametrize("checksum", ["", "adler32", "adler32:0", "adler32:ABCDEF01", "foo:1", "md5:" + "g" * 32])
def test_other_checksums_are_refused_in_words(checksum: str) -> None:
    assert names.checksum_fault(checksum)


def test_a_block_is_a_dataset_and_what_stands_behind_the_first_hash() -> None:
    assert names.split_block("/a/b#c#d") == ("/a/b", "c#d")
    assert names.split_block("/a/b") == ("/a/b", None)


def test_a_pattern_knows_its_literal_prefix() -> None:
    assert names.pattern("/store/*.root").prefix == "/store/"
    assert names.pattern("/store/a").literal
    assert names.pattern("/st[ao]re/*").prefix == "/st"


@given(st.text(alphabet="ab/*?[]!", min_size=1, max_size=8), st.text(alphabet="ab/", min_size=1, max_size=8))
def test_a_name_that_matches_a_pattern_starts_with_its_prefix(text: str, name: str) -> None:
    pattern = names.pattern(text)
    assert not pattern.matches(name) or name.startswith(pattern.prefix)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("%", "anything/at all", True),
        ("a_c", "abc", True),
        ("a_c", "abcd", False),
        ("a\\_c", "a_c", True),
        ("a\\_c", "abc", False),
        ("l\\_n*%\\%", "l_n*foo%", True),
        ("A%", "abc", False),
        ("a.c", "abc", False),
        ("end\\", "end\\", True),
        ("\\\\%", "\\x", True),
        ("it's%", "it's so", True),
    ],
)
def test_a_pattern_of_sql_matches_the_whole_name(pattern: str, name: str, matches: bool) -> None:
    assert names.like(pattern).matches(name) is matches


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=30))
def test_an_escaped_name_is_a_pattern_of_itself_alone(name: str) -> None:
    escaped = name.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    assert names.like(escaped).prefix == name
    assert names.like(escaped).matches(name)
    assert not names.like(escaped).matches(name + "x")


@given(st.text("a%_\\*?[]!^-/é'", min_size=1, max_size=8), st.text("a%_\\*?[]!^-/é'", min_size=1, max_size=8))
def test_a_pattern_of_sql_as_a_glob_matches_the_same_names(text: str, name: str) -> None:
    assert names.pattern(names.glob_of_like(text)).matches(name) is names.like(text).matches(name)
